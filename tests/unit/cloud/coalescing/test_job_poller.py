"""A job is polled once for all callers. On a virtual clock."""

import asyncio
import math
from datetime import datetime, timedelta

import pytest
from drive import START

from fakes import FakeIms
from image_share_operator.api.errors import RetryableError
from image_share_operator.api.jobs import JobReport
from image_share_operator.api.types import JobState
from image_share_operator.cloud.coalescing.job_poller import (
    DURATION_SAMPLES,
    MAX_CACHE_S,
    MIN_CACHE_S,
    JobPoller,
)

pytestmark = pytest.mark.looptime

RUNNING, DONE = JobReport(state=JobState.RUNNING), JobReport(state=JobState.SUCCESS)


def with_poller(job_s: float = math.inf) -> tuple[FakeIms, JobPoller]:
    """The job "j" settles after ``job_s``."""
    cloud = FakeIms(latency_s=0.01, jobs={"j": (job_s, DONE, {})})
    return cloud, JobPoller(cloud.job)


async def test_concurrent_callers_share_one_poll() -> None:
    cloud, jobs = with_poller()

    reports = await asyncio.gather(*(jobs.report("j") for _ in range(50)))

    assert reports == [RUNNING] * 50
    assert cloud.polls == 1


async def test_new_job_is_polled_more_often_than_an_old_one() -> None:
    cloud, jobs = with_poller()
    await jobs.report("j")
    await asyncio.sleep(MIN_CACHE_S)
    await jobs.report("j")
    assert cloud.polls == 2

    await asyncio.sleep(600)
    await jobs.report("j")
    await asyncio.sleep(MAX_CACHE_S - 0.1)
    await jobs.report("j")
    assert cloud.polls == 3
    await asyncio.sleep(0.1)
    await jobs.report("j")
    assert cloud.polls == 4


async def test_settled_job_is_not_polled_again() -> None:
    cloud, jobs = with_poller(job_s=0)
    await jobs.report("j")

    await asyncio.sleep(3600)

    assert await jobs.report("j") == DONE
    assert cloud.polls == 1


async def test_failed_poll_is_shared_and_then_sent_again() -> None:
    cloud, jobs = with_poller()
    cloud.error = RetryableError("HTTP 503")

    errors = await asyncio.gather(*(jobs.report("j") for _ in range(50)), return_exceptions=True)
    assert errors == [cloud.error] * 50
    assert cloud.polls == 1

    cloud.error = None
    await asyncio.sleep(MIN_CACHE_S)
    assert await jobs.report("j") == RUNNING


def done(took_s: float, began: datetime = START) -> JobReport:
    """A settled job, with the times of the clock of the cloud."""
    end = began + timedelta(seconds=took_s)
    return JobReport(state=JobState.SUCCESS, begin_time=began.isoformat(), end_time=end.isoformat())


async def typical_s(cloud: FakeIms, jobs: JobPoller, *took_s: float) -> float:
    """The typical duration in seconds after jobs with these durations."""
    for seconds in took_s:
        cloud.jobs[f"{cloud.polls}"] = 0, done(seconds), {}
        await jobs.report(f"{cloud.polls}")
    return jobs.typical_duration.total_seconds()


async def test_typical_duration_is_one_second_without_settled_jobs() -> None:
    _, jobs = with_poller()
    await jobs.report("j")

    assert jobs.typical_duration == timedelta(seconds=1)


async def test_typical_duration_is_the_lower_quartile_of_recent_jobs() -> None:
    cloud, jobs = with_poller()

    assert await typical_s(cloud, jobs, 0.5, *[60.0] * (DURATION_SAMPLES - 1)) == 60
    assert await typical_s(cloud, jobs, 3.0, 2.0) == 60
    assert await typical_s(cloud, jobs, 4.0) == 4
    assert await typical_s(cloud, jobs, *[60.0] * DURATION_SAMPLES) == 60


async def test_duration_of_a_job_counts_once_for_many_callers() -> None:
    cloud, jobs = with_poller()
    await typical_s(cloud, jobs, *[2.0] * DURATION_SAMPLES)
    cloud.jobs["slow"] = 0, done(60), {}

    await asyncio.gather(*(jobs.report("slow") for _ in range(50)))

    assert jobs.typical_duration == timedelta(seconds=2)
