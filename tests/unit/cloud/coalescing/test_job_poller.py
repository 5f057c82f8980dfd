"""A job is asked for once, however many objects wait for it. On a virtual clock."""

import asyncio
from datetime import datetime, timedelta

import pytest
from drive import START

from image_share_operator.api.errors import RetryableError
from image_share_operator.api.jobs import JobReport
from image_share_operator.api.types import JobState
from image_share_operator.cloud.coalescing.job_poller import (
    FRESH_MOST_S,
    FRESH_S,
    LEARNED_FROM,
    JobPoller,
)

pytestmark = pytest.mark.looptime

RUNNING, DONE = JobReport(state=JobState.RUNNING), JobReport(state=JobState.SUCCESS)


class Cloud:
    def __init__(self) -> None:
        self.asked = 0
        self.report = RUNNING
        self.fails: Exception | None = None

    async def job(self, job_id: str) -> JobReport:
        del job_id
        await asyncio.sleep(0.01)
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return self.report


async def test_all_who_ask_together_share_one_question() -> None:
    cloud = Cloud()
    jobs = JobPoller(cloud.job)

    reports = await asyncio.gather(*(jobs.report("j") for _ in range(50)))

    assert reports == [RUNNING] * 50
    assert cloud.asked == 1


async def test_young_job_is_asked_again_soon_and_an_old_one_later() -> None:
    cloud = Cloud()
    jobs = JobPoller(cloud.job)
    await jobs.report("j")
    await asyncio.sleep(FRESH_S)
    await jobs.report("j")
    assert cloud.asked == 2

    await asyncio.sleep(600)
    await jobs.report("j")
    await asyncio.sleep(FRESH_MOST_S - 0.1)
    await jobs.report("j")
    assert cloud.asked == 3
    await asyncio.sleep(0.1)
    await jobs.report("j")
    assert cloud.asked == 4


async def test_settled_job_is_not_asked_again() -> None:
    cloud = Cloud()
    cloud.report = DONE
    jobs = JobPoller(cloud.job)
    await jobs.report("j")

    await asyncio.sleep(3600)

    assert await jobs.report("j") == DONE
    assert cloud.asked == 1


async def test_error_is_shared_for_a_moment_and_the_next_question_may_succeed() -> None:
    cloud = Cloud()
    cloud.fails = RetryableError("HTTP 503")
    jobs = JobPoller(cloud.job)

    told = await asyncio.gather(*(jobs.report("j") for _ in range(50)), return_exceptions=True)
    assert told == [cloud.fails] * 50
    assert cloud.asked == 1

    cloud.fails = None
    await asyncio.sleep(FRESH_S)
    assert await jobs.report("j") == RUNNING


def done(took_s: float, began: datetime = START) -> JobReport:
    """As the cloud tells of a job, by its own clock."""
    end = began + timedelta(seconds=took_s)
    return JobReport(state=JobState.SUCCESS, begin_time=began.isoformat(), end_time=end.isoformat())


async def told(cloud: Cloud, jobs: JobPoller, *took_s: float) -> float:
    """What is typical after jobs that took so long."""
    for seconds in took_s:
        cloud.report = done(seconds)
        await jobs.report(f"{cloud.asked}")
    return jobs.typical_duration.total_seconds()


async def test_what_is_typical_is_a_second_where_nothing_is_known() -> None:
    cloud = Cloud()
    jobs = JobPoller(cloud.job)
    await jobs.report("j")

    assert jobs.typical_duration == timedelta(seconds=1)


async def test_quicker_ones_of_the_latest_jobs_are_typical() -> None:
    cloud = Cloud()
    jobs = JobPoller(cloud.job)

    assert await told(cloud, jobs, 0.5, *[60.0] * (LEARNED_FROM - 1)) == 60
    assert await told(cloud, jobs, 3.0, 2.0) == 60
    assert await told(cloud, jobs, 4.0) == 4
    assert await told(cloud, jobs, *[60.0] * LEARNED_FROM) == 60


async def test_job_is_learned_from_once_however_many_wait_for_it() -> None:
    cloud = Cloud()
    jobs = JobPoller(cloud.job)
    await told(cloud, jobs, *[2.0] * LEARNED_FROM)
    cloud.report = done(60)

    await asyncio.gather(*(jobs.report("slow") for _ in range(50)))

    assert jobs.typical_duration == timedelta(seconds=2)
