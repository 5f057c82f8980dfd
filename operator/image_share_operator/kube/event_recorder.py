"""The event recorder: writes Kubernetes Events in the background.

The first Event of an object with a generation and a reason is created. Repeats are counted in its
series, as the recorder of client-go does. Writes are limited, and never delay a reconcile.
"""

import asyncio
import logging
import socket
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
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
MAX_WAITING = 1_000
"""First Events that may wait to be written. When more wait, the recorder drops some, as the
recorder of client-go does. Repeats do not count: they only update a series that is stored."""
BURST = 25
"""Events that are written at once."""
PER_SECOND = 2.0
"""Events per second after the burst. When many objects change at once, their status writes matter
more to the API server: a thousand objects cost about 40 Event writes until all are Ready."""
NOTE_LENGTH = 1_024
"""Characters of a note; the API server rejects longer ones."""
SERIES_INTERVAL = timedelta(minutes=5)
"""Between two writes of a series. Its first repeat is written at once, as by client-go."""
SERIES_TTL = timedelta(hours=1)
"""A series without a repeat for this time ends: by default API servers delete Events after it."""
MAX_SERIES = 10_000
"""Series that are stored. The repeat of a series that was removed creates one more Event."""


class Priority(IntEnum):
    """The order in which the Events of one namespace are written; the lowest first."""

    WARNING = 0
    NORMAL = 1
    REPEAT = 2


@dataclass(slots=True, kw_only=True)
class EventSeries:
    """One Event of the API server and its repeats.

    Attributes:
        first_at: when it happened first.
        last_at: when it happened last.
        pending: the latest occurrence that is not written; ``None`` when all are.
        count: occurrences, written or not.
        name: the name of the Event; ``None`` before it is created.
        quiet_until: the time of the loop before which no repeat is written.
    """

    first_at: datetime
    last_at: datetime
    pending: Event | None = None
    count: int = 0
    name: str | None = None
    quiet_until: float = 0.0

    @property
    def priority(self) -> Priority:
        """The priority of the pending write."""
        if self.name is not None:
            return Priority.REPEAT
        warning = self.pending is not None and self.pending.type is EventType.WARNING
        return Priority.WARNING if warning else Priority.NORMAL


@dataclass(slots=True)
class EventQueue:
    """Series that wait to be written. Namespaces take turns; in each, the priority decides.

    Attributes:
        limit: first Events that may wait.
        not_empty: set while a series waits.
    """

    limit: int
    not_empty: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: dict[str, tuple[deque[EventSeries], ...]] = field(
        default_factory=dict[str, tuple[deque[EventSeries], ...]]
    )  # by namespace, then by priority
    _turns: deque[str] = field(default_factory=deque[str])  # namespaces
    _size: int = 0
    _first_events: int = 0

    def put(self, series: EventSeries, namespace: str) -> EventSeries | None:
        """Add a series; return the series that is dropped when too many wait.

        It is the oldest one of the namespace with the most first Events, Normal before Warning.
        """
        if namespace not in self._waiting:
            self._waiting[namespace] = tuple(deque() for _ in Priority)
            self._turns.append(namespace)
        priority = series.priority
        self._waiting[namespace][priority].append(series)
        self.not_empty.set()
        self._size += 1
        self._first_events += priority is not Priority.REPEAT
        if self._first_events <= self.limit:
            return None
        self._size -= 1
        self._first_events -= 1
        warnings, normals, _ = self._waiting[max(self._waiting, key=self._first_events_of)]
        return (normals or warnings).popleft()

    def pop(self) -> EventSeries | None:
        """Remove and return the next series; ``None`` when the queue is empty."""
        while self._turns:
            namespace = self._turns.popleft()
            waiting = self._waiting[namespace]
            priority = next((priority for priority in Priority if waiting[priority]), None)
            if priority is None:
                del self._waiting[namespace]
                continue
            self._turns.append(namespace)
            self._size -= 1
            self._first_events -= priority is not Priority.REPEAT
            if not self._size:
                self.not_empty.clear()
            return waiting[priority].popleft()
        return None

    def _first_events_of(self, namespace: str) -> int:
        warnings, normals, _ = self._waiting[namespace]
        return len(warnings) + len(normals)


class EventRecorder:
    """Accepts Events and writes them one after the other."""

    def __init__(self, api: ApiServer, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now
        self._instance = socket.gethostname()[:128]
        self._queue = EventQueue(MAX_WAITING)
        self._bucket = TokenBucket(BURST, PER_SECOND)
        self._series: dict[tuple[str, int, str], EventSeries] = {}  # least recent occurrence first

    def __len__(self) -> int:
        return len(self._series)

    def emit(self, event: Event) -> None:
        """Queue an Event and return at once. It may be dropped when too many wait."""
        loop = asyncio.get_running_loop()
        series = self._series_of(event)
        series.count += 1
        series.last_at = self._now()
        is_queued = series.pending is not None
        series.pending = event
        if is_queued:
            return
        if loop.time() < series.quiet_until:
            loop.call_at(series.quiet_until, self._enqueue, series, event.key.namespace)
        else:
            self._enqueue(series, event.key.namespace)

    def _series_of(self, event: Event) -> EventSeries:
        """Return the series of this Event, or a new one, as the most recent."""
        key = _series_key(event)
        series = self._series.pop(key, None)
        now = self._now()
        if series is None or now - series.last_at > SERIES_TTL:
            series = EventSeries(first_at=now, last_at=now)
        self._series[key] = series
        if len(self._series) > MAX_SERIES:
            self._evict(next(iter(self._series)))
        return series

    def _evict(self, key: tuple[str, int, str]) -> None:
        series = self._series.pop(key)
        if series.name is not None:
            series.pending = None  # a first Event that waits is still written, a repeat is not

    def _enqueue(self, series: EventSeries, namespace: str) -> None:
        dropped = self._queue.put(series, namespace)
        if dropped is not None and dropped.pending is not None:
            metrics.EVENTS_DROPPED.inc()
            event, dropped.pending = dropped.pending, None
            self._series.pop(_series_key(event), None)  # the next occurrence is a first Event
            log.debug("%s: dropped event %s: too many events wait", event.key, event.reason)

    async def run(self) -> None:
        """Write Events until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._queue.not_empty.wait()
            if not self._bucket.take(1, loop.time()):
                await asyncio.sleep(1 / PER_SECOND)
                continue
            series = self._queue.pop()
            if series is not None and series.pending is not None:
                await self._write(series, series.pending)

    async def _write(self, series: EventSeries, event: Event) -> None:
        first = series.count == 1
        series.pending = None
        try:
            await self._create_or_patch(series, event)
        except KubeError as exc:
            log.warning("%s: failed to write event %s: %s", event.key, event.reason, exc)
        except Exception:
            # Reconciles must continue, whatever is wrong with one Event.
            log.exception("%s: failed to write event %s", event.key, event.reason)
        if not first:
            quiet = SERIES_INTERVAL.total_seconds()
            series.quiet_until = asyncio.get_running_loop().time() + quiet

    async def _create_or_patch(self, series: EventSeries, event: Event) -> None:
        if series.name is not None:
            try:
                await self._call("patch", event, _series_field(series), name=series.name)
            except ObjectGoneError:
                series.name = None  # the API server deleted it by its TTL
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
            "eventTime": _micro_time(series.first_at),
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
            **(_series_field(series) if series.count > 1 else {}),
        }


def _series_key(event: Event) -> tuple[str, int, str]:
    return event.uid, event.generation, event.reason


def _series_field(series: EventSeries) -> dict[str, Any]:
    """Return the field ``series`` of an Event."""
    return {"series": {"count": series.count, "lastObservedTime": _micro_time(series.last_at)}}


def _micro_time(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
