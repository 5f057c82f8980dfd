"""How much may go to one endpoint: so many requests at once, and so many in a second."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

MAX_ENDPOINTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """For each endpoint.

    Attributes:
        at_once: requests under way.
        per_second: requests begun; evenly, after a burst of as many as may be under way.
    """

    at_once: int
    per_second: float


@dataclass(slots=True)
class _Gate:
    """One endpoint. Times are the event loop's.

    Attributes:
        next_at: when the next request would begin if there had never been a pause.
    """

    free: asyncio.Semaphore
    next_at: float = field(default=float("-inf"))


class Gates:
    """The gates of all endpoints."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: OrderedDict[str, _Gate] = OrderedDict()

    @asynccontextmanager
    async def of(self, origin: str) -> AsyncGenerator[None]:
        """Wait until a request may go to this endpoint (scheme, host, port)."""
        gate = self._gate(origin)
        async with gate.free:
            loop = asyncio.get_running_loop()
            step = 1 / self._limits.per_second
            burst = step * (self._limits.at_once - 1)
            gate.next_at = max(gate.next_at + step, loop.time() - burst)
            if gate.next_at > loop.time():
                await asyncio.sleep(gate.next_at - loop.time())
            yield

    def _gate(self, origin: str) -> _Gate:
        gate = self._known.get(origin)
        if gate is None:
            gate = self._known[origin] = _Gate(asyncio.Semaphore(self._limits.at_once))
        self._known.move_to_end(origin)
        while len(self._known) > MAX_ENDPOINTS:
            self._known.popitem(last=False)
        return gate
