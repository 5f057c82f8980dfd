"""How much may go to one endpoint: so many requests at once, and so many in a second.

Tenants take turns: one with thousands of requests does not keep another's single one waiting.
"""

import asyncio
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Self

from image_share_operator.flowcontrol.fair_queue import FairQueue

MAX_ENDPOINTS = 1_000
GREED = 3
"""A tenant may have three times as many requests under way as are left for others: alone three
quarters of all, whose answers may be long in coming."""
TICK_S = 0.001
"""Timers are not more exact than this, and some loops know no shorter ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """For each endpoint.

    Attributes:
        at_once: requests under way.
        per_second: requests begun; evenly, after a burst of as many as may be under way.
    """

    at_once: int
    per_second: float = math.inf


class _Limiter:
    """One endpoint. Times are the event loop's."""

    def __init__(self, limits: Limits) -> None:
        self._step = 1 / limits.per_second
        self._burst = self._step * (limits.at_once - 1)
        self._turns: FairQueue[asyncio.Future[None]] = FairQueue(
            limits.at_once, share=limits.at_once, greed=GREED
        )
        self._last_at = float("-inf")  # when the last one began, had there never been a pause
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, session: str) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._turns.put(session, waiting)
        self._let_in()
        if waiting.done():
            return
        try:
            await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():  # it was let in at this very moment
                self.leave(session)
            raise

    def leave(self, session: str) -> None:
        self._turns.give_back(session)
        self._let_in()

    def unused(self) -> None:
        """The last one that was let in sends nothing: the next need not wait for it."""
        self._last_at -= self._step
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_in(self) -> None:
        """Let in those whose turn it is, until there is no place or it is not yet time."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._turns:
            begins_at = max(self._last_at + self._step, now - self._burst)
            if begins_at > now + TICK_S:
                self._timer = loop.call_at(begins_at, self._ring)
                return
            turn = self._turns.take()
            if turn is None:
                return
            session, waiting = turn
            if waiting.done():  # it went away
                self._turns.give_back(session)
                continue
            self._last_at = begins_at
            waiting.set_result(None)

    def _ring(self) -> None:
        self._timer = None
        self._let_in()


class Permit:
    """A place of a tenant at an endpoint: waited for at the beginning, given back at the end."""

    __slots__ = ("_gate", "_tenant")

    def __init__(self, gate: _Limiter, session: str) -> None:
        self._gate = gate
        self._tenant = session

    async def __aenter__(self) -> Self:
        """Wait for it."""
        await self._gate.enter(self._tenant)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Give it back."""
        self._gate.leave(self._tenant)

    def unused(self) -> None:
        """Say that nothing is sent after all."""
        self._gate.unused()


class Limiters:
    """The gates of all endpoints."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: OrderedDict[str, _Limiter] = OrderedDict()

    def of(self, origin: str, session: str = "") -> Permit:
        """A place at this endpoint (scheme, host, port), where tenants take turns."""
        gate = self._known.get(origin)
        if gate is None:
            gate = self._known[origin] = _Limiter(self._limits)
        self._known.move_to_end(origin)
        while len(self._known) > MAX_ENDPOINTS:
            self._known.popitem(last=False)
        return Permit(gate, session)
