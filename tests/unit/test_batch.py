"""Many objects, few PUTs; and what a spoiled batch costs. On a virtual clock."""

import asyncio
import math
from collections.abc import Sequence
from datetime import timedelta

import pytest

from image_share_operator.api import Decision, JobState
from image_share_operator.cloud.batch import FELLOWS_WAIT, Batcher
from image_share_operator.errors import (
    BatchTooLargeError,
    ImagesRefusedError,
    OutcomeUnknownError,
    RetryableError,
)
from image_share_operator.facts import JobReport, Leftover

pytestmark = pytest.mark.looptime

ACCEPT, REJECT = Decision.ACCEPT, Decision.REJECT
WINDOW = timedelta(milliseconds=100)


class Cloud:
    """Takes batches; refuses those with a spoiled image, or with too many."""

    def __init__(self) -> None:
        self.puts: list[tuple[str, ...]] = []
        self.lines: list[tuple[Decision, str | None]] = []
        self.spoiled: frozenset[str] = frozenset()
        self.most = 1000
        self.fails: Exception | None = None

    async def send(self, decision: Decision, vault_id: str | None, images: tuple[str, ...]) -> str:
        await asyncio.sleep(0.01)
        self.puts.append(images)
        self.lines.append((decision, vault_id))
        if self.fails is not None:
            raise self.fails
        if len(images) > self.most:
            raise BatchTooLargeError("HTTP 413")
        if self.spoiled & set(images):
            raise ImagesRefusedError("HTTP 400 IMG.0027")
        return f"job-{len(self.puts)}"

    def batcher(self, most: int = 50) -> Batcher:
        return Batcher(self.send, window=WINDOW, most=most)


def names(count: int) -> list[str]:
    return [f"image-{number}" for number in range(count)]


async def submit_each(batcher: Batcher, images: Sequence[str]) -> list[str | BaseException]:
    """One object for each image, all at the same moment."""
    return await asyncio.gather(
        *(batcher.submit(ACCEPT, None, (image,), None) for image in images),
        return_exceptions=True,
    )


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_objects_that_come_together_share_one_put() -> None:
    cloud = Cloud()

    jobs = await submit_each(cloud.batcher(), names(20))

    assert cloud.puts == [tuple(names(20))]
    assert set(jobs) == {"job-1"}


async def test_object_alone_waits_for_the_window_and_no_longer() -> None:
    await Cloud().batcher().submit(ACCEPT, None, ("a",), None)

    assert clock() == pytest.approx(0.11)


async def test_full_batch_goes_at_once() -> None:
    cloud = Cloud()

    await submit_each(cloud.batcher(most=10), names(25))

    assert [len(put) for put in cloud.puts] == [10, 10, 5]


async def test_images_of_one_object_stay_together() -> None:
    cloud = Cloud()
    batcher = cloud.batcher(most=10)

    await asyncio.gather(
        *(batcher.submit(ACCEPT, None, tuple(f"{n}-{i}" for i in range(4)), None) for n in range(3))
    )

    assert [len(put) for put in cloud.puts] == [8, 4]


async def test_image_of_two_objects_is_sent_once() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()

    await asyncio.gather(
        batcher.submit(ACCEPT, None, ("a", "b"), None),
        batcher.submit(ACCEPT, None, ("b", "c"), None),
    )

    assert cloud.puts == [("a", "b", "c")]


async def test_other_decisions_and_vaults_travel_apart() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()

    await asyncio.gather(
        batcher.submit(ACCEPT, None, ("a",), None),
        batcher.submit(REJECT, None, ("b",), None),
        batcher.submit(ACCEPT, "vault", ("c",), None),
    )

    assert sorted(cloud.puts) == [("a",), ("b",), ("c",)]
    assert set(cloud.lines) == {(ACCEPT, None), (REJECT, None), (ACCEPT, "vault")}


@pytest.mark.parametrize(
    "spoiled", [(), (0,), (31,), (49,), (0, 49), (7, 8, 9)], ids=lambda where: f"spoiled {where}"
)
async def test_refused_batch_is_divided_until_the_culprit_stands_alone(
    spoiled: tuple[int, ...],
) -> None:
    cloud = Cloud()
    images = names(50)
    cloud.spoiled = frozenset(images[n] for n in spoiled)

    jobs = await submit_each(cloud.batcher(), images)

    refused = {image for image, job in zip(images, jobs, strict=True) if isinstance(job, Exception)}
    assert refused == cloud.spoiled
    assert all(isinstance(job, str | ImagesRefusedError) for job in jobs)
    assert len(cloud.puts) - 1 <= 2 * len(spoiled) * math.ceil(math.log2(50))


async def test_what_one_object_has_left_of_a_refused_batch_goes_alone_and_at_once() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()

    await asyncio.gather(
        batcher.submit(ACCEPT, None, ("fresh",), None),
        batcher.submit(ACCEPT, None, ("suspect",), Leftover(job_id=None, suspect=True)),
    )

    assert cloud.puts == [("suspect",), ("fresh",)]


async def test_batch_that_was_too_large_teaches_the_next_ones() -> None:
    cloud = Cloud()
    cloud.most = 10
    batcher = cloud.batcher()
    await submit_each(batcher, names(40))
    cloud.puts.clear()

    await submit_each(batcher, names(40))

    assert [len(put) for put in cloud.puts] == [10, 10, 10, 10]
    with pytest.raises(BatchTooLargeError):
        await batcher.submit(ACCEPT, None, tuple(names(11)), None)


@pytest.mark.parametrize("error", [RetryableError("HTTP 503"), OutcomeUnknownError("no answer")])
async def test_error_of_a_put_is_told_to_all_whom_it_carried(error: Exception) -> None:
    cloud = Cloud()
    cloud.fails = error

    jobs = await submit_each(cloud.batcher(), names(5))

    assert jobs == [error] * 5
    assert len(cloud.puts) == 1


async def test_object_that_goes_away_before_the_put_is_not_sent() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()
    staying = asyncio.create_task(batcher.submit(ACCEPT, None, ("stays",), None))
    going = asyncio.create_task(batcher.submit(ACCEPT, None, ("goes",), None))
    await asyncio.sleep(0.05)
    going.cancel()

    assert await staying == "job-1"
    assert cloud.puts == [("stays",)]


async def test_object_that_goes_away_during_the_put_takes_nothing_from_the_others() -> None:
    batcher = Cloud().batcher()
    staying = asyncio.create_task(batcher.submit(ACCEPT, None, ("stays",), None))
    going = asyncio.create_task(batcher.submit(ACCEPT, None, ("goes",), None))
    await asyncio.sleep(0.105)
    going.cancel()

    assert await staying == "job-1"


async def test_failed_job_of_many_is_halved_between_its_objects() -> None:
    """All come back at once; each half is sent as soon as it is complete."""
    cloud = Cloud()
    batcher = cloud.batcher()
    images = names(8)
    await submit_each(batcher, images)
    came_back = clock()

    jobs = await asyncio.gather(
        *(
            batcher.submit(ACCEPT, None, (image,), Leftover(job_id="job-1", suspect=True))
            for image in images
        )
    )

    assert cloud.puts[1:] == [tuple(images[:4]), tuple(images[4:])]
    assert jobs == ["job-2"] * 4 + ["job-3"] * 4
    assert clock() - came_back < WINDOW.total_seconds()


async def test_half_of_a_failed_job_does_not_wait_for_ever_for_an_object_that_is_gone() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()
    await submit_each(batcher, names(8))
    came_back = clock()

    await batcher.submit(ACCEPT, None, ("image-0",), Leftover(job_id="job-1", suspect=True))

    assert clock() - came_back == pytest.approx(FELLOWS_WAIT.total_seconds() + 0.01)


async def test_culprit_of_a_failed_job_is_found_in_few_rounds() -> None:
    """A job that names nobody: every object of it comes back, until one stands alone."""
    cloud = Cloud()
    batcher = cloud.batcher()
    waiting = dict.fromkeys(names(50), "")
    guilty = "image-33"
    rounds = 0
    while waiting:
        rounds += 1
        jobs = await asyncio.gather(
            *(
                batcher.submit(
                    ACCEPT, None, (image,), Leftover(job_id=job, suspect=True) if job else None
                )
                for image, job in waiting.items()
            )
        )
        failed = {job for image, job in zip(waiting, jobs, strict=True) if image == guilty}
        sent = dict(zip(waiting, jobs, strict=True))
        waiting = {image: job for image, job in sent.items() if job in failed}
        (failed_job,) = failed
        if not batcher.told(failed_job, JobReport(state=JobState.FAIL)).shared:
            break

    assert list(waiting) == [guilty]
    assert rounds <= 1 + math.ceil(math.log2(50))
    assert len(cloud.puts) <= 1 + 2 * math.ceil(math.log2(50))


async def test_left_overs_do_not_mix_with_fresh_images() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()

    await asyncio.gather(
        batcher.submit(ACCEPT, None, ("fresh",), None),
        batcher.submit(ACCEPT, None, ("left-1",), Leftover(job_id="old", suspect=False)),
        batcher.submit(ACCEPT, None, ("left-2",), Leftover(job_id="old", suspect=False)),
    )

    assert sorted(cloud.puts) == [("fresh",), ("left-1", "left-2")]


async def test_job_of_another_process_may_have_been_shared() -> None:
    batcher = Cloud().batcher()

    assert batcher.told("unknown", JobReport(state=JobState.FAIL)).shared


async def test_job_of_one_object_was_not_shared_and_rows_of_strangers_are_dropped() -> None:
    batcher = Cloud().batcher()
    job = await batcher.submit(ACCEPT, None, ("a",), None)

    told = batcher.told(job, JobReport(state=JobState.FAIL, failed_rows={"a": "no", "zz": "no"}))

    assert not told.shared
    assert told.failed_rows == {"a": "no"}
