"""The writes to the cloud that are in flight, so that all of them can be aborted at one moment."""

import asyncio
import contextlib
from collections.abc import Generator

from image_share_operator.api.errors import LostLeadError


class InflightWrites:
    """Ends the writes in two steps: `close` admits no new write, `abort` ends those in flight."""

    def __init__(self) -> None:
        self._deadlines: set[asyncio.Timeout] = set()
        self._closed = False

    def admit(self) -> None:
        """Raise `LostLeadError` when no new write is admitted."""
        if self._closed:
            raise LostLeadError("stopping: another replica may become the leader")

    @contextlib.contextmanager
    def track(self, deadline: asyncio.Timeout) -> Generator[None]:
        """Track the body of the ``with`` statement as one write.

        Args:
            deadline: the timeout that the write runs under; `abort` expires it.
        """
        self._deadlines.add(deadline)
        try:
            yield
        finally:
            self._deadlines.discard(deadline)

    def close(self) -> None:
        """Admit no new write; those in flight continue."""
        self._closed = True

    def abort(self) -> None:
        """Expire the timeouts of all writes in flight: their outcome is unknown."""
        self.close()
        now = asyncio.get_running_loop().time()
        for deadline in tuple(self._deadlines):
            if not deadline.expired():
                deadline.reschedule(now)
