"""Limits the requests to one endpoint: in flight, and per second.

Flows (namespaces) take turns: one with thousands of requests does not delay another's single one.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Self

from cachetools import LRUCache

from image_share_operator.flowcontrol.fair_queue import FairQueue

MAX_ENDPOINTS = 1_000
GREED = 3
"""A flow may have three times as many requests in flight as are left free: alone, three quarters of
all seats."""
TICK_S = 0.001
"""The resolution of timers in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """For each endpoint.

    Attributes:
        at_once: requests in flight.
        per_second: requests started, evenly, after a burst of ``at_once``.
    """

    at_once: int
    per_second: float = math.inf


class _Limiter:
    """One endpoint. Times are the event loop's."""

    def __init__(self, limits: Limits) -> None:
        self._step = 1 / limits.per_second
        self._burst = self._step * (limits.at_once - 1)
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(
            limits.at_once, share=limits.at_once, greed=GREED
        )
        self._last_at = float("-inf")  # when the last one started, without pauses
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, flow: str) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._queue.put(flow, waiting)
        self._let_in()
        if waiting.done():
            return
        try:
            await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():  # it got its seat at this moment
                self.leave(flow)
            raise

    def leave(self, flow: str) -> None:
        self._queue.release(flow)
        self._let_in()

    def unused(self) -> None:
        """The last request was not sent: the next one need not wait for it."""
        self._last_at -= self._step
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_in(self) -> None:
        """Give seats in turn, until there is none or the rate is reached."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._queue:
            begins_at = max(self._last_at + self._step, now - self._burst)
            if begins_at > now + TICK_S:
                self._timer = loop.call_at(begins_at, self._on_timer)
                return
            turn = self._queue.take()
            if turn is None:
                return
            flow, waiting = turn
            if waiting.done():  # it was cancelled
                self._queue.release(flow)
                continue
            self._last_at = begins_at
            waiting.set_result(None)

    def _on_timer(self) -> None:
        self._timer = None
        self._let_in()


class Permit:
    """A seat at an endpoint: waited for on entry, released on exit."""

    __slots__ = ("_flow", "_limiter")

    def __init__(self, limiter: _Limiter, flow: str) -> None:
        self._limiter = limiter
        self._flow = flow

    async def __aenter__(self) -> Self:
        """Wait for the seat."""
        await self._limiter.enter(self._flow)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Release the seat."""
        self._limiter.leave(self._flow)

    def unused(self) -> None:
        """Report that nothing was sent."""
        self._limiter.unused()


class Limiters:
    """The limiters of all endpoints."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: LRUCache[str, _Limiter] = LRUCache(MAX_ENDPOINTS)

    def of(self, origin: str, flow: str = "") -> Permit:
        """A seat at this endpoint (scheme, host, port) for this flow."""
        limiter = self._known.get(origin)
        if limiter is None:
            limiter = self._known[origin] = _Limiter(self._limits)
        return Permit(limiter, flow)
