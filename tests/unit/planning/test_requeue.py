"""All delays."""

from datetime import timedelta

import pytest

from image_share_operator.cloud.coalescing import job_poller
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning import requeue


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("failures", "jitter", "expected"),
    [(1, 1.0, 1), (1, 0.0, 0.5), (2, 1.0, 2), (5, 1.0, 16), (9, 1.0, 256), (10, 1.0, 300)],
)
def test_backoff_doubles_up_to_its_ceiling(failures: int, jitter: float, expected: float) -> None:
    assert backoff.exponential(failures, jitter=jitter) == s(expected)


def test_backoff_survives_any_number_of_failures() -> None:
    assert backoff.exponential(100_000, jitter=1.0) == s(300)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_backoff_never_undercuts_what_the_cloud_asked_for(jitter: float) -> None:
    assert backoff.exponential(1, jitter=jitter, retry_after=s(90)) >= s(90)


@pytest.mark.parametrize(
    ("age", "typical_duration", "expected"),
    [
        pytest.param(0, 1, 1, id="first when an answer is likely"),
        pytest.param(0.9, 1, 0.2, id="then soon"),
        pytest.param(10, 1, 1.5, id="then as the job ages"),
        pytest.param(600, 1, 15, id="never rarer than 15 s"),
        pytest.param(0, 60, 2, id="soon also where jobs are long"),
        pytest.param(2, 60, 0.3, id="then as the job ages there too"),
    ],
)
def test_poll_after_follows_the_age_of_the_job(
    age: float, typical_duration: float, expected: float
) -> None:
    assert requeue.poll_after(s(age), s(typical_duration)) == s(expected)


@pytest.mark.parametrize(
    ("waited", "most", "expected"),
    [(0, 3600, 10), (400, 3600, 100), (99_999, 3600, 3600), (99_999, 0, 3600), (400, 60, 60)],
    ids=["at first", "a quarter of the wait", "the interval", "no interval", "short interval"],
)
def test_share_after_grows_with_the_wait_up_to_the_interval(
    waited: float, most: float, expected: float
) -> None:
    assert requeue.share_after(s(waited), first=s(10), most=s(most)) == s(expected)


def test_spread_stays_within_a_tenth() -> None:
    assert backoff.spread(s(100), 0.0) == s(90)
    assert backoff.spread(s(100), 1.0) == s(110)


@pytest.mark.parametrize(("age", "expected"), [(0, 0.2), (4, 1), (60, 5)])
def test_settle_after_looks_often_at_first(age: float, expected: float) -> None:
    assert requeue.settle_after(s(age)) == s(expected)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("2024-11-06T07:24:22.925Z", "2024-11-06T07:24:23.525Z", 0.6),
        ("04-Jun-2015 18:11:06:586", "04-Jun-2015 18:11:07:586", None),
        ("2024-11-06T07:24:22.925Z", "", None),
        (None, None, None),
        ("2024-11-06T07:24:22.925Z", "2024-11-06T07:24:23", None),
        ("2024-11-06T07:24:22.925Z", "2024-11-06T07:24:21.925Z", None),
    ],
    ids=["today's form", "the old form", "empty", "absent", "no zone", "backwards"],
)
def test_duration_reads_what_can_be_read(
    begin: str | None, end: str | None, expected: float | None
) -> None:
    assert job_poller.duration(begin, end) == (None if expected is None else s(expected))
