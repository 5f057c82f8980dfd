"""Few batches for many requests, and how refused batches are divided. On a virtual clock."""

import asyncio
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from fakes import FakeIms, batch_refusal
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
from image_share_operator.cloud.coalescing.batch_history import JOINABLE_S, REGROWTH_S
from image_share_operator.cloud.coalescing.batcher import BISECTION_WAIT, Batcher
from image_share_operator.flowcontrol import backoff
from image_share_operator.telemetry import metrics

pytestmark = pytest.mark.looptime

ACCEPT, REJECT = Decision.ACCEPT, Decision.REJECT
WINDOW = timedelta(milliseconds=100)
HALVINGS = math.ceil(math.log2(50))


def with_batcher(max_images: int = 50, **facts: Any) -> tuple[FakeIms, Batcher]:
    cloud = FakeIms(latency_s=0.01, **facts)
    return cloud, Batcher(cloud.update_members, window=WINDOW, max_images=max_images)


def names(count: int, first: int = 0) -> list[str]:
    return [f"image-{number}" for number in range(first, first + count)]


async def submit_each(batcher: Batcher, images: Sequence[str]) -> list[str | BaseException]:
    """One request for each image, all at the same moment."""
    return await asyncio.gather(
        *(batcher.submit(ACCEPT, None, (image,), None) for image in images),
        return_exceptions=True,
    )


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_concurrent_requests_share_one_batch() -> None:
    cloud, batcher = with_batcher()

    jobs = await submit_each(batcher, names(20))

    assert cloud.puts == [tuple(names(20))]
    assert set(jobs) == {"job-1"}


@pytest.mark.parametrize("after_s", [0.105, 1, 20], ids=["while sent", "running", "for long"])
async def test_request_for_images_of_a_running_job_gets_this_job(after_s: float) -> None:
    cloud, batcher = with_batcher()
    first = asyncio.create_task(batcher.submit(ACCEPT, None, ("a", "b"), None))
    await asyncio.sleep(after_s)

    assert await batcher.submit(ACCEPT, None, ("b",), None) == "job-1" == await first
    assert cloud.puts == [("a", "b")]
    report = JobReport(state=JobState.RUNNING)
    assert batcher.add_peers("job-1", report).shared, "it has two requests now"


@pytest.mark.parametrize(
    ("decision", "vault", "images"),
    [(REJECT, None, ("a",)), (ACCEPT, "vault", ("a",)), (ACCEPT, None, ("a", "b"))],
    ids=["another decision", "another vault", "an image more"],
)
async def test_request_that_a_running_job_does_not_fulfil_is_sent(
    decision: Decision, vault: str | None, images: tuple[str, ...]
) -> None:
    cloud, batcher = with_batcher()
    await batcher.submit(ACCEPT, None, ("a",), None)

    await batcher.submit(decision, vault, images, None)

    assert cloud.puts == [("a",), images]


async def test_request_is_sent_after_the_opposite_decision() -> None:
    cloud, batcher = with_batcher()
    for decision in (ACCEPT, REJECT, ACCEPT):
        await batcher.submit(decision, None, ("a",), None)

    assert cloud.puts == [("a",)] * 3


@pytest.mark.parametrize("after_s", [0.005, 0.105], ids=["waiting", "being sent"])
async def test_request_is_sent_when_the_opposite_decision_has_no_job_yet(after_s: float) -> None:
    cloud, batcher = with_batcher()
    await batcher.submit(ACCEPT, None, ("a",), None)
    rejected = asyncio.create_task(batcher.submit(REJECT, None, ("a",), None))
    await asyncio.sleep(after_s)

    assert await batcher.submit(ACCEPT, None, ("a",), None) == "job-3"
    assert await rejected == "job-2"
    assert cloud.puts == [("a",)] * 3


@pytest.mark.parametrize("ends", [True, False], ids=["settled", "stuck"])
async def test_request_is_sent_after_a_job_that_settled_or_is_stuck(*, ends: bool) -> None:
    cloud, batcher = with_batcher()
    await batcher.submit(ACCEPT, None, ("a",), None)
    if ends:
        batcher.add_peers("job-1", JobReport(state=JobState.SUCCESS))
    else:
        await asyncio.sleep(JOINABLE_S)

    assert await batcher.submit(ACCEPT, None, ("a",), None) == "job-2"
    assert len(cloud.puts) == 2


async def test_request_is_sent_when_the_batch_before_fails() -> None:
    cloud, batcher = with_batcher(error=RetryableError("HTTP 500"))
    first = asyncio.create_task(batcher.submit(ACCEPT, None, ("a",), None))
    await asyncio.sleep(0.105)
    second = asyncio.create_task(batcher.submit(ACCEPT, None, ("a",), None))
    with pytest.raises(RetryableError):
        await first
    cloud.error = None

    assert await second == "job-2", "the fake counts what it refuses, too"


async def test_single_request_waits_for_the_window() -> None:
    _, batcher = with_batcher()

    await batcher.submit(ACCEPT, None, ("a",), None)

    assert clock() == pytest.approx(0.11)


async def test_full_batch_is_sent_at_once() -> None:
    cloud, batcher = with_batcher(max_images=10)

    await submit_each(batcher, names(25))

    assert [len(put) for put in cloud.puts] == [10, 10, 5]


async def test_images_of_one_request_stay_in_one_batch() -> None:
    cloud, batcher = with_batcher(max_images=10)

    await asyncio.gather(
        *(batcher.submit(ACCEPT, None, tuple(f"{n}-{i}" for i in range(4)), None) for n in range(3))
    )

    assert [len(put) for put in cloud.puts] == [8, 4]


async def test_image_of_two_requests_is_sent_once() -> None:
    cloud, batcher = with_batcher()

    await asyncio.gather(
        batcher.submit(ACCEPT, None, ("a", "b"), None),
        batcher.submit(ACCEPT, None, ("b", "c"), None),
    )

    assert cloud.puts == [("a", "b", "c")]


async def test_decisions_and_vaults_have_separate_batches() -> None:
    cloud, batcher = with_batcher()

    await asyncio.gather(
        batcher.submit(ACCEPT, None, ("a",), None),
        batcher.submit(REJECT, None, ("b",), None),
        batcher.submit(ACCEPT, "vault", ("c",), None),
    )

    assert sorted(cloud.puts) == [("a",), ("b",), ("c",)]
    assert cloud.kinds == {(ACCEPT, None), (REJECT, None), (ACCEPT, "vault")}


@pytest.mark.parametrize(
    "failing", [(), (0,), (31,), (49,), (0, 49), (7, 8, 9)], ids=lambda where: f"failing {where}"
)
async def test_refused_batch_is_divided_until_the_failing_image_is_alone(
    failing: tuple[int, ...],
) -> None:
    images = names(50)
    cloud, batcher = with_batcher(failing=frozenset(images[n] for n in failing))

    jobs = await submit_each(batcher, images)

    refused = {image for image, job in zip(images, jobs, strict=True) if isinstance(job, Exception)}
    assert refused == cloud.failing
    assert all(isinstance(job, str | ImagesRefusedError) for job in jobs)
    assert len(cloud.puts) - 1 <= 2 * len(failing) * math.ceil(math.log2(50))


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
async def test_bisection_finds_the_failing_image_for_each_error_code(
    status: int, code: str | None, place: int
) -> None:
    images = names(50)
    cloud, batcher = with_batcher(
        failing=frozenset({images[place]}), refusal=batch_refusal(status, code)
    )

    jobs = await submit_each(batcher, images)

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
async def test_refusal_without_a_failing_image_fails_all_requests(
    status: int, code: str | None
) -> None:
    cloud, batcher = with_batcher(error=batch_refusal(status, code))

    jobs = await submit_each(batcher, names(50))

    assert jobs == [cloud.error] * 50
    assert isinstance(cloud.error, TerminalError | RetryableError)
    assert len(cloud.puts) == 1


async def test_bisection_stops_when_the_cloud_refuses_every_batch() -> None:
    """A transient error for each part of the batch: no image is the cause."""
    cloud, batcher = with_batcher(error=batch_refusal(400, "IMG.0061"))

    jobs = await submit_each(batcher, names(50))

    assert jobs == [cloud.error] * 50
    assert isinstance(cloud.error, RefusedForNowError)
    assert len(cloud.puts) <= 1 + 2 * HALVINGS + 2
    cloud.puts.clear()
    batcher = Batcher(cloud.update_members, window=WINDOW, max_images=50)
    for _ in range(7):
        await submit_each(batcher, names(50))
    assert max(sum(image in put for put in cloud.puts) for image in names(50)) <= HALVINGS + 7


@pytest.mark.parametrize(
    ("error", "persistent"),
    [
        (batch_refusal(400, "IMG.0046"), [6, 12]),
        (batch_refusal(500), [6, 12]),
        (OutcomeUnknownError("connection lost"), []),
    ],
    ids=["transient refusal", "5xx", "lost response"],
)
async def test_error_is_persistent_after_the_quick_retries(
    error: CloudError, persistent: list[int]
) -> None:
    _, batcher = with_batcher(error=error)
    found: list[int] = []
    for number in range(1, 2 * backoff.MAX_QUICK_RETRIES + 1):
        with pytest.raises(type(error)) as caught:
            await batcher.submit(ACCEPT, None, ("a", "b"), None)
        assert isinstance(caught.value, RefusedForNowError | OutcomeUnknownError)
        if isinstance(caught.value, OutcomeUnknownError):
            assert caught.value.answered is bool(persistent), "a 5xx has a response"
        found += [number] * caught.value.persistent

    assert found == persistent


async def test_transient_refusal_is_persistent_when_others_are_accepted() -> None:
    _, batcher = with_batcher(failing=frozenset("a"), refusal=batch_refusal(400, "IMG.0046"))
    for _ in range(backoff.MAX_QUICK_RETRIES):
        with pytest.raises(RefusedForNowError):
            await batcher.submit(ACCEPT, None, ("a", "b"), None)
    await batcher.submit(ACCEPT, None, ("c",), None)

    with pytest.raises(RefusedForNowError) as caught:
        await batcher.submit(ACCEPT, None, ("a", "b"), None)

    assert caught.value.persistent


async def test_retry_of_a_refused_request_is_sent_alone_and_at_once() -> None:
    cloud, batcher = with_batcher()

    await asyncio.gather(
        batcher.submit(ACCEPT, None, ("fresh",), None),
        batcher.submit(ACCEPT, None, ("candidate",), RetryGroup(job_id=None, candidate=True)),
    )

    assert cloud.puts == [("candidate",), ("fresh",)]


async def test_too_large_batch_limits_the_next_ones() -> None:
    cloud, batcher = with_batcher(largest=10)
    await submit_each(batcher, names(40))
    cloud.puts.clear()

    await submit_each(batcher, names(40, first=100))

    assert [len(put) for put in cloud.puts] == [10, 10, 10, 10]
    with pytest.raises(BatchTooLargeError) as caught:
        await batcher.submit(ACCEPT, None, tuple(names(11)), None)
    assert caught.value.most == 10


async def test_concurrent_too_large_batches_lower_the_limit_once() -> None:
    cloud, batcher = with_batcher(largest=10)

    jobs = await submit_each(batcher, names(200))

    assert all(isinstance(job, str) for job in jobs)
    refused = [put for put in cloud.puts if len(put) > cloud.largest]
    assert len(refused) <= 12  # four are in flight, and 50 is halved three times
    assert len(cloud.puts) - len(refused) == 4 * math.ceil(50 / 6)


async def test_late_refusal_of_a_larger_batch_does_not_raise_the_limit() -> None:
    cloud, batcher = with_batcher(largest=10, slow_puts=[60.0])

    await submit_each(batcher, names(100))

    refused = [len(put) for put in cloud.puts if len(put) > cloud.largest]
    assert refused == [50, 25, 12, 50]


async def test_batch_limit_doubles_each_hour_when_more_is_accepted() -> None:
    cloud, batcher = with_batcher(largest=10)
    await submit_each(batcher, names(50, first=100))
    cloud.largest, largest = 1000, list[int]()

    for _ in range(5):
        cloud.puts.clear()
        await submit_each(batcher, names(50))
        largest.append(max(len(put) for put in cloud.puts))
        await asyncio.sleep(REGROWTH_S)

    assert largest == [6, 12, 24, 48, 50]


async def test_too_large_batch_of_one_image_is_an_images_refused_error() -> None:
    _, batcher = with_batcher(largest=0)

    (job, other) = await submit_each(batcher, ["a", "b"])

    assert isinstance(job, ImagesRefusedError)
    assert isinstance(other, ImagesRefusedError)


@pytest.mark.parametrize("error", [RetryableError("HTTP 503"), OutcomeUnknownError("no answer")])
async def test_error_of_a_batch_is_raised_in_all_its_requests(error: Exception) -> None:
    cloud, batcher = with_batcher(error=error)

    jobs = await submit_each(batcher, names(5))

    assert jobs == [error] * 5
    assert len(cloud.puts) == 1


@pytest.mark.parametrize(
    ("after_s", "sent"),
    [(0.05, ("waits",)), (0.105, ("waits", "cancelled"))],
    ids=["before the batch", "during the batch"],
)
async def test_cancelled_request_cancels_no_other(after_s: float, sent: tuple[str, ...]) -> None:
    cloud, batcher = with_batcher()
    waiting = asyncio.create_task(batcher.submit(ACCEPT, None, ("waits",), None))
    cancelled = asyncio.create_task(batcher.submit(ACCEPT, None, ("cancelled",), None))
    await asyncio.sleep(after_s)
    cancelled.cancel()

    assert await waiting == "job-1"
    assert cloud.puts == [sent]


async def test_requests_of_a_failed_job_are_sent_in_two_halves() -> None:
    """All return at once; each half is sent as soon as it is complete."""
    cloud, batcher = with_batcher()
    images = names(8)
    await submit_each(batcher, images)
    returned_at = clock()

    jobs = await asyncio.gather(
        *(
            batcher.submit(ACCEPT, None, (image,), RetryGroup(job_id="job-1", candidate=True))
            for image in images
        )
    )

    assert cloud.puts[1:] == [tuple(images[:4]), tuple(images[4:])]
    assert jobs == ["job-2"] * 4 + ["job-3"] * 4
    assert clock() - returned_at < WINDOW.total_seconds()


async def test_requests_of_a_failed_job_share_a_batch_when_retried() -> None:
    """They return at almost the same time; the last one completes the batch."""
    cloud, batcher = with_batcher()
    images = names(8)
    await submit_each(batcher, images)
    returned_at = clock()

    async def retry(place: int) -> str:
        await asyncio.sleep(0.1 * place)
        again = RetryGroup(job_id="job-1", candidate=False, retry=True)
        return await batcher.submit(ACCEPT, None, (images[place],), again)

    jobs = await asyncio.gather(*map(retry, range(8)))

    assert cloud.puts[1:] == [tuple(images)]
    assert jobs == ["job-2"] * 8
    assert clock() - returned_at == pytest.approx(0.71)


async def test_bisection_of_a_failed_job_is_counted_once() -> None:
    _, batcher = with_batcher()
    await submit_each(batcher, names(8))
    before = splits()

    for image in names(8):
        await batcher.submit(ACCEPT, None, (image,), RetryGroup(job_id="job-1", candidate=True))

    assert splits() == before + 1


def splits() -> float:
    return metrics.REGISTRY.get_sample_value("image_share_operator_batch_splits_total") or 0.0


async def test_half_of_a_failed_job_waits_a_limited_time() -> None:
    _, batcher = with_batcher()
    await submit_each(batcher, names(8))
    returned_at = clock()

    await batcher.submit(ACCEPT, None, ("image-0",), RetryGroup(job_id="job-1", candidate=True))

    assert clock() - returned_at == pytest.approx(BISECTION_WAIT.total_seconds() + 0.01)


async def test_bisection_of_failed_jobs_finds_the_failing_image() -> None:
    """The jobs name no image: all requests return until one is alone."""
    cloud, batcher = with_batcher()
    waiting = dict.fromkeys(names(50), "")
    failing_image = "image-33"
    jobs_in_a_row = 0
    while waiting:
        jobs_in_a_row += 1
        jobs = await asyncio.gather(
            *(
                batcher.submit(
                    ACCEPT, None, (image,), RetryGroup(job_id=job, candidate=True) if job else None
                )
                for image, job in waiting.items()
            )
        )
        failed = {job for image, job in zip(waiting, jobs, strict=True) if image == failing_image}
        sent = dict(zip(waiting, jobs, strict=True))
        waiting = {image: job for image, job in sent.items() if job in failed}
        (failed_job,) = failed
        if not batcher.add_peers(failed_job, JobReport(state=JobState.FAIL)).shared:
            break

    assert list(waiting) == [failing_image]
    assert jobs_in_a_row <= 1 + math.ceil(math.log2(50))
    assert len(cloud.puts) <= 1 + 2 * math.ceil(math.log2(50))


async def test_images_of_a_failed_job_are_not_mixed_with_new_images() -> None:
    cloud, batcher = with_batcher()

    await asyncio.gather(
        batcher.submit(ACCEPT, None, ("fresh",), None),
        batcher.submit(ACCEPT, None, ("left-1",), RetryGroup(job_id="old", candidate=False)),
        batcher.submit(ACCEPT, None, ("left-2",), RetryGroup(job_id="old", candidate=False)),
    )

    assert sorted(cloud.puts) == [("fresh",), ("left-1", "left-2")]


async def test_job_of_another_process_counts_as_shared() -> None:
    _, batcher = with_batcher()

    assert batcher.add_peers("unknown", JobReport(state=JobState.FAIL)).shared


async def test_job_of_one_request_is_not_shared_and_drops_other_rows() -> None:
    _, batcher = with_batcher()
    job = await batcher.submit(ACCEPT, None, ("a",), None)

    report = batcher.add_peers(
        job, JobReport(state=JobState.FAIL, failed_rows={"a": "no", "zz": "no"})
    )

    assert not report.shared
    assert report.failed_rows == {"a": "no"}
