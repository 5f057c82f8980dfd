"""The writes to the cloud that are under way, so that they can be cut off: all, at one moment."""

import asyncio
import contextlib
from collections.abc import Generator

from image_share_operator.api.errors import LostLeadError


class InflightWrites:
    """Ends in two steps: no write begins any more, then those under way are given up."""

    def __init__(self) -> None:
        self._deadlines: set[asyncio.Timeout] = set()
        self._closed = False

    def admit(self) -> None:
        """Raise `LostLeadError` when no write may begin any more."""
        if self._closed:
            raise LostLeadError("told to stop: another replica may be at work soon")

    @contextlib.contextmanager
    def under_way(self, deadline: asyncio.Timeout) -> Generator[None]:
        """Count what happens within as one write; ``deadline`` is the timeout it stands under."""
        self._deadlines.add(deadline)
        try:
            yield
        finally:
            self._deadlines.discard(deadline)

    def close(self) -> None:
        """Let no write begin any more; those under way go on."""
        self._closed = True

    def cut(self) -> None:
        """Let the time of all writes be over: to those who wait, their answers are lost."""
        self.close()
        now = asyncio.get_running_loop().time()
        for deadline in tuple(self._deadlines):
            if not deadline.expired():
                deadline.reschedule(now)
