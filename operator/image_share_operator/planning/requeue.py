"""When to reconcile an object again: functions of ages and intervals. No clock, no randomness."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zlib import crc32

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FRESH_ENOUGH = 0.1
"""The share of its interval for which a look is good: nothing is looked at again before, and an
answer of that age serves a routine look."""
LATEST_FIRST_POLL = timedelta(seconds=2)
"""The latest age at which a job is first polled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The numbers of the plan. All delays are before jitter."""

    batch_images: int = 50
    """Images in one PUT. The API documents no maximum; small is what its callers do."""
    lag: timedelta = timedelta(seconds=60)
    """How long a membership may take to show after its job settled (the longest wait seen in
    other clients of this API)."""
    taken_after_all: timedelta = timedelta(seconds=10)
    """How long the effect of a batch is looked for that the cloud answered with 5xx: mostly it was
    not taken, and the documented jobs take 0.6-2.5 s. Where no answer came, it is ``lag``."""
    slow_retry: timedelta = timedelta(minutes=30)
    """Between two tries of what only a person can mend."""
    secret_poll: timedelta = timedelta(seconds=20)
    """Between two looks at the Secret of a resource that waits for it to change."""
    overdue_poll: timedelta = timedelta(seconds=60)
    """Between two looks at a job that is past its timeout."""
    share_poll: timedelta = timedelta(seconds=10)
    """The first wait for a share that does not exist; grows with the time waited."""


def poll_after(age: timedelta, typical: timedelta) -> timedelta:
    """How long to wait before asking for a job again.

    Args:
        age: since the job was submitted.
        typical: how long jobs of late took. The first question comes when an answer is likely, and
            soon in any case: what is typical need not be true of this one. Later ones come after
            15 % of the age: a longer job is not asked more often.
    """
    least = timedelta(seconds=0.2)
    most = timedelta(seconds=15)
    return min(max(min(typical, LATEST_FIRST_POLL) - age, age * 0.15, least), most)


def settle_after(age: timedelta) -> timedelta:
    """How long to wait before looking again for a membership that its settled job promised."""
    return min(max(age * 0.25, timedelta(seconds=0.2)), timedelta(seconds=5))


def share_after(waited: timedelta, first: timedelta, most: timedelta) -> timedelta:
    """How long until the next look for a share that is not there.

    A quarter of the time waited so far: a share that comes soon is answered soon, one that never
    comes costs little.

    Args:
        most: the interval of the resource; an hour is used when it is zero.
    """
    return min(max(waited * 0.25, first), most or timedelta(hours=1))


def next_round(now: datetime, interval: timedelta, project_id: str, jitter: float) -> timedelta:
    """How long until settled shares of a project are looked at next.

    All resources of a project look within a sixtieth of the interval, so that one list of its
    shares serves them all; projects look at different times.

    Args:
        interval: more than zero.
    """
    phase = crc32(project_id.encode()) / 2**32 * interval
    wait = interval - (now - EPOCH - phase) % interval
    if wait < interval * FRESH_ENOUGH:
        wait += interval
    return wait + jitter * interval / 60
