"""What goes wrong, where and when: rules as data, and which one a call meets. No I/O, no log."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

from otc_simulator.jobs import JOB_FAULT_CHOICES, JobFault

T = TypeVar("T")

NO_QUERY: Mapping[str, str] = {}


class FaultError(ValueError):
    """A rule that cannot be read; the text names the part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Which of the calls that a rule speaks about it meets; all parts given must hold."""

    nth: int | None = None
    """The n-th call, from 1."""
    first: int | None = None
    every: int | None = None
    """Every n-th call."""
    after: int | None = None
    """All calls but the first n."""
    probability: float | None = None
    seed: int = 0
    for_seconds: float | None = None
    """Only so long, from the first call on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What happens to the call. Parts may be combined, e.g. a delay and a status."""

    delay_seconds: float | None = None
    """Before anything else."""
    expire_token: bool = False
    """The call's token dies first."""
    ignore_query: tuple[str, ...] = ()
    """Query keys that the handler does not see, e.g. ``marker`` for a page that repeats."""
    handle: bool = False
    """With ``status`` or ``reset``: carry the call out, then lose its answer."""
    reset: bool = False
    """The connection is reset instead of an answer."""
    status: int | None = None
    success_status: int | None = None
    """The handler's own answer comes with this status, e.g. 202."""
    body: str = "json"
    """json, html, xml, empty, or text."""
    text: str | None = None
    """The exact body, for ``body: text``."""
    code: str | None = None
    """IMG.*, APIGW.*, IAM.*: the body has that service's shape; None: Keystone's shape."""
    message: str = "injected fault"
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    retry_after_date: float | None = None
    """``Retry-After`` as an HTTP date, so many seconds from now."""
    patch: Mapping[str, object] = field(default_factory=dict)
    """Keys of the handler's JSON answer that are replaced."""
    drop: tuple[str, ...] = ()
    """Keys of the handler's JSON answer that are left out."""
    patch_rows: Mapping[str, object] = field(default_factory=dict)
    """The same for each row of ``images``."""
    drop_row_keys: tuple[str, ...] = ()
    max_rows: int | None = None
    withdraw: tuple[str, ...] = ()
    """Images that their owner stops sharing with the call's project once the handler is done,
    e.g. between the pages of a list."""
    truncate: str | None = None
    """body: half the JSON, well framed. connection: half of it, then the connection closes."""
    drip_seconds: float | None = None
    """The body comes byte by byte over so long."""
    close: bool = False
    """The server closes the kept-alive connection after the answer, unannounced."""
    job: JobFault | None = None


EFFECT_CHOICES = {
    "body": ("json", "html", "xml", "empty", "text"),
    "truncate": ("body", "connection"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    route: str
    """``METHOD /path/{with}/{names}`` as the counters tell it, or ``*``."""
    effect: Effect
    when: When = When()
    count: int | None = None
    """At most so many times."""
    images: frozenset[str] = frozenset()
    """Only calls that name one of these."""
    projects: frozenset[str] = frozenset()
    """Only calls with a token of one of these."""
    query: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    """Only calls whose query has these values; ``None``: any. ``{"marker": None}``: later pages."""


def read_rule(raw: Mapping[str, Any]) -> Rule:
    """Read a posted rule; raises FaultError on anything it does not know."""
    known = {"route", "when", "count", "images", "projects", "query", "do"}
    if unknown := set(raw) - known:
        raise FaultError(f"unknown keys in rule: {sorted(unknown)}")
    effect = dict(raw["do"])
    if effect.get("job") is not None:
        effect["job"] = _read(JobFault, effect["job"], JOB_FAULT_CHOICES)
    return Rule(
        route=raw["route"],
        effect=_read(Effect, effect, EFFECT_CHOICES),
        when=_read(When, raw.get("when") or {}, {}),
        count=raw.get("count"),
        images=frozenset(raw.get("images") or ()),
        projects=frozenset(raw.get("projects") or ()),
        query=dict(raw.get("query") or {}),
    )


def _read(into: type[T], raw: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]) -> T:
    known = {part.name for part in fields(into)}  # type: ignore[arg-type]  # all three are dataclasses
    if unknown := set(raw) - known:
        raise FaultError(f"unknown keys in {into.__name__}: {sorted(unknown)}")
    for name, allowed in choices.items():
        if raw.get(name) is not None and raw[name] not in allowed:
            raise FaultError(f"{name}={raw[name]!r}: not one of {', '.join(allowed)}")
    return into(**{name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()})


class _Posted:
    """A rule and how often it was met."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._seen = 0
        self._fired = 0
        self._until: datetime | None = None
        self._dice = random.Random(rule.when.seed)  # noqa: S311 - repeatable, not secret

    def fires(self, now: datetime) -> bool:
        """Count a call that the rule speaks about and say whether it is met."""
        when = self.rule.when
        self._seen += 1
        if self._until is None and when.for_seconds is not None:
            self._until = now + timedelta(seconds=when.for_seconds)
        return (
            (when.nth is None or self._seen == when.nth)
            and (when.first is None or self._seen <= when.first)
            and (when.every is None or self._seen % when.every == 0)
            and (when.after is None or self._seen > when.after)
            and (self._until is None or now < self._until)
            and (self.rule.count is None or self._fired < self.rule.count)
            and (when.probability is None or self._dice.random() < when.probability)
        )

    def speaks_about(
        self, images: Collection[str], project_id: str | None, query: Mapping[str, str]
    ) -> bool:
        rule = self.rule
        if rule.images and rule.images.isdisjoint(images):
            return False
        if not all(
            name in query and value in (None, query[name]) for name, value in rule.query.items()
        ):
            return False
        return not rule.projects or project_id in rule.projects

    def spend(self) -> None:
        self._fired += 1


class FaultBook:
    """The rules in force. Each counts its own calls; the first in order that is met wins."""

    def __init__(self) -> None:
        self._by_route: dict[str, list[_Posted]] = {}

    def add(self, rule: Rule) -> None:
        self._by_route.setdefault(rule.route, []).append(_Posted(rule))

    def clear(self) -> None:
        self._by_route.clear()

    def speaks_about(self, route: str) -> bool:
        return bool(self._by_route) and (route in self._by_route or "*" in self._by_route)

    def meet(
        self,
        route: str,
        *,
        images: Sequence[str],
        project_id: str | None,
        now: datetime,
        query: Mapping[str, str] = NO_QUERY,
    ) -> Effect | None:
        met: _Posted | None = None
        for posted in (*self._by_route.get(route, ()), *self._by_route.get("*", ())):
            # Every rule counts every call it speaks about, also those that another rule wins.
            fires = posted.speaks_about(images, project_id, query) and posted.fires(now)
            if fires and met is None:
                met = posted
        if met is None:
            return None
        met.spend()
        return met.rule.effect
