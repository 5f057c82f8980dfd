"""The Lease, on a clock of its own: who works, who waits, and from when on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta

import pytest

from image_share_operator.api.errors import (
    KubeConflictError,
    KubeForbiddenError,
    KubeRetryableError,
    LostLeadError,
)
from image_share_operator.kube.leader_election import (
    LeaderElectionRecord,
    LeaderElector,
    LeaseTiming,
    elapsed_s,
)

pytestmark = pytest.mark.looptime
TIMING = LeaseTiming()


class Cluster:
    """The API server's one Lease: versions, conflicts, and times without an answer."""

    def __init__(self) -> None:
        self.record: LeaderElectionRecord | None = None
        self.away = False
        self.hangs = False
        self.forbidden = False
        self.writes = 0
        self.fails: list[Exception] = []

    async def read(self) -> LeaderElectionRecord | None:
        await self._answer()
        return self.record

    async def write(self, record: LeaderElectionRecord) -> None:
        await self._answer()
        stored = "" if self.record is None else self.record.version
        if record.version != stored:
            raise KubeConflictError("update leases: HTTP 409")
        self.writes += 1
        self.record = replace(record, version=str(self.writes))

    async def _answer(self) -> None:
        await asyncio.sleep(0.01)
        if self.fails:
            raise self.fails.pop(0)
        if self.forbidden:
            raise KubeForbiddenError("get leases in namespace ops: lacks this right")
        if self.away:
            raise KubeRetryableError("get leases in namespace ops: no answer")
        if self.hangs:
            await asyncio.sleep(3600)


def candidate(cluster: Cluster, name: str) -> LeaderElector:
    return LeaderElector(cluster, name, clock=asyncio.get_running_loop().time)


@contextlib.asynccontextmanager
async def leading(cluster: Cluster, name: str = "first") -> AsyncGenerator[LeaderElector]:
    """A replica that leads and renews, until it dies without a word."""
    election = candidate(cluster, name)
    assert await election.acquire(asyncio.Event())
    keeping = asyncio.create_task(election.keep())
    yield election
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError, LostLeadError):
        await keeping


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_first_replica_leads_at_once() -> None:
    election = candidate(Cluster(), "first")
    assert not election.leads

    assert await election.acquire(asyncio.Event())

    assert election.leads
    assert now() < 1


async def test_second_replica_waits_while_the_first_renews() -> None:
    cluster = Cluster()
    async with leading(cluster):
        second = candidate(cluster, "second")
        waiting = asyncio.create_task(second.acquire(asyncio.Event()))
        await asyncio.sleep(300)

        assert not waiting.done()
        assert not second.leads
        waiting.cancel()


async def test_dead_leader_is_followed_within_seventeen_seconds_of_its_last_renewal() -> None:
    cluster = Cluster()
    second = candidate(cluster, "second")
    async with leading(cluster):
        waiting = asyncio.create_task(second.acquire(asyncio.Event()))
        await asyncio.sleep(60)
    died = now()

    assert await waiting

    assert 12 < now() - died < 17
    assert cluster.record is not None
    assert (cluster.record.holder, cluster.record.transitions) == ("second", 1)


async def test_lease_given_back_is_taken_within_about_half_a_second() -> None:
    cluster = Cluster()
    second = candidate(cluster, "second")
    async with leading(cluster) as first:
        waiting = asyncio.create_task(second.acquire(asyncio.Event()))
        await asyncio.sleep(60)
        await first.give_back()
        given = now()
        assert not first.leads

        assert await waiting
        assert now() - given < 0.6


@pytest.mark.parametrize(
    "failure",
    [
        KubeConflictError("update leases: HTTP 409"),
        KubeRetryableError("get leases: no answer"),
        json.JSONDecodeError("Expecting value", "<html>", 0),
        KeyError("metadata"),
    ],
    ids=["a renewal came in between", "no answer", "no JSON", "half of it"],
)
@pytest.mark.parametrize("good", [0, 1], ids=["when it is read", "when it is written"])
async def test_lease_is_given_back_although_a_try_fails(good: int, failure: Exception) -> None:
    cluster = Cluster()
    async with leading(cluster) as first:
        await asyncio.sleep(1)
        began = now()
        cluster.fails = [failure] if not good else []
        giving = asyncio.create_task(first.give_back())
        if good:
            await asyncio.sleep(0.015)
            cluster.fails = [failure]
        await giving

    assert cluster.record is not None
    assert cluster.record.holder == ""
    assert not cluster.fails
    assert now() - began < 0.5


async def test_lease_that_can_not_be_given_back_holds_nothing_up() -> None:
    cluster = Cluster()
    async with leading(cluster) as first:
        cluster.away = True
        began = now()
        await first.give_back()

        assert now() - began <= TIMING.attempt.total_seconds() + 0.1


async def test_answer_that_is_no_json_is_no_answer() -> None:
    """As from a proxy in between: the lead is kept, and taken, all the same."""
    cluster = Cluster()
    cluster.fails = [json.JSONDecodeError("Expecting value", "<html>", 0)]
    first = candidate(cluster, "first")
    assert await first.acquire(asyncio.Event())
    keeping = asyncio.create_task(first.keep())
    cluster.fails = [json.JSONDecodeError("Expecting value", "<html>", 0), TypeError("null")]
    await asyncio.sleep(20)

    assert not keeping.done()
    assert first.leads
    keeping.cancel()


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_leader_stops_to_act_before_another_may_begin(how: str) -> None:
    cluster = Cluster()
    first, second = candidate(cluster, "first"), candidate(cluster, "second")
    await first.acquire(asyncio.Event())
    keeping = asyncio.create_task(first.keep())
    waiting = asyncio.create_task(second.acquire(asyncio.Event()))
    await asyncio.sleep(20)
    setattr(cluster, how, True)
    await asyncio.sleep(TIMING.deadline.total_seconds())
    stopped = now()
    setattr(cluster, how, False)

    assert not first.leads
    with pytest.raises(LostLeadError):
        first.require()
    with pytest.raises(LostLeadError, match="not renewed"):
        await keeping
    assert await waiting
    assert now() - stopped > 2


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_outage_shorter_than_the_deadline_keeps_the_lead(how: str) -> None:
    cluster = Cluster()
    async with leading(cluster) as first:
        await asyncio.sleep(20)
        setattr(cluster, how, True)
        await asyncio.sleep(5)
        setattr(cluster, how, False)
        await asyncio.sleep(5)

        assert first.leads


async def test_leader_that_was_stopped_for_long_may_not_write() -> None:
    """As by SIGSTOP: its clock went on, its code did not."""
    stopped = 0.0
    election = LeaderElector(Cluster(), "first", clock=lambda: now() + stopped)
    await election.acquire(asyncio.Event())
    election.require()

    stopped = TIMING.deadline.total_seconds() + 1

    with pytest.raises(LostLeadError):
        election.require()


async def test_leader_ends_when_another_holds_the_lease() -> None:
    """As when a person edits the Lease."""
    cluster = Cluster()
    first = candidate(cluster, "first")
    await first.acquire(asyncio.Event())
    assert cluster.record is not None
    cluster.record = replace(cluster.record, holder="usurper", version="77")

    with pytest.raises(LostLeadError, match="took the Lease"):
        await first.keep()


async def test_two_that_begin_together_never_lead_together() -> None:
    cluster = Cluster()
    both = [candidate(cluster, name) for name in ("first", "second")]
    waiting = [asyncio.create_task(one.acquire(asyncio.Event())) for one in both]
    await asyncio.sleep(5)

    assert sorted(one.leads for one in both) == [False, True]
    for task in waiting:
        task.cancel()


async def test_told_to_stop_while_waiting_ends_at_once() -> None:
    cluster = Cluster()
    async with leading(cluster):
        stop = asyncio.Event()
        waiting = asyncio.create_task(candidate(cluster, "second").acquire(stop))
        await asyncio.sleep(3.5)
        stop.set()
        told = now()

        assert not await waiting
        assert now() == told


async def test_holder_with_a_longer_lease_is_waited_for_as_long_as_it_says() -> None:
    cluster = Cluster()
    cluster.record = LeaderElectionRecord(
        holder="other",
        duration=timedelta(seconds=60),
        acquired="",
        renewed="",
        transitions=3,
        version="0",
    )

    assert await candidate(cluster, "first").acquire(asyncio.Event())

    assert 60 <= now() < 62


async def test_missing_right_is_told_once_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    cluster.forbidden = True
    waiting = asyncio.create_task(candidate(cluster, "first").acquire(asyncio.Event()))
    await asyncio.sleep(60)
    cluster.forbidden = False

    assert await waiting
    told = [row for row in caplog.records if "lacks this right" in row.message]
    assert [row.levelname for row in told if row.levelname != "DEBUG"] == ["ERROR"]


def test_the_clock_goes_forward() -> None:
    assert 0 < elapsed_s() <= elapsed_s()
