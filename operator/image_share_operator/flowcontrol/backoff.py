"""How long to wait after a failure, as functions. No clock, no randomness."""

from datetime import timedelta

MAX_QUICK_RETRIES = 6
"""Failed jobs in a row that are retried with growing delays (about a minute in all); after
that the slow retry takes over."""


def exponential(
    failures: int,
    *,
    jitter: float,
    retry_after: timedelta | None = None,
    ceiling: timedelta = timedelta(minutes=5),
) -> timedelta:
    """How long to wait after the n-th failure in a row: 1 s, 2 s, 4 s … up to ``ceiling``.

    Args:
        failures: at least 1.
        jitter: 0-1, at random; half of the delay is fixed, half is spread.
        retry_after: the least that the cloud asked for; never undercut.
    """
    full = min(ceiling.total_seconds(), 2.0 ** min(failures - 1, 16))
    delay = timedelta(seconds=full * (0.5 + 0.5 * jitter))
    return delay if retry_after is None else retry_after + delay * 0.1


def spread(span: timedelta, jitter: float) -> timedelta:
    """The span, give or take a tenth, so that what started together does not stay together."""
    return span * (0.9 + 0.2 * jitter)
