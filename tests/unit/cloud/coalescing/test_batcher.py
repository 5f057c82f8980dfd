"""Many objects, few PUTs; and what a spoiled batch costs. On a virtual clock."""

import asyncio
import math
from collections.abc import Sequence
from datetime import timedelta

import httpx
import pytest

from image_share_operator.api.errors import (
    BatchTooLargeError,
    CloudError,
    ImagesRefusedError,
    OutcomeUnknownError,
    RefusedForNowError,
    RetryableError,
    TerminalError,
)
from image_share_operator.api.jobs import JobReport, RetryGroup
from image_share_operator.api.types import Decision, JobState
from image_share_operator.cloud.coalescing.batch_history import REGROWTH_S
from image_share_operator.cloud.coalescing.batcher import FELLOWS_WAIT, Batcher
from image_share_operator.cloud.http import error_mapping
from image_share_operator.flowcontrol import backoff
from image_share_operator.telemetry import metrics

pytestmark = pytest.mark.looptime

ACCEPT, REJECT = Decision.ACCEPT, Decision.REJECT
WINDOW = timedelta(milliseconds=100)
HALVINGS = math.ceil(math.log2(50))


def refusal(status: int, code: str | None = None) -> CloudError:
    """What the client makes of a refused PUT."""
    request = httpx.Request("PUT", "https://ims.test/v1/cloudimages/members")
    body = {"error": {"code": code, "message": "why"}}
    return error_mapping.batch_refusal(httpx.Response(status, json=body, request=request))


class Cloud:
    """Takes batches; refuses those with a spoiled image, or with too many.

    ``takes_s`` is for the next batch only.
    """

    def __init__(self) -> None:
        self.puts: list[tuple[str, ...]] = []
        self.lines: list[tuple[Decision, str | None]] = []
        self.spoiled: frozenset[str] = frozenset()
        self.refusal: Exception = refusal(400, "IMG.0027")
        self.most = 1000
        self.takes_s = 0.01
        self.fails: Exception | None = None

    async def send(self, decision: Decision, vault_id: str | None, images: tuple[str, ...]) -> str:
        takes_s, self.takes_s = self.takes_s, 0.01
        await asyncio.sleep(takes_s)
        self.puts.append(images)
        self.lines.append((decision, vault_id))
        if self.fails is not None:
            raise self.fails
        if len(images) > self.most:
            raise refusal(413)
        if self.spoiled & set(images):
            raise self.refusal
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


@pytest.mark.parametrize("place", [0, 31, 49])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        *[(400, code) for code in ("IMG.0001", "IMG.0184", "IMG.0193", "IMG.0161", "IMG.9999")],
        *[(status, None) for status in (400, 404, 422)],
        *[(400, code) for code in ("IMG.0046", "IMG.0112", "IMG.0061")],
        (409, None),
    ],
)
async def test_culprit_stands_alone_whatever_the_refusal_says(
    status: int, code: str | None, place: int
) -> None:
    cloud = Cloud()
    images = names(50)
    cloud.spoiled, cloud.refusal = frozenset({images[place]}), refusal(status, code)

    jobs = await submit_each(cloud.batcher(), images)

    assert [n for n, job in enumerate(jobs) if isinstance(job, Exception)] == [place]
    assert jobs[place] is cloud.refusal
    assert len(cloud.puts) - 1 <= 2 * HALVINGS


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "IMG.0026"),
        (403, None),
        (401, "APIGW.0301"),
        (400, "IMG.0030"),
        (400, "IMG.0060"),
        (429, None),
        (404, "APIGW.0101"),
        (494, None),
        (494, "APIGW.0201"),
    ],
)
async def test_refusal_that_no_image_can_be_the_reason_of_is_told_to_all(
    status: int, code: str | None
) -> None:
    cloud = Cloud()
    cloud.fails = refusal(status, code)

    jobs = await submit_each(cloud.batcher(), names(50))

    assert jobs == [cloud.fails] * 50
    assert isinstance(cloud.fails, TerminalError | RetryableError)
    assert len(cloud.puts) == 1


async def test_cloud_in_trouble_is_not_asked_for_every_image() -> None:
    """A reason that may pass, and no part gets through: it is not one image."""
    cloud = Cloud()
    cloud.fails = refusal(400, "IMG.0061")

    jobs = await submit_each(cloud.batcher(), names(50))

    assert jobs == [cloud.fails] * 50
    assert isinstance(cloud.fails, RefusedForNowError)
    assert len(cloud.puts) <= 1 + 2 * HALVINGS + 2
    cloud.puts.clear()
    batcher = cloud.batcher()
    for _ in range(7):
        await submit_each(batcher, names(50))
    assert max(sum(image in put for put in cloud.puts) for image in names(50)) <= HALVINGS + 7


async def test_one_object_is_told_to_narrow_when_what_may_pass_does_not() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()
    cloud.fails = refusal(400, "IMG.0046")

    stubborn: list[bool] = []
    for _ in range(2 * backoff.MAX_QUICK_RETRIES):
        with pytest.raises(RefusedForNowError) as caught:
            await batcher.submit(ACCEPT, None, ("a", "b"), None)
        stubborn.append(caught.value.stubborn)

    assert [n for n, told in enumerate(stubborn, 1) if told] == [6, 12]


async def test_one_object_is_told_to_narrow_soon_while_others_get_through() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()
    cloud.spoiled, cloud.refusal = frozenset("a"), refusal(400, "IMG.0046")
    for _ in range(backoff.MAX_QUICK_RETRIES):
        with pytest.raises(RefusedForNowError):
            await batcher.submit(ACCEPT, None, ("a", "b"), None)
    await batcher.submit(ACCEPT, None, ("c",), None)

    with pytest.raises(RefusedForNowError) as caught:
        await batcher.submit(ACCEPT, None, ("a", "b"), None)

    assert caught.value.stubborn


async def test_what_one_object_has_left_of_a_refused_batch_goes_alone_and_at_once() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()

    await asyncio.gather(
        batcher.submit(ACCEPT, None, ("fresh",), None),
        batcher.submit(ACCEPT, None, ("suspect",), RetryGroup(job_id=None, candidate=True)),
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
    with pytest.raises(BatchTooLargeError) as caught:
        await batcher.submit(ACCEPT, None, tuple(names(11)), None)
    assert caught.value.most == 10


async def test_many_batches_that_are_too_large_teach_it_once() -> None:
    cloud = Cloud()
    cloud.most = 10

    jobs = await submit_each(cloud.batcher(), names(200))

    assert all(isinstance(job, str) for job in jobs)
    refused = [put for put in cloud.puts if len(put) > cloud.most]
    assert len(refused) <= 12  # four are under way at a time, and 50 is halved three times
    assert len(cloud.puts) - len(refused) == 4 * math.ceil(50 / 6)


async def test_larger_batch_that_was_under_way_does_not_make_the_limit_larger() -> None:
    cloud = Cloud()
    cloud.most, cloud.takes_s = 10, 60.0

    await submit_each(cloud.batcher(), names(100))

    refused = [len(put) for put in cloud.puts if len(put) > cloud.most]
    assert refused == [50, 25, 12, 50]


async def test_limit_grows_slowly_when_the_cloud_takes_more_again() -> None:
    cloud = Cloud()
    cloud.most = 10
    batcher = cloud.batcher()
    await submit_each(batcher, names(50))
    cloud.most, largest = 1000, list[int]()

    for _ in range(5):
        cloud.puts.clear()
        await submit_each(batcher, names(50))
        largest.append(max(len(put) for put in cloud.puts))
        await asyncio.sleep(REGROWTH_S)

    assert largest == [6, 12, 24, 48, 50]


async def test_image_that_is_too_large_alone_is_refused_itself() -> None:
    cloud = Cloud()
    cloud.most = 0

    (job, other) = await submit_each(cloud.batcher(), ["a", "b"])

    assert isinstance(job, ImagesRefusedError)
    assert isinstance(other, ImagesRefusedError)


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
            batcher.submit(ACCEPT, None, (image,), RetryGroup(job_id="job-1", candidate=True))
            for image in images
        )
    )

    assert cloud.puts[1:] == [tuple(images[:4]), tuple(images[4:])]
    assert jobs == ["job-2"] * 4 + ["job-3"] * 4
    assert clock() - came_back < WINDOW.total_seconds()


async def test_retry_of_a_failed_job_shares_a_batch_again() -> None:
    """They come back at almost the same time, and the last one sends them all."""
    cloud = Cloud()
    batcher = cloud.batcher()
    images = names(8)
    await submit_each(batcher, images)
    came_back = clock()

    async def retry(place: int) -> str:
        await asyncio.sleep(0.1 * place)
        again = RetryGroup(job_id="job-1", candidate=False, retry=True)
        return await batcher.submit(ACCEPT, None, (images[place],), again)

    jobs = await asyncio.gather(*map(retry, range(8)))

    assert cloud.puts[1:] == [tuple(images)]
    assert jobs == ["job-2"] * 8
    assert clock() - came_back == pytest.approx(0.71)


async def test_division_of_a_failed_job_is_counted_once() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()
    await submit_each(batcher, names(8))
    before = splits()

    for image in names(8):
        await batcher.submit(ACCEPT, None, (image,), RetryGroup(job_id="job-1", candidate=True))

    assert splits() == before + 1


def splits() -> float:
    return metrics.REGISTRY.get_sample_value("image_share_operator_batch_splits_total") or 0.0


async def test_half_of_a_failed_job_does_not_wait_for_ever_for_an_object_that_is_gone() -> None:
    cloud = Cloud()
    batcher = cloud.batcher()
    await submit_each(batcher, names(8))
    came_back = clock()

    await batcher.submit(ACCEPT, None, ("image-0",), RetryGroup(job_id="job-1", candidate=True))

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
                    ACCEPT, None, (image,), RetryGroup(job_id=job, candidate=True) if job else None
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
        batcher.submit(ACCEPT, None, ("left-1",), RetryGroup(job_id="old", candidate=False)),
        batcher.submit(ACCEPT, None, ("left-2",), RetryGroup(job_id="old", candidate=False)),
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
