"""Writes Events: in the background, bounded, and never in the way of a pass.

An Event is written when something happens for the first time to an object and its spec; what
happens again is counted in its series, as client-go's recorder does.
"""

import asyncio
import logging
import socket
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from image_share_operator.api.errors import KubeError, ObjectGoneError
from image_share_operator.api.types import API_VERSION, GROUP, KIND
from image_share_operator.flowcontrol.token_bucket import TokenBucket
from image_share_operator.kube.client import MERGE, ApiServer, path
from image_share_operator.planning.events import Event, EventType
from image_share_operator.telemetry import metrics

log = logging.getLogger(__name__)

EVENTS = "events.k8s.io"
COMPONENT = f"{GROUP}/image-share-operator"
BACKLOG = 1_000
"""News that waits to be written; more is dropped, as other writers of Events do. A repeat is no
news: it waits for as long as its series is remembered, and tells the count of the end."""
BURST = 25
PER_SECOND = 2.0
"""Events are for people: when many objects change at once, their status writes matter more to the
API server. A thousand objects cost about 40 Event writes instead of 2,000 until all are Ready."""
NOTE_LENGTH = 1_024
"""The API server refuses a longer note."""
SERIES_EVERY = timedelta(minutes=5)
"""Between two writes of a series; its first repeat is written at once, as client-go's is."""
REMEMBERED = timedelta(hours=1)
"""A series that was quiet for so long is over: API servers drop Events after that time."""
MOST_SERIES = 10_000
"""What is forgotten costs one Event more when it happens again."""
REPEAT = 2
"""The rank of what was told before; Warnings have 0, other news 1."""


@dataclass(slots=True, kw_only=True)
class EventSeries:
    """One Event, and how often it happened.

    Attributes:
        latest: what is to be written; ``None`` when all is.
        name: of the Event; ``None`` before it is written.
        quiet_until: the loop's time before which no repeat is written.
    """

    began: datetime
    last: datetime
    latest: Event | None = None
    count: int = 0
    name: str | None = None
    quiet_until: float = 0.0

    @property
    def rank(self) -> int:
        """Lower goes first."""
        if self.name is not None:
            return REPEAT
        return 0 if self.latest is not None and self.latest.type is EventType.WARNING else 1


@dataclass(slots=True)
class EventQueue:
    """What waits to be written: namespaces take turns, and in each the lower rank goes first.

    Attributes:
        most: news that may wait.
    """

    most: int
    some: asyncio.Event = field(default_factory=asyncio.Event)
    _lines: dict[str, tuple[deque[EventSeries], ...]] = field(
        default_factory=dict[str, tuple[deque[EventSeries], ...]]
    )
    _turns: deque[str] = field(default_factory=deque[str])
    _size: int = 0
    _news: int = 0

    def put(self, series: EventSeries, namespace: str) -> EventSeries | None:
        """Line it up; return the news that had to make room.

        It is the oldest of the namespace with most of it, and rather no Warning.
        """
        if namespace not in self._lines:
            self._lines[namespace] = (deque(), deque(), deque())
            self._turns.append(namespace)
        self._lines[namespace][series.rank].append(series)
        self.some.set()
        self._size += 1
        self._news += series.rank < REPEAT
        if self._news <= self.most:
            return None
        self._size -= 1
        self._news -= 1
        warnings, others, _ = self._lines[max(self._lines, key=self._news_of)]
        return (others or warnings).popleft()

    def pop(self) -> EventSeries | None:
        """Take the next; ``None`` when nothing waits."""
        while self._turns:
            namespace = self._turns.popleft()
            lines = self._lines[namespace]
            rank = next((rank for rank, line in enumerate(lines) if line), None)
            if rank is None:
                del self._lines[namespace]
                continue
            self._turns.append(namespace)
            self._size -= 1
            self._news -= rank < REPEAT
            if not self._size:
                self.some.clear()
            return lines[rank].popleft()
        return None

    def _news_of(self, namespace: str) -> int:
        warnings, others, _ = self._lines[namespace]
        return len(warnings) + len(others)


class EventRecorder:
    """Takes Events and writes them one after the other."""

    def __init__(self, api: ApiServer, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now
        self._instance = socket.gethostname()[:128]
        self._lines = EventQueue(BACKLOG)
        self._bucket = TokenBucket(BURST, PER_SECOND)
        self._series: dict[tuple[str, int, str], EventSeries] = {}  # the latest to happen is last

    def __len__(self) -> int:
        return len(self._series)

    def emit(self, event: Event) -> None:
        """Take an Event; it is dropped when too many wait."""
        loop = asyncio.get_running_loop()
        series = self._series_of(event)
        series.count += 1
        series.last = self._now()
        waits = series.latest is not None
        series.latest = event
        if waits:
            return
        if loop.time() < series.quiet_until:
            loop.call_at(series.quiet_until, self._line_up, series, event.key.namespace)
        else:
            self._line_up(series, event.key.namespace)

    def _series_of(self, event: Event) -> EventSeries:
        key = _series_key(event)
        series = self._series.pop(key, None)
        now = self._now()
        if series is None or now - series.last > REMEMBERED:
            series = EventSeries(began=now, last=now)
        self._series[key] = series
        if len(self._series) > MOST_SERIES:
            self._forget(next(iter(self._series)))
        return series

    def _forget(self, key: tuple[str, int, str]) -> None:
        series = self._series.pop(key)
        if series.name is not None:
            series.latest = None  # its repeat is not worth a write any more

    def _line_up(self, series: EventSeries, namespace: str) -> None:
        dropped = self._lines.put(series, namespace)
        if dropped is not None and dropped.latest is not None:
            metrics.EVENTS_DROPPED.inc()
            event, dropped.latest = dropped.latest, None
            self._series.pop(_series_key(event), None)  # nobody was told of it
            log.debug("%s: event %s dropped, too many wait", event.key, event.reason)

    async def run(self) -> None:
        """Write Events until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._lines.some.wait()
            if not self._bucket.take(1, loop.time()):
                await asyncio.sleep(1 / PER_SECOND)
                continue
            series = self._lines.pop()
            if series is not None and series.latest is not None:
                await self._write(series, series.latest)

    async def _write(self, series: EventSeries, event: Event) -> None:
        first = series.count == 1
        series.latest = None
        try:
            await self._tell(series, event)
        except KubeError as exc:
            log.warning("%s: event %s not written: %s", event.key, event.reason, exc)
        except Exception:
            # An Event is a courtesy: whatever is wrong with one must not stop the work.
            log.exception("%s: event %s not written", event.key, event.reason)
        if not first:
            quiet = SERIES_EVERY.total_seconds()
            series.quiet_until = asyncio.get_running_loop().time() + quiet

    async def _tell(self, series: EventSeries, event: Event) -> None:
        if series.name is not None:
            try:
                await self._call("patch", event, _repeats(series), name=series.name)
            except ObjectGoneError:
                series.name = None  # it was there for longer than the API server keeps them
            else:
                return
        name = f"{event.key.name[:200]}.{uuid.uuid4().hex[:16]}"
        await self._call("create", event, self._body(series, event, name))
        series.name = name

    async def _call(
        self, verb: str, event: Event, body: dict[str, Any], name: str | None = None
    ) -> None:
        where = ("apis", EVENTS, "v1", "namespaces", event.key.namespace, "events")
        await self._api.call(
            verb,
            path(*where, *(() if name is None else (name,))),
            resource=f"events.{EVENTS}",
            namespace=event.key.namespace,
            body=body,
            headers={} if name is None else MERGE,
        )

    def _body(self, series: EventSeries, event: Event, name: str) -> dict[str, Any]:
        return {
            "apiVersion": f"{EVENTS}/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": event.key.namespace},
            "eventTime": _time(series.began),
            "type": event.type.value,
            "reason": event.reason,
            "action": event.action,
            "note": event.note[:NOTE_LENGTH],
            "reportingController": COMPONENT,
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": event.key.namespace,
                "name": event.key.name,
                "uid": event.uid,
            },
            **(_repeats(series) if series.count > 1 else {}),
        }


def _series_key(event: Event) -> tuple[str, int, str]:
    return event.uid, event.generation, event.reason


def _repeats(series: EventSeries) -> dict[str, Any]:
    return {"series": {"count": series.count, "lastObservedTime": _time(series.last)}}


def _time(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
