"""Everything that one running simulator holds, and the notes a call leaves. No I/O."""

import itertools
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from otc_simulator.clock import SimulatedClock
from otc_simulator.faults import Effect, FaultBook
from otc_simulator.identity import Token
from otc_simulator.journal import Journal
from otc_simulator.seeds import plant
from otc_simulator.settings import TOKEN_FLAVOURS, Settings
from otc_simulator.signature import Received
from otc_simulator.state import Cloud


@dataclass(slots=True)
class Note:
    """What handlers tell the journal about their call."""

    project: str | None = None
    images: tuple[str, ...] = ()
    effect: Effect | None = None


@dataclass(slots=True)
class World:
    first_settings: Settings
    first_seed: Mapping[str, Any]
    base_url: str = ""
    """Where the data port is; set when it listens. Goes into the catalog."""
    settings: Settings = field(init=False)
    clock: SimulatedClock = field(init=False)
    cloud: Cloud = field(init=False)
    faults: FaultBook = field(init=False)
    journal: Journal = field(init=False)
    cached_tokens: dict[str, datetime] = field(init=False)
    """Until when IMS uses a token without asking IAM."""
    _request_ids: Iterator[str] = field(init=False)
    _flavours: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        run = secrets.token_hex(10)
        self._request_ids = (f"{run}{number:012x}" for number in itertools.count())
        self.reset()

    def reset(self) -> None:
        """Go back to the start: first settings, first seed, no faults, counters at zero."""
        self.settings = self.first_settings
        self.clock = SimulatedClock()
        self.cloud = Cloud(self.clock.now)
        self.faults = FaultBook()
        self.journal = Journal()
        self.cached_tokens = {}
        self._flavours = itertools.cycle(TOKEN_FLAVOURS)
        plant(self.cloud, self.first_seed, self.settings)

    def now(self) -> datetime:
        return self.clock.now()

    def shown(self, at: datetime) -> datetime:
        """Return ``at`` as the cloud's own, perhaps skewed, clock tells it."""
        return at + timedelta(seconds=self.settings.clock_skew_seconds)

    def next_request_id(self) -> str:
        return next(self._request_ids)

    def token_flavour(self) -> str:
        chosen = self.settings.token_flavour
        return next(self._flavours) if chosen == "cycle" else chosen


WORLD = web.AppKey("world", World)
NOTE = web.RequestKey("note", Note)
TOKEN = web.RequestKey("token", Token)
RECEIVED = web.RequestKey("received", Received)
"""Of a signed request."""


def world_of(request: web.Request) -> World:
    return request.app[WORLD]
