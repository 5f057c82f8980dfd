"""Which key is due when: one reconcile per key at a time, the earliest request wins.

Namespaces take turns, and each has a bounded number of reconciles in progress. A namespace with
five thousand resources, or one whose cloud does not respond, does not delay the others.
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
        share: reconciles of one namespace in progress.
        most: reconciles of all namespaces in progress. One namespace never has more of them than
            are left free.
    """

    def __init__(self, share: int = 1024, most: int = 2048) -> None:
        self._due: dict[Key, float] = {}  # the earliest request of each waiting key
        # A heap and a queue. Rows and keys that _due does not confirm are stale.
        self._later: list[tuple[float, int, Key]] = []
        self._ready: FairQueue[Key] = FairQueue(most, share=share)
        self._wakeup = asyncio.Event()
        self._busy: dict[Key, float | None] = {}  # in progress, and the request that came meanwhile
        self._failures: dict[Key, int] = {}  # in a row, of keys that are not forgotten
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        return len(self._due)

    def waiting(self) -> tuple[int, float]:
        """How many keys are due, and for how many seconds the first of them is."""
        now = asyncio.get_running_loop().time()
        due = [at for at in self._due.values() if at <= now]
        return len(due), now - min(due) if due else 0.0

    @property
    def busy(self) -> int:
        """How many reconciles are in progress."""
        return len(self._busy)

    def add(self, key: Key, delay: timedelta = timedelta()) -> None:
        """Request a reconcile after ``delay``; only the earliest request counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(delay.total_seconds(), 0.0)
        if key in self._busy:
            requested = self._busy[key]
            self._busy[key] = due if requested is None else min(due, requested)
        elif due < self._due.get(key, float("inf")):
            self._schedule(key, due, loop)

    async def get(self) -> Key:
        """Wait for a due key; it is in progress until `done`."""
        while True:
            key = self._next()
            if key is not None:
                return key
            self._wakeup.clear()
            await self._wakeup.wait()

    def _next(self) -> Key | None:
        while (taken := self._ready.take()) is not None:
            namespace, key = taken
            if self._due.pop(key, None) is not None:
                self._busy[key] = None
                return key
            self._ready.release(namespace)
        return None

    def done(self, key: Key, requeue_after: timedelta | None) -> None:
        """End a reconcile; requeue after ``requeue_after``, or sooner if requested meanwhile."""
        requested = self._busy.pop(key, None)
        loop = asyncio.get_running_loop()
        if requeue_after is not None:
            due = loop.time() + max(requeue_after.total_seconds(), 0.0)
            requested = due if requested is None else min(due, requested)
        if requested is not None:
            self._schedule(key, requested, loop)
        self._ready.release(key.namespace)
        self._wakeup.set()

    def failed(self, key: Key) -> int:
        """Count a failed reconcile; return how many failed in a row."""
        self._failures[key] = self._failures.get(key, 0) + 1
        return self._failures[key]

    @property
    def failing(self) -> int:
        """How many keys failed at their last reconcile."""
        return len(self._failures)

    def succeeded(self, key: Key) -> None:
        """Start the count of failures at zero again."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """Drop all about a key; a reconcile in progress continues and is not repeated.

        A new object of the same name starts without the failures of the old one.
        """
        self._failures.pop(key, None)
        self._due.pop(key, None)
        if key in self._busy:
            self._busy[key] = None

    def _schedule(self, key: Key, due: float, loop: asyncio.AbstractEventLoop) -> None:
        self._due[key] = due
        if due <= loop.time():
            self._make_ready(key)
            return
        heapq.heappush(self._later, (due, next(self._order), key))
        if self._timer is None or due < self._timer_at:
            self._arm(loop)

    def _make_ready(self, key: Key) -> None:
        self._ready.put(key.namespace, key)
        self._wakeup.set()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._later:
            # Kept beside the timer: not every event loop's timer returns its time.
            self._timer_at = self._later[0][0]
            self._timer = loop.call_at(self._timer_at, self._move_due)

    def _move_due(self) -> None:
        """Move what has become due to the ready keys."""
        loop = asyncio.get_running_loop()
        # The loop fires timers up to its clock's resolution early: such a key is due.
        now = max(loop.time(), self._later[0][0]) if self._later else loop.time()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                self._make_ready(key)
        self._timer = None
        self._arm(loop)
