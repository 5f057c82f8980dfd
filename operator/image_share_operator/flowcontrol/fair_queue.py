"""Flows that take turns for a bounded number of seats. No I/O, no clock.

The words are those of API Priority and Fairness: a flow is what is treated fairly (a namespace), a
seat is one request or reconcile in progress.
"""

from collections import Counter, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items by flow; each flow has the same number of turns, however many items it has.

    A flow takes a seat only while it has fewer than ``greed`` times the free seats. So flows that
    release nothing never have all seats: with a greed of one, a flow without a seat gets one,
    whatever the others do, while there are fewer flows than seats.

    Args:
        seats: seats in total.
        share: seats that one flow may have.
    """

    def __init__(self, seats: int, *, share: int, greed: int = 1) -> None:
        self._free = seats
        self._share = share
        self._greed = greed
        self._flows: dict[str, deque[T]] = {}  # none is empty; each is in turn or waits for a seat
        self._in_turn: deque[str] = deque()
        self._waiting: dict[int, dict[str, None]] = {}  # by the seats that they have
        self._taken: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether a flow may be in turn."""
        return bool(self._in_turn)

    def put(self, flow: str, item: T) -> None:
        """Add an item to the end of its flow."""
        if flow in self._flows:
            self._flows[flow].append(item)
        else:
            self._flows[flow] = deque((item,))
            self._in_turn.append(flow)

    def take(self) -> tuple[str, T] | None:
        """Take the next flow and item with a seat; ``None`` when there is none.

        The caller releases the seat with `release`.
        """
        while self._in_turn:
            flow = self._in_turn.popleft()
            taken = self._taken[flow]
            if not self._may_take(taken):
                self._waiting.setdefault(taken, {})[flow] = None
                continue
            self._free -= 1
            self._taken[flow] += 1
            items = self._flows[flow]
            item = items.popleft()
            if items:
                self._in_turn.append(flow)
            else:
                del self._flows[flow]
            return flow, item
        return None

    def release(self, flow: str) -> None:
        """Release a seat of this flow."""
        taken = self._taken[flow]
        if flow in self._waiting.get(taken, ()):
            self._put_in_turn(taken, flow)
        if taken > 1:
            self._taken[flow] = taken - 1
        else:
            del self._taken[flow]
        self._free += 1
        # One seat is free: one flow is enough, the one with the fewest seats.
        least = min(self._waiting, default=0)
        if self._waiting and self._may_take(least):
            self._put_in_turn(least, next(iter(self._waiting[least])))

    def _may_take(self, taken: int) -> bool:
        return taken < min(self._share, self._greed * self._free)

    def _put_in_turn(self, taken: int, flow: str) -> None:
        flows = self._waiting[taken]
        del flows[flow]
        if not flows:
            del self._waiting[taken]
        self._in_turn.append(flow)
