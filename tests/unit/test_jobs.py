"""A job is asked for once, however many objects wait for it. On a virtual clock."""

import asyncio

import pytest

from image_share_operator.api import JobState
from image_share_operator.cloud.jobs import FRESH_MOST_S, FRESH_S, Jobs
from image_share_operator.errors import RetryableError
from image_share_operator.facts import JobReport

pytestmark = pytest.mark.looptime

RUNNING, DONE = JobReport(state=JobState.RUNNING), JobReport(state=JobState.SUCCESS)


class Cloud:
    def __init__(self) -> None:
        self.asked = 0
        self.report = RUNNING
        self.fails: Exception | None = None

    async def job(self, job_id: str) -> JobReport:
        assert job_id == "j"
        await asyncio.sleep(0.01)
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return self.report


async def test_all_who_ask_together_share_one_question() -> None:
    cloud = Cloud()
    jobs = Jobs(cloud.job)

    reports = await asyncio.gather(*(jobs.report("j") for _ in range(50)))

    assert reports == [RUNNING] * 50
    assert cloud.asked == 1


async def test_young_job_is_asked_again_soon_and_an_old_one_later() -> None:
    cloud = Cloud()
    jobs = Jobs(cloud.job)
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
    jobs = Jobs(cloud.job)
    await jobs.report("j")

    await asyncio.sleep(3600)

    assert await jobs.report("j") == DONE
    assert cloud.asked == 1


async def test_error_is_shared_for_a_moment_and_the_next_question_may_succeed() -> None:
    cloud = Cloud()
    cloud.fails = RetryableError("HTTP 503")
    jobs = Jobs(cloud.job)

    told = await asyncio.gather(*(jobs.report("j") for _ in range(50)), return_exceptions=True)
    assert told == [cloud.fails] * 50
    assert cloud.asked == 1

    cloud.fails = None
    await asyncio.sleep(FRESH_S)
    assert await jobs.report("j") == RUNNING
