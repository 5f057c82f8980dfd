"""When to reconcile an object again: functions of ages and intervals. No clock, no randomness."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zlib import crc32

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FRESH_ENOUGH = 0.1
"""Fraction of ``spec.interval`` for which a check is fresh: no earlier check is made, and a read
of that age serves a drift check."""
MAX_SPREAD = timedelta(seconds=10)
"""How far apart the drift checks of one project are: its list of shares is kept for 20 s."""
LATEST_FIRST_POLL = timedelta(seconds=2)
"""The latest age at which a job is first polled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The numbers of the planner. All delays are before jitter."""

    batch_images: int = 50
    """Images in one PUT. The API documents no maximum; other clients send few."""
    lag: timedelta = timedelta(seconds=60)
    """How long a membership may lag behind its settled job (the longest wait seen in other clients
    of this API)."""
    late_effect: timedelta = timedelta(seconds=10)
    """How long a batch with a 5xx response may still take effect: most are not accepted, and the
    documented jobs take 0.6-2.5 s. Without any response it is ``lag``."""
    slow_retry: timedelta = timedelta(minutes=30)
    """Between two retries of what only a person can fix."""
    secret_poll: timedelta = timedelta(seconds=20)
    """Between two reads of the Secret of a resource that waits for a change of it."""
    overdue_poll: timedelta = timedelta(seconds=60)
    """Between two polls of a job that is past its timeout."""
    conflict_check: timedelta = timedelta(minutes=5)
    """Between two checks of a conflict, and the age up to which credentials count as accepted. A
    winner whose credentials stopped working loses within this time."""
    share_poll: timedelta = timedelta(seconds=10)
    """The first wait for a share that does not exist; later waits grow with the time waited."""


def poll_after(age: timedelta, typical_duration: timedelta) -> timedelta:
    """How long to wait before the next poll of a job.

    Args:
        age: since the job was submitted.
        typical_duration: how long recent jobs took. The first poll comes when the job has probably
            settled, `LATEST_FIRST_POLL` at the latest. Later polls come after 15 % of the age.
    """
    least = timedelta(seconds=0.2)
    most = timedelta(seconds=15)
    return min(max(min(typical_duration, LATEST_FIRST_POLL) - age, age * 0.15, least), most)


def settle_after(age: timedelta) -> timedelta:
    """How long to wait before the next check of a membership that lags behind its settled job."""
    return min(max(age * 0.25, timedelta(seconds=0.2)), timedelta(seconds=5))


def share_after(waited: timedelta, first: timedelta, most: timedelta) -> timedelta:
    """How long until the next check for a share that does not exist.

    A quarter of the time waited so far: a new share is found soon, one that never comes costs
    few requests.

    Args:
        most: the interval of the resource; an hour is used when it is zero.
    """
    return min(max(waited * 0.25, first), most or timedelta(hours=1))


def next_drift_check(
    now: datetime, interval: timedelta, project_id: str, jitter: float
) -> timedelta:
    """How long until the next drift check of a project.

    All resources of a project are checked within a sixtieth of the interval, `MAX_SPREAD` at most,
    so that one list of its shares serves them all; projects are checked at different times.

    Args:
        interval: more than zero.
    """
    phase = crc32(project_id.encode()) / 2**32 * interval
    wait = interval - (now - EPOCH - phase) % interval
    if wait < interval * FRESH_ENOUGH:
        wait += interval
    return wait + jitter * min(interval / 60, MAX_SPREAD)
