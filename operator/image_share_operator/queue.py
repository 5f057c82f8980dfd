"""Which key is due when: one pass per key at a time, the earliest wish wins."""

import asyncio
import heapq
import itertools
from datetime import timedelta

from image_share_operator.api import Key


class WorkQueue:
    """Keys with a time. Times are the event loop's, so that tests can own the clock."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}  # the one wish that counts for each waiting key
        self._later: list[tuple[float, int, Key]] = []  # heap; rows that _due denies are stale
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._busy: dict[Key, float | None] = {}  # under way, and the wish that came meanwhile
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    @property
    def busy(self) -> int:
        """How many passes are under way."""
        return len(self._busy)

    def add(self, key: Key, delay: timedelta = timedelta()) -> None:
        """Ask for a pass after ``delay``; a wish that is not the earliest changes nothing."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(delay.total_seconds(), 0.0)
        if key in self._busy:
            wish = self._busy[key]
            self._busy[key] = due if wish is None else min(due, wish)
        elif due < self._due.get(key, float("inf")):
            self._schedule(key, due, loop)

    async def get(self) -> Key:
        """Wait for a due key and hold it until `done`."""
        while True:
            key = await self._ready.get()
            if self._due.pop(key, None) is not None:
                self._busy[key] = None
                return key

    def done(self, key: Key, again: timedelta | None) -> None:
        """End a pass; come back after ``again``, or sooner if someone asked meanwhile."""
        wish = self._busy.pop(key, None)
        loop = asyncio.get_running_loop()
        if again is not None:
            due = loop.time() + max(again.total_seconds(), 0.0)
            wish = due if wish is None else min(due, wish)
        if wish is not None:
            self._schedule(key, wish, loop)

    def forget(self, key: Key) -> None:
        """Drop what was asked for a key; a pass under way goes on and is not repeated."""
        self._due.pop(key, None)
        if key in self._busy:
            self._busy[key] = None

    def _schedule(self, key: Key, due: float, loop: asyncio.AbstractEventLoop) -> None:
        self._due[key] = due
        if due <= loop.time():
            self._ready.put_nowait(key)
            return
        heapq.heappush(self._later, (due, next(self._order), key))
        if self._timer is None or due < self._timer.when():
            self._arm(loop)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._later[0][0], self._move_due) if self._later else None

    def _move_due(self) -> None:
        """Move what has become due to the ready keys."""
        loop = asyncio.get_running_loop()
        # The loop fires timers up to its clock's resolution early: what it fires for is due.
        now = max(loop.time(), self._later[0][0]) if self._later else loop.time()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                self._ready.put_nowait(key)
        self._timer = None
        self._arm(loop)
