"""Events: series, limits and fairness, on a virtual clock with a fake API server."""

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
    BURST,
    MAX_SERIES,
    MAX_WAITING,
    PER_SECOND,
    SERIES_INTERVAL,
    SERIES_TTL,
    EventRecorder,
)
from image_share_operator.planning.events import Event, EventType

pytestmark = pytest.mark.looptime

MINUTE = 60.0


@dataclass
class FakeApiServer:
    """Stores Events. Each call raises the next error of ``errors``, if there is one."""

    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter[str])
    created: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    call_s: float = 0.0

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
        await asyncio.sleep(self.call_s)
        if self.errors:
            raise self.errors.pop(0)
        if verb == "create":
            assert path == f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
            self.events[body["metadata"]["name"]] = dict(body)
            self.created.append(f"{body['reason']} {namespace}/{body['regarding']['name']}")
            return body
        assert headers is not None
        assert headers["Content-Type"] == "application/merge-patch+json"
        name = path.rpartition("/")[2]
        if name not in self.events:
            raise ObjectGoneError("HTTP 404")
        self.events[name] |= body
        return self.events[name]

    def with_reason(self, reason: str) -> dict[str, Any]:
        (found,) = (row for row in self.events.values() if row["reason"] == reason)
        return found


@contextlib.asynccontextmanager
async def recording(**behavior: Any) -> AsyncGenerator[tuple[FakeApiServer, EventRecorder]]:
    """Run a recorder with its own API server."""
    api = FakeApiServer(**behavior)
    recorder = EventRecorder(cast("ApiServer", api), now)
    running = asyncio.create_task(recorder.run())
    yield api, recorder
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def now() -> datetime:
    """Return the wall-clock time, which follows the clock of the loop."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def event(
    reason: str = "InvalidRequest",
    name: str = "web",
    namespace: str = "demo",
    *,
    generation: int = 1,
    note: str = "The cause.",
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


async def test_events_of_one_object_are_written_at_once() -> None:
    async with recording() as (api, recorder):
        recorder.emit(event("Submitted"))
        recorder.emit(event("Accepted"))
        await asyncio.sleep(0.01)

    assert api.created == ["Submitted demo/web", "Accepted demo/web"]
    accepted = api.with_reason("Accepted")
    assert "series" not in accepted
    assert accepted["eventTime"] == now_text(0)
    assert accepted["regarding"]["uid"] == "uid-of-demo-web"


def now_text(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).astimezone(UTC).isoformat(timespec="microseconds")


async def test_repeat_is_counted_in_the_series_of_the_first_event() -> None:
    async with recording() as (api, recorder):
        recorder.emit(event())
        await asyncio.sleep(4)
        recorder.emit(event(note="Another cause."))
        await asyncio.sleep(0.01)

    assert api.writes == {"create": 1, "patch": 1}
    written = api.with_reason("InvalidRequest")
    assert written["series"] == {"count": 2, "lastObservedTime": now_text(4)}
    assert written["note"] == "The cause."


async def test_further_repeats_are_counted_and_written_once_per_interval() -> None:
    async with recording() as (api, recorder):
        for _ in range(100):
            recorder.emit(event())
            await asyncio.sleep(1)
        assert api.writes == {"create": 1, "patch": 1}

        await asyncio.sleep(SERIES_INTERVAL.total_seconds())

    assert api.writes == {"create": 1, "patch": 2}
    assert api.with_reason("InvalidRequest")["series"] == {
        "count": 100,
        "lastObservedTime": now_text(99),
    }


async def test_event_is_created_again_when_the_api_server_deleted_it() -> None:
    async with recording() as (api, recorder):
        recorder.emit(event())
        await asyncio.sleep(1)
        api.events.clear()
        recorder.emit(event())
        await asyncio.sleep(0.01)

    assert api.with_reason("InvalidRequest")["series"]["count"] == 2


async def test_new_generation_starts_a_new_series() -> None:
    async with recording() as (api, recorder):
        recorder.emit(event("Submitted", note="job 1"))
        recorder.emit(event("Submitted", note="job 2", generation=2))
        await asyncio.sleep(0.01)

    assert [row["note"] for row in api.events.values()] == ["job 1", "job 2"]


async def test_series_ends_when_it_has_no_repeat_for_its_ttl() -> None:
    async with recording() as (api, recorder):
        recorder.emit(event())
        await asyncio.sleep(SERIES_TTL.total_seconds() + 1)
        recorder.emit(event())
        await asyncio.sleep(0.01)

    assert api.writes == {"create": 2}


async def test_event_is_created_by_its_repeat_when_the_first_write_failed() -> None:
    async with recording(errors=[KubeRetryableError("HTTP 503")]) as (api, recorder):
        recorder.emit(event())
        await asyncio.sleep(1)
        assert api.events == {}

        recorder.emit(event())
        await asyncio.sleep(0.01)

    written = api.with_reason("InvalidRequest")
    assert (written["eventTime"], written["series"]["count"]) == (now_text(0), 2)


@pytest.mark.parametrize(
    ("objects_per_second", "limit"), [(200, 60), (35, 200)], ids=["200 a second", "35 a second"]
)
async def test_flood_of_objects_costs_few_event_writes(objects_per_second: int, limit: int) -> None:
    async with recording() as (api, recorder):
        for number in range(3000):
            recorder.emit(event("Submitted", f"web-{number}"))
            recorder.emit(event("Accepted", f"web-{number}"))
            await asyncio.sleep(1 / objects_per_second)
        in_flood = api.writes["create"]
        await asyncio.sleep(MAX_WAITING / PER_SECOND + 30)

    assert in_flood <= limit
    assert len(api.events) >= MAX_WAITING


async def test_burst_is_written_at_once_when_events_arrive_singly() -> None:
    async with recording() as (api, recorder):
        for number in range(BURST):
            recorder.emit(event(name=f"web-{number}"))
            await asyncio.sleep(0.001)

    assert len(api.events) == BURST


async def test_flood_in_one_namespace_does_not_delay_another() -> None:
    async with recording() as (api, recorder):
        for number in range(5 * MAX_WAITING):
            recorder.emit(event("InvalidRequest", f"web-{number}"))
        await asyncio.sleep(1)
        before = len(api.created)
        recorder.emit(event("Submitted", "db", "lone"))
        recorder.emit(event("Accepted", "db", "lone"))
        await asyncio.sleep(4 / PER_SECOND)

    assert {"Submitted lone/db", "Accepted lone/db"} <= set(api.created[before:])


async def test_warning_is_written_before_waiting_normal_events() -> None:
    async with recording() as (api, recorder):
        for number in range(300):
            recorder.emit(event("Accepted", f"web-{number}"))
        await asyncio.sleep(1)
        before = len(api.created)
        recorder.emit(event("CredentialsInvalid", "db"))
        await asyncio.sleep(2 / PER_SECOND)

    assert "CredentialsInvalid demo/db" in api.created[before:]
    assert len(api.created) < before + 4


async def test_normal_events_are_dropped_before_warnings() -> None:
    async with recording() as (api, recorder):
        for number in range(MAX_WAITING // 2):
            recorder.emit(event("InvalidRequest", f"bad-{number}"))
        for number in range(5 * MAX_WAITING):
            recorder.emit(event("Accepted", f"good-{number}"))
        recorder.emit(event("InvalidRequest", "db", "lone"))
        await asyncio.sleep(MAX_WAITING / PER_SECOND + 30)

    reasons = Counter(row["reason"] for row in api.events.values())
    assert reasons["InvalidRequest"] == MAX_WAITING // 2 + 1
    assert sum(reasons.values()) <= MAX_WAITING


async def test_repeat_during_the_first_write_does_not_count_as_waiting() -> None:
    async with recording(call_s=0.01) as (api, recorder):
        for number in range(MAX_WAITING):
            recorder.emit(event(name=f"web-{number}"))
            await asyncio.sleep(0.005)
            recorder.emit(event(name=f"web-{number}"))
            await asyncio.sleep(1)
        for number in range(MAX_WAITING):
            recorder.emit(event("CredentialsInvalid", f"web-{number}"))
        await asyncio.sleep(MAX_WAITING)

    assert Counter(row["reason"] for row in api.events.values()) == {
        "InvalidRequest": MAX_WAITING,
        "CredentialsInvalid": MAX_WAITING,
    }


async def test_events_of_a_thousand_failing_objects_stay_bounded_for_hours() -> None:
    """The times are those of jobs with a transient error: six quick retries, then slow ones."""
    async with recording() as (api, recorder):
        for wait in (2, 4, 8, 16, 30, MINUTE, *[30 * MINUTE] * 8):
            for number in range(1000):
                recorder.emit(event("Submitted", f"web-{number}"))
                recorder.emit(event("CloudUnavailable", f"web-{number}"))
            await asyncio.sleep(wait)

    events_by_object = Counter(row["regarding"]["name"] for row in api.events.values())
    assert len(events_by_object) == 1000
    assert max(events_by_object.values()) <= 2
    half_hours = 8
    assert api.writes.total() <= 2 * 1000 * (half_hours + 2)
    failed = [row for row in api.events.values() if row["reason"] == "CloudUnavailable"]
    assert len(failed) == 1000
    assert {row["series"]["count"] for row in failed} == {14}


async def test_dropped_event_leaves_no_series() -> None:
    """Otherwise ten thousand objects that become Ready would leave twenty thousand series."""
    async with recording() as (api, recorder):
        for number in range(3 * MAX_WAITING):
            recorder.emit(event("Accepted", f"web-{number}"))
        assert len(recorder) == MAX_WAITING

        recorder.emit(event("InvalidRequest", "web-0"))
        await asyncio.sleep(MAX_WAITING)
        recorder.emit(event("Accepted", "web-0"))
        await asyncio.sleep(1)

    reasons = [row["reason"] for row in api.events.values() if row["regarding"]["name"] == "web-0"]
    assert reasons == ["InvalidRequest", "Accepted"]


async def test_number_of_series_is_bounded() -> None:
    async with recording() as (_, recorder):
        for number in range(MAX_SERIES + 500):
            recorder.emit(event("Accepted", f"web-{number}"))
            await asyncio.sleep(1 / PER_SECOND)

        assert len(recorder) == MAX_SERIES
