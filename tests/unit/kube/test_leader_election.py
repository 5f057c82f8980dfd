"""Leader election on a virtual clock: who is the leader, and when leadership changes."""

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


class FakeLock:
    """One Lease with versions, conflicts, outages and errors."""

    def __init__(self) -> None:
        self.record: LeaderElectionRecord | None = None
        self.unavailable = False
        self.hangs = False
        self.forbidden = False
        self.writes = 0
        self.errors: list[Exception] = []

    async def read(self) -> LeaderElectionRecord | None:
        await self._respond()
        return self.record

    async def write(self, record: LeaderElectionRecord) -> None:
        await self._respond()
        stored = "" if self.record is None else self.record.version
        if record.version != stored:
            raise KubeConflictError("update leases: HTTP 409")
        self.writes += 1
        self.record = replace(record, version=str(self.writes))

    async def _respond(self) -> None:
        await asyncio.sleep(0.01)
        if self.errors:
            raise self.errors.pop(0)
        if self.forbidden:
            raise KubeForbiddenError("get leases: HTTP 403")
        if self.unavailable:
            raise KubeRetryableError("get leases: no response")
        if self.hangs:
            await asyncio.sleep(3600)


def candidate(lock: FakeLock, name: str) -> LeaderElector:
    return LeaderElector(lock, name, clock=asyncio.get_running_loop().time)


@contextlib.asynccontextmanager
async def leading(lock: FakeLock, name: str = "first") -> AsyncGenerator[LeaderElector]:
    """Run a leader that renews its Lease, and stop it without a release."""
    election = candidate(lock, name)
    assert await election.acquire(asyncio.Event())
    renewing = asyncio.create_task(election.renew())
    yield election
    renewing.cancel()
    with contextlib.suppress(asyncio.CancelledError, LostLeadError):
        await renewing


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_first_replica_becomes_leader_at_once() -> None:
    election = candidate(FakeLock(), "first")
    assert not election.is_leader

    assert await election.acquire(asyncio.Event())

    assert election.is_leader
    assert now() < 1


async def test_second_replica_is_standby_while_the_first_renews() -> None:
    lock = FakeLock()
    async with leading(lock):
        second = candidate(lock, "second")
        waiting = asyncio.create_task(second.acquire(asyncio.Event()))
        await asyncio.sleep(300)

        assert not waiting.done()
        assert not second.is_leader
        waiting.cancel()


async def test_standby_becomes_leader_within_17_s_when_the_leader_dies() -> None:
    lock = FakeLock()
    second = candidate(lock, "second")
    async with leading(lock):
        waiting = asyncio.create_task(second.acquire(asyncio.Event()))
        await asyncio.sleep(60)
    died = now()

    assert await waiting

    assert 12 < now() - died < 17
    assert lock.record is not None
    assert (lock.record.holder, lock.record.transitions) == ("second", 1)


async def test_standby_becomes_leader_within_600_ms_when_lease_is_released() -> None:
    lock = FakeLock()
    second = candidate(lock, "second")
    async with leading(lock) as first:
        waiting = asyncio.create_task(second.acquire(asyncio.Event()))
        await asyncio.sleep(60)
        await first.release()
        released = now()
        assert not first.is_leader

        assert await waiting
        assert now() - released < 0.6


@pytest.mark.parametrize(
    "failure",
    [
        KubeConflictError("update leases: HTTP 409"),
        KubeRetryableError("get leases: no response"),
        json.JSONDecodeError("Expecting value", "<html>", 0),
        KeyError("metadata"),
    ],
    ids=["renewal in between", "no response", "no JSON", "field missing"],
)
@pytest.mark.parametrize("good", [0, 1], ids=["read fails", "write fails"])
async def test_lease_is_released_when_the_first_attempt_fails(
    good: int, failure: Exception
) -> None:
    lock = FakeLock()
    async with leading(lock) as first:
        await asyncio.sleep(1)
        began = now()
        lock.errors = [failure] if not good else []
        releasing = asyncio.create_task(first.release())
        if good:
            await asyncio.sleep(0.015)
            lock.errors = [failure]
        await releasing

    assert lock.record is not None
    assert lock.record.holder == ""
    assert not lock.errors
    assert now() - began < 0.5


async def test_release_ends_after_its_timeout_when_all_attempts_fail() -> None:
    lock = FakeLock()
    async with leading(lock) as first:
        lock.unavailable = True
        began = now()
        await first.release()

        assert now() - began <= TIMING.attempt_timeout.total_seconds() + 0.1


async def test_response_that_is_no_lease_is_retried() -> None:
    """A proxy can return it. The replica still becomes the leader, and stays the leader."""
    lock = FakeLock()
    lock.errors = [json.JSONDecodeError("Expecting value", "<html>", 0)]
    first = candidate(lock, "first")
    assert await first.acquire(asyncio.Event())
    renewing = asyncio.create_task(first.renew())
    lock.errors = [json.JSONDecodeError("Expecting value", "<html>", 0), TypeError("null")]
    await asyncio.sleep(20)

    assert not renewing.done()
    assert first.is_leader
    renewing.cancel()


@pytest.mark.parametrize("how", ["unavailable", "hangs"])
async def test_leader_stops_before_a_standby_may_acquire_the_lease(how: str) -> None:
    lock = FakeLock()
    first, second = candidate(lock, "first"), candidate(lock, "second")
    await first.acquire(asyncio.Event())
    renewing = asyncio.create_task(first.renew())
    waiting = asyncio.create_task(second.acquire(asyncio.Event()))
    await asyncio.sleep(20)
    setattr(lock, how, True)
    await asyncio.sleep(TIMING.renew_deadline.total_seconds())
    stopped = now()
    setattr(lock, how, False)

    assert not first.is_leader
    with pytest.raises(LostLeadError):
        first.require_leader()
    with pytest.raises(LostLeadError, match="lease not renewed for 10 s"):
        await renewing
    assert await waiting
    assert now() - stopped > 2


@pytest.mark.parametrize("how", ["unavailable", "hangs"])
async def test_leader_stays_leader_when_an_outage_is_short(how: str) -> None:
    lock = FakeLock()
    async with leading(lock) as first:
        await asyncio.sleep(20)
        setattr(lock, how, True)
        await asyncio.sleep(5)
        setattr(lock, how, False)
        await asyncio.sleep(5)

        assert first.is_leader


async def test_leader_may_not_write_after_it_was_frozen() -> None:
    """As after SIGSTOP: the clock continued, the process did not."""
    stopped = 0.0
    election = LeaderElector(FakeLock(), "first", clock=lambda: now() + stopped)
    await election.acquire(asyncio.Event())
    election.require_leader()

    stopped = TIMING.renew_deadline.total_seconds() + 1

    with pytest.raises(LostLeadError):
        election.require_leader()


async def test_renew_raises_when_another_replica_holds_the_lease() -> None:
    """As when a user edits the Lease."""
    lock = FakeLock()
    first = candidate(lock, "first")
    await first.acquire(asyncio.Event())
    assert lock.record is not None
    lock.record = replace(lock.record, holder="another", version="77")

    with pytest.raises(LostLeadError, match="lease taken by another"):
        await first.renew()


async def test_two_replicas_that_start_together_elect_one_leader() -> None:
    lock = FakeLock()
    both = [candidate(lock, name) for name in ("first", "second")]
    waiting = [asyncio.create_task(one.acquire(asyncio.Event())) for one in both]
    await asyncio.sleep(5)

    assert sorted(one.is_leader for one in both) == [False, True]
    for task in waiting:
        task.cancel()


async def test_standby_ends_at_once_when_stopped() -> None:
    lock = FakeLock()
    async with leading(lock):
        stop = asyncio.Event()
        waiting = asyncio.create_task(candidate(lock, "second").acquire(stop))
        await asyncio.sleep(3.5)
        stop.set()
        stopped = now()

        assert not await waiting
        assert now() == stopped


async def test_standby_waits_for_the_duration_that_the_lease_contains() -> None:
    lock = FakeLock()
    lock.record = LeaderElectionRecord(
        holder="other",
        duration=timedelta(seconds=60),
        acquired="",
        renewed="",
        transitions=3,
        version="0",
    )

    assert await candidate(lock, "first").acquire(asyncio.Event())

    assert 60 <= now() < 62


async def test_missing_permission_is_logged_once_and_retried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lock = FakeLock()
    lock.forbidden = True
    waiting = asyncio.create_task(candidate(lock, "first").acquire(asyncio.Event()))
    await asyncio.sleep(60)
    lock.forbidden = False

    assert await waiting
    records = [row for row in caplog.records if "HTTP 403" in row.message]
    assert [row.levelname for row in records if row.levelname != "DEBUG"] == ["ERROR"]


def test_clock_does_not_go_backward() -> None:
    assert 0 < elapsed_s() <= elapsed_s()
