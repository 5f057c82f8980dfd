"""Lines that take turns for a bounded number of places. No I/O, no clock."""

from collections import Counter, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items that wait in lines; a line has as many turns as any other, however long it is.

    A line takes a place only while it has fewer than ``greed`` times the free ones. So lines that
    give nothing back never have all places: with a greed of one, a line that has none finds one,
    whatever the others do, as long as there are fewer of them than places.

    Args:
        places: that may be taken together.
        share: that one line may have.
    """

    def __init__(self, places: int, *, share: int, greed: int = 1) -> None:
        self._free = places
        self._share = share
        self._greed = greed
        self._lines: dict[str, deque[T]] = {}  # none is empty; each is in turn or held back
        self._in_turn: deque[str] = deque()
        self._held_back: dict[int, dict[str, None]] = {}  # by places that they have
        self._taken: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether someone may be in turn."""
        return bool(self._in_turn)

    def put(self, line: str, item: T) -> None:
        """Put an item at the end of its line."""
        if line in self._lines:
            self._lines[line].append(item)
        else:
            self._lines[line] = deque((item,))
            self._in_turn.append(line)

    def take(self) -> tuple[str, T] | None:
        """Give a place to the item whose turn it is, and tell its line; ``None`` if there is none.

        Whoever takes an item gives its place back: see `give_back`.
        """
        while self._in_turn:
            line = self._in_turn.popleft()
            taken = self._taken[line]
            if not self._may_take(taken):
                self._held_back.setdefault(taken, {})[line] = None
                continue
            self._free -= 1
            self._taken[line] += 1
            items = self._lines[line]
            item = items.popleft()
            if items:
                self._in_turn.append(line)
            else:
                del self._lines[line]
            return line, item
        return None

    def give_back(self, line: str) -> None:
        """Give back a place of this line."""
        taken = self._taken[line]
        if line in self._held_back.get(taken, ()):
            self._put_in_turn(taken, line)
        if taken > 1:
            self._taken[line] = taken - 1
        else:
            del self._taken[line]
        self._free += 1
        # One place is free: one line is enough, the one that has least.
        least = min(self._held_back, default=0)
        if self._held_back and self._may_take(least):
            self._put_in_turn(least, next(iter(self._held_back[least])))

    def _may_take(self, taken: int) -> bool:
        return taken < min(self._share, self._greed * self._free)

    def _put_in_turn(self, taken: int, line: str) -> None:
        lines = self._held_back[taken]
        del lines[line]
        if not lines:
            del self._held_back[taken]
        self._in_turn.append(line)
