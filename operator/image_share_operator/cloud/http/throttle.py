"""How long one identity sends no request after the cloud throttled it. No I/O."""

from collections.abc import Callable
from datetime import datetime, timedelta

from image_share_operator.api.errors import ThrottledError
from image_share_operator.flowcontrol import backoff

MAX_WAIT = timedelta(seconds=60)
"""The longest wait when the response has no ``Retry-After``: 1 s, 2 s, 4 s … up to this."""


class Throttle:
    """Obeys the throttling of one identity: by ``Retry-After``, else by exponential backoff."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._until: datetime | None = None
        self._in_a_row = 0

    @property
    def active(self) -> bool:
        """Whether requests are held back now."""
        return self._until is not None and self._now() < self._until

    def admit(self) -> None:
        """Admit a request.

        Raises:
            ThrottledError: requests are held back.
        """
        if self._until is not None and self._now() < self._until:
            raise ThrottledError(
                "throttled: the cloud API asked for fewer requests; no request was sent",
                retry_after=self._until - self._now(),
            )

    def throttled(self, retry_after: timedelta | None) -> None:
        """Hold requests back: the cloud throttled one.

        Args:
            retry_after: the wait that the cloud asked for; ``None`` when it did not.
        """
        self._in_a_row += 1
        wait = retry_after or backoff.exponential(self._in_a_row, jitter=1.0, ceiling=MAX_WAIT)
        self._until = self._now() + wait

    def accepted(self) -> None:
        """Start the backoff from the beginning: the cloud did not throttle a request."""
        self._in_a_row = 0
