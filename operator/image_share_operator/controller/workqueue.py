"""Which key is due when: one pass per key at a time, the earliest wish wins.

Namespaces take turns, and each has a bounded number of passes under way: one with five thousand
resources does not keep another's single one waiting, nor do any number of them whose clouds hang.
"""

import asyncio
import heapq
import itertools
from datetime import timedelta

from image_share_operator.api.types import Key
from image_share_operator.flowcontrol.fair_queue import FairQueue


class WorkQueue:
    """Keys with a time. Times are the event loop's, so that tests can own the clock.

    Args:
        share: passes of one namespace that may be under way together.
        most: passes of all namespaces. None has more of them under way than are left.
    """

    def __init__(self, share: int = 1024, most: int = 2048) -> None:
        self._due: dict[Key, float] = {}  # the one wish that counts for each waiting key
        self._later: list[tuple[float, int, Key]] = []  # heap; rows that _due denies are stale
        self._ready: FairQueue[Key] = FairQueue(
            most, share=share
        )  # keys that _due denies are stale
        self._some = asyncio.Event()
        self._busy: dict[Key, float | None] = {}  # under way, and the wish that came meanwhile
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def __len__(self) -> int:
        return len(self._due)

    def waiting(self) -> tuple[int, float]:
        """How many keys are due, and for how many seconds the first of them has been."""
        now = asyncio.get_running_loop().time()
        due = [at for at in self._due.values() if at <= now]
        return len(due), now - min(due) if due else 0.0

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
            key = self._next()
            if key is not None:
                return key
            self._some.clear()
            await self._some.wait()

    def _next(self) -> Key | None:
        while (taken := self._ready.take()) is not None:
            namespace, key = taken
            if self._due.pop(key, None) is not None:
                self._busy[key] = None
                return key
            self._ready.give_back(namespace)
        return None

    def done(self, key: Key, requeue_after: timedelta | None) -> None:
        """End a pass; come back after ``again``, or sooner if someone asked meanwhile."""
        wish = self._busy.pop(key, None)
        loop = asyncio.get_running_loop()
        if requeue_after is not None:
            due = loop.time() + max(requeue_after.total_seconds(), 0.0)
            wish = due if wish is None else min(due, wish)
        if wish is not None:
            self._schedule(key, wish, loop)
        self._ready.give_back(key.namespace)
        self._some.set()

    def forget(self, key: Key) -> None:
        """Drop what was asked for a key; a pass under way goes on and is not repeated."""
        self._due.pop(key, None)
        if key in self._busy:
            self._busy[key] = None

    def _schedule(self, key: Key, due: float, loop: asyncio.AbstractEventLoop) -> None:
        self._due[key] = due
        if due <= loop.time():
            self._make_ready(key)
            return
        heapq.heappush(self._later, (due, next(self._order), key))
        if self._timer is None or due < self._rings_at:
            self._arm(loop)

    def _make_ready(self, key: Key) -> None:
        self._ready.put(key.namespace, key)
        self._some.set()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._later:
            # Kept beside the timer: not each event loop's can tell when it will ring.
            self._rings_at = self._later[0][0]
            self._timer = loop.call_at(self._rings_at, self._move_due)

    def _move_due(self) -> None:
        """Move what has become due to the ready keys."""
        loop = asyncio.get_running_loop()
        # The loop fires timers up to its clock's resolution early: what it fires for is due.
        now = max(loop.time(), self._later[0][0]) if self._later else loop.time()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                self._make_ready(key)
        self._timer = None
        self._arm(loop)
