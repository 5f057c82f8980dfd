"""The simulated cloud's clock: real time plus what a test advanced it by. No I/O."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def read_wall_clock() -> datetime:
    return datetime.now(UTC)


class SimulatedClock:
    def __init__(self, read: Callable[[], datetime] = read_wall_clock) -> None:
        self._read = read
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return self._read() + self._ahead

    def advance(self, by: timedelta) -> None:
        self._ahead += by
