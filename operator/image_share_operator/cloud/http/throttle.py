"""How long one identity sends nothing because the cloud asked for fewer calls. No I/O."""

from collections.abc import Callable
from datetime import datetime, timedelta

from image_share_operator.api.errors import ThrottledError
from image_share_operator.flowcontrol import backoff

MAX_QUIET = timedelta(seconds=60)
"""The longest that one identity keeps quiet when the cloud does not say how long."""


class Throttle:
    """How long one identity keeps quiet because the cloud asked for fewer calls."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._until: datetime | None = None
        self._refusals = 0

    @property
    def quiet(self) -> bool:
        """Whether it is not yet time."""
        return self._until is not None and self._now() < self._until

    def admit(self) -> None:
        """Let a request pass.

        Raises:
            ThrottledError: it is not yet time.
        """
        if self._until is not None and self._now() < self._until:
            raise ThrottledError(
                "the cloud asked for fewer calls", retry_after=self._until - self._now()
            )

    def refused(self, retry_after: timedelta | None) -> None:
        """The cloud asked for fewer calls; it may have said for how long."""
        self._refusals += 1
        wait = retry_after or backoff.exponential(self._refusals, jitter=1.0, ceiling=MAX_QUIET)
        self._until = self._now() + wait

    def passed(self) -> None:
        """The cloud took a call."""
        self._refusals = 0
