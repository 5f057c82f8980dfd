"""Events are counted, bounded and fair; on a virtual clock, with an API server that keeps them."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from drive import START

from image_share_operator.api.errors import KubeRetryableError, ObjectGoneError
from image_share_operator.api.types import Key
from image_share_operator.kube.client import ApiServer
from image_share_operator.kube.event_recorder import (
    BACKLOG,
    BURST,
    MOST_SERIES,
    PER_SECOND,
    REMEMBERED,
    SERIES_EVERY,
    EventRecorder,
)
from image_share_operator.planning.events import Event, EventType

pytestmark = pytest.mark.looptime

MINUTE = 60.0


@dataclass
class Cluster:
    """Keeps Events as the API server does; ``fails`` are raised while there are any."""

    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter[str])
    order: list[str] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    takes_s: float = 0.0

    async def call(
        self,
        verb: str,
        path: str,
        *,
        resource: str,
        namespace: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        assert resource == "events.events.k8s.io"
        self.writes[verb] += 1
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise self.fails.pop(0)
        if verb == "create":
            assert path == f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
            self.events[body["metadata"]["name"]] = dict(body)
            self.order.append(f"{body['reason']} {namespace}/{body['regarding']['name']}")
            return body
        assert headers is not None
        assert headers["Content-Type"] == "application/merge-patch+json"
        name = path.rpartition("/")[2]
        if name not in self.events:
            raise ObjectGoneError("HTTP 404")
        self.events[name] |= body
        return self.events[name]

    @contextlib.asynccontextmanager
    async def recorder(self) -> AsyncGenerator[EventRecorder]:
        made = EventRecorder(cast("ApiServer", self), now)
        writing = asyncio.create_task(made.run())
        yield made
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    def of(self, reason: str) -> dict[str, Any]:
        (found,) = (row for row in self.events.values() if row["reason"] == reason)
        return found


def now() -> datetime:
    """The wall clock goes with the loop's."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def event(
    reason: str = "InvalidRequest",
    name: str = "web",
    namespace: str = "demo",
    *,
    generation: int = 1,
    note: str = "It says why.",
) -> Event:
    normal = reason in ("Submitted", "Accepted")
    return Event(
        key=Key(namespace, name),
        uid=f"uid-of-{namespace}-{name}",
        generation=generation,
        type=EventType.NORMAL if normal else EventType.WARNING,
        reason=reason,
        action="Reconcile",
        note=note,
    )


async def test_events_of_a_single_object_are_written_at_once() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        recorder.emit(event("Submitted"))
        recorder.emit(event("Accepted"))
        await asyncio.sleep(0.01)

    assert cluster.order == ["Submitted demo/web", "Accepted demo/web"]
    told = cluster.of("Accepted")
    assert "series" not in told
    assert told["eventTime"] == now_text(0)
    assert told["regarding"]["uid"] == "uid-of-demo-web"


def now_text(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).astimezone(UTC).isoformat(timespec="microseconds")


async def test_repeat_is_counted_in_the_first_event() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        recorder.emit(event())
        await asyncio.sleep(4)
        recorder.emit(event(note="in other words"))
        await asyncio.sleep(0.01)

    assert cluster.writes == {"create": 1, "patch": 1}
    told = cluster.of("InvalidRequest")
    assert told["series"] == {"count": 2, "lastObservedTime": now_text(4)}
    assert told["note"] == "It says why."


async def test_repeats_after_the_first_are_written_rarely_and_lose_no_count() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        for _ in range(100):
            recorder.emit(event())
            await asyncio.sleep(1)
        assert cluster.writes == {"create": 1, "patch": 1}

        await asyncio.sleep(SERIES_EVERY.total_seconds())

    assert cluster.writes == {"create": 1, "patch": 2}
    assert cluster.of("InvalidRequest")["series"] == {
        "count": 100,
        "lastObservedTime": now_text(99),
    }


async def test_event_that_the_api_server_has_dropped_is_written_anew() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        recorder.emit(event())
        await asyncio.sleep(1)
        cluster.events.clear()
        recorder.emit(event())
        await asyncio.sleep(0.01)

    assert cluster.of("InvalidRequest")["series"]["count"] == 2


async def test_new_spec_begins_a_new_series() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        recorder.emit(event("Submitted", note="job 1"))
        recorder.emit(event("Submitted", note="job 2", generation=2))
        await asyncio.sleep(0.01)

    assert [row["note"] for row in cluster.events.values()] == ["job 1", "job 2"]


async def test_series_ends_when_it_was_quiet_for_as_long_as_events_are_kept() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        recorder.emit(event())
        await asyncio.sleep(REMEMBERED.total_seconds() + 1)
        recorder.emit(event())
        await asyncio.sleep(0.01)

    assert cluster.writes == {"create": 2}


async def test_event_that_could_not_be_written_is_written_with_the_next_of_its_kind() -> None:
    cluster = Cluster(fails=[KubeRetryableError("HTTP 503")])
    async with cluster.recorder() as recorder:
        recorder.emit(event())
        await asyncio.sleep(1)
        assert cluster.events == {}

        recorder.emit(event())
        await asyncio.sleep(0.01)

    told = cluster.of("InvalidRequest")
    assert (told["eventTime"], told["series"]["count"]) == (now_text(0), 2)


@pytest.mark.parametrize(
    ("objects_per_second", "limit"), [(200, 60), (35, 200)], ids=["200 a second", "35 a second"]
)
async def test_flood_of_objects_costs_few_event_writes(objects_per_second: int, limit: int) -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        for number in range(3000):
            recorder.emit(event("Submitted", f"web-{number}"))
            recorder.emit(event("Accepted", f"web-{number}"))
            await asyncio.sleep(1 / objects_per_second)
        in_flood = cluster.writes["create"]
        await asyncio.sleep(BACKLOG / PER_SECOND + 30)

    assert in_flood <= limit
    assert len(cluster.events) >= BACKLOG


async def test_burst_is_written_at_once_when_events_arrive_singly() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        for number in range(BURST):
            recorder.emit(event(name=f"web-{number}"))
            await asyncio.sleep(0.001)

    assert len(cluster.events) == BURST


async def test_flood_of_one_namespace_delays_no_other() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        for number in range(5 * BACKLOG):
            recorder.emit(event("InvalidRequest", f"web-{number}"))
        await asyncio.sleep(1)
        before = len(cluster.order)
        recorder.emit(event("Submitted", "db", "lone"))
        recorder.emit(event("Accepted", "db", "lone"))
        await asyncio.sleep(4 / PER_SECOND)

    assert {"Submitted lone/db", "Accepted lone/db"} <= set(cluster.order[before:])


async def test_warnings_go_before_what_went_well() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        for number in range(300):
            recorder.emit(event("Accepted", f"web-{number}"))
        await asyncio.sleep(1)
        before = len(cluster.order)
        recorder.emit(event("CredentialsInvalid", "db"))
        await asyncio.sleep(2 / PER_SECOND)

    assert "CredentialsInvalid demo/db" in cluster.order[before:]
    assert len(cluster.order) < before + 4


async def test_too_many_cost_what_went_well_before_they_cost_a_warning() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        for number in range(BACKLOG // 2):
            recorder.emit(event("InvalidRequest", f"bad-{number}"))
        for number in range(5 * BACKLOG):
            recorder.emit(event("Accepted", f"good-{number}"))
        recorder.emit(event("InvalidRequest", "db", "lone"))
        await asyncio.sleep(BACKLOG / PER_SECOND + 30)

    reasons = Counter(row["reason"] for row in cluster.events.values())
    assert reasons["InvalidRequest"] == BACKLOG // 2 + 1
    assert sum(reasons.values()) <= BACKLOG


async def test_repeat_that_comes_while_the_first_is_being_written_takes_up_no_room() -> None:
    cluster = Cluster(takes_s=0.01)
    async with cluster.recorder() as recorder:
        for number in range(BACKLOG):
            recorder.emit(event(name=f"web-{number}"))
            await asyncio.sleep(0.005)
            recorder.emit(event(name=f"web-{number}"))
            await asyncio.sleep(1)
        for number in range(BACKLOG):
            recorder.emit(event("CredentialsInvalid", f"web-{number}"))
        await asyncio.sleep(BACKLOG)

    assert Counter(row["reason"] for row in cluster.events.values()) == {
        "InvalidRequest": BACKLOG,
        "CredentialsInvalid": BACKLOG,
    }


async def test_thousand_objects_that_fail_for_hours_write_a_bounded_number_of_events() -> None:
    """As with jobs that fail with a code that may pass: six tries, then one every half hour."""
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        for wait in (2, 4, 8, 16, 30, MINUTE, *[30 * MINUTE] * 8):
            for number in range(1000):
                recorder.emit(event("Submitted", f"web-{number}"))
                recorder.emit(event("CloudUnavailable", f"web-{number}"))
            await asyncio.sleep(wait)

    told = Counter(row["regarding"]["name"] for row in cluster.events.values())
    assert len(told) == 1000
    assert max(told.values()) <= 2
    half_hours = 8
    assert cluster.writes.total() <= 2 * 1000 * (half_hours + 2)
    failed = [row for row in cluster.events.values() if row["reason"] == "CloudUnavailable"]
    assert len(failed) == 1000
    assert {row["series"]["count"] for row in failed} == {14}


async def test_what_was_dropped_is_not_remembered() -> None:
    """Ten thousand objects that become Ready at once would leave twenty thousand notes."""
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        for number in range(3 * BACKLOG):
            recorder.emit(event("Accepted", f"web-{number}"))
        assert len(recorder) == BACKLOG

        recorder.emit(event("InvalidRequest", "web-0"))
        await asyncio.sleep(BACKLOG)
        recorder.emit(event("Accepted", "web-0"))
        await asyncio.sleep(1)

    told = [row["reason"] for row in cluster.events.values() if row["regarding"]["name"] == "web-0"]
    assert told == ["InvalidRequest", "Accepted"]


async def test_what_is_remembered_of_events_is_bounded() -> None:
    cluster = Cluster()
    async with cluster.recorder() as recorder:
        for number in range(MOST_SERIES + 500):
            recorder.emit(event("Accepted", f"web-{number}"))
            await asyncio.sleep(1 / PER_SECOND)

        assert len(recorder) == MOST_SERIES
