"""What a reconcile with nothing to send reports, and when the next one follows.

Each function returns a `Report`: the Ready condition, whose text is in `messages`, the rows of the
images, and the time of the requeue. No I/O, no clock, no log.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from zlib import crc32

from image_share_operator.api.errors import RetryableError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    ConditionType,
    Desired,
    ImageStatus,
    Job,
    JobState,
    Membership,
    Status,
)
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning import image_rows, messages, requeue, row_messages
from image_share_operator.planning.model import (
    FAILING,
    ImageState,
    Observation,
    Report,
    Verdict,
)
from image_share_operator.planning.requeue import Policy

MAX_ROW_RETRIES = 3
"""Quick retries of an image that a successful job reports as failed. There is no code that tells
whether a retry may help, and a person is not needed for what one retry repairs."""
_SENT = {ImageState.TO_SUBMIT, ImageState.DRIFTED, ImageState.CANDIDATE}


def suspended(desired: Desired, observation: Observation) -> Report:
    """Keep the last known value; True only where all images are known to be as wanted."""
    before = observation.status.condition(ConditionType.READY)
    if _all_known(desired, observation):
        ready, reason = "True", messages.reason_of(desired.decision)
    elif before is not None and before.status == "False":
        ready, reason = "False", before.reason
    else:
        ready, reason = "Unknown", Reason.PROGRESSING
    return Report(ready_summary=messages.suspended(ready, reason), requeue_after=None)


def _all_known(desired: Desired, observation: Observation) -> bool:
    """Whether all images are known to be as wanted and no job may change that."""
    known = {row.id: row for row in observation.status.images}
    job, batch = observation.job, observation.status.unanswered
    if batch is not None and batch.decision is not desired.decision:
        return False
    return bool(desired.images) and all(
        (row := known.get(image)) is not None
        and row.membership is desired.decision.wanted
        and (job is None or row.job_id != job.id or job.decision is desired.decision)
        for image in desired.images
    )


def job_running(desired: Desired, job: Job, observation: Observation, now: datetime) -> Report:
    """Report that the job has not settled, and when to poll it again."""
    carried = sum(row.job_id == job.id for row in observation.status.images)
    return Report(
        ready_summary=messages.submitted(replace(desired, decision=job.decision), carried),
        requeue_after=requeue.poll_after(now - job.submitted_at, observation.typical_duration),
    )


def job_timeout(
    desired: Desired, job: Job, report: Report, observation: Observation, policy: Policy
) -> Report:
    """Report a job past its timeout, unless nothing is left to do or all images are as wanted.

    Args:
        report: as without this job; it has what is known of the images of other jobs.
    """
    waits = filter(None, (report.requeue_after, policy.overdue_poll))
    report = replace(report, requeue_after=min(waits))
    images = report.images or ()
    if is_done(report) or (images and all(_as_wanted(one.membership, desired) for one in images)):
        return report
    images = tuple(_of_named_job(one, job, observation) for one in images)
    return replace(report, ready_summary=messages.job_timeout(job, desired), images=images)


def _of_named_job(row: ImageStatus, job: Job, observation: Observation) -> ImageStatus:
    """The row; it need not remember a job past its timeout that the status names."""
    if row.job_id != job.id or not row_messages.is_overdue(row):
        return row
    error = observation.unreadable.get(row.id)
    return replace(row, message=None if error is None else messages.unread(error))


def _as_wanted(membership: Membership, desired: Desired) -> bool:
    """Whether the spec is fulfilled; without a share, a deleted resource has nothing to reject."""
    if desired.being_deleted and membership is Membership.NOT_SHARED:
        return True
    return membership is desired.decision.wanted


def from_verdicts(
    desired: Desired,
    observation: Observation,
    verdicts: tuple[Verdict, ...],
    now: datetime,
    policy: Policy,
) -> Report:
    """Fold the states of all images into one report; there is nothing to send."""
    report = _without_rows(desired, observation, verdicts, now, policy)
    images = image_rows.from_verdicts(desired, verdicts, observation.status)
    return replace(report, images=images)


def _without_rows(
    desired: Desired,
    observation: Observation,
    verdicts: tuple[Verdict, ...],
    now: datetime,
    policy: Policy,
) -> Report:
    found = {v.state for v in verdicts}
    if ImageState.SETTLING in found:
        return _settling(desired, observation, verdicts, now)
    if ImageState.IN_DOUBT in found:
        return _in_doubt(desired, observation, now)
    if ImageState.CONFLICT in found:
        return _conflict(desired, observation, verdicts, now, policy)
    if FAILING & found:
        return _failed(desired, observation, verdicts, now, policy)
    if ImageState.OVERDUE in found:
        summary = messages.overdue_images(verdicts)
        return Report(ready_summary=summary, requeue_after=policy.overdue_poll)
    if ImageState.NOT_SHARED in found:
        return Report(
            ready_summary=messages.not_shared(desired, verdicts),
            requeue_after=_share_again(desired, observation, now, policy),
        )
    return _as_selected(desired, observation, verdicts, now, policy)


def _settling(
    desired: Desired, observation: Observation, verdicts: tuple[Verdict, ...], now: datetime
) -> Report:
    """Wait until the effect of a job that ended shows."""
    job = observation.job
    ordered = desired if job is None else replace(desired, decision=job.decision)
    settling = sum(v.state is ImageState.SETTLING for v in verdicts)
    return Report(
        ready_summary=messages.submitted(ordered, settling),
        requeue_after=requeue.settle_after(now - (observation.runtime.settled_at or now)),
    )


def _failed(
    desired: Desired,
    observation: Observation,
    verdicts: tuple[Verdict, ...],
    now: datetime,
    policy: Policy,
) -> Report:
    """Report the images that failed, and continue with what may change before their retry."""
    found = {v.state for v in verdicts}
    retry_at = _retry_at(observation, now, policy)
    waiting = ImageState.NOT_SHARED in found
    waits = [retry_at - now, *_read_again(observation)]
    waits += [_share_again(desired, observation, now, policy)] if waiting else []
    waits += [policy.overdue_poll] if ImageState.OVERDUE in found else []
    transient = _is_transient(observation) or observation.read_again
    return Report(
        ready_summary=messages.failed(verdicts, retry_at, transient=transient, waiting=waiting),
        requeue_after=min(waits),
        retry_at=retry_at,
    )


def _as_selected(
    desired: Desired,
    observation: Observation,
    verdicts: tuple[Verdict, ...],
    now: datetime,
    policy: Policy,
) -> Report:
    """Report that all images are as wanted, unless the selector has too many or none."""
    selection = observation.selection
    drift_check = _drift_check(desired, observation, now)
    if selection is not None and selection.over_limit and not desired.being_deleted:
        summary = messages.limit_exceeded(desired, selection)
        return Report(ready_summary=summary, requeue_after=drift_check)
    if selection is not None and not verdicts:
        summary = messages.nothing_selected(desired, selection)
        due = _share_again(desired, observation, now, policy)
        return Report(ready_summary=summary, requeue_after=due)
    return Report(
        ready_summary=messages.done(desired, selection),
        requeue_after=drift_check,
        finished=desired.being_deleted,
    )


def _drift_check(desired: Desired, observation: Observation, now: datetime) -> timedelta | None:
    if not desired.interval:
        return None
    return requeue.next_drift_check(now, desired.interval, desired.project_id, observation.jitter)


def _share_again(
    desired: Desired, observation: Observation, now: datetime, policy: Policy
) -> timedelta:
    """How long until the next check for a share that is missing."""
    return requeue.share_after(
        _waited(observation.status, now), first=policy.share_poll, most=desired.interval
    )


def is_done(report: Report) -> bool:
    """Whether nothing is left to do for the selected images."""
    summary = report.ready_summary
    return summary.ready == "True" or summary.reason is Reason.NOTHING_SELECTED


def dry_run(
    desired: Desired, observation: Observation, verdicts: tuple[Verdict, ...], now: datetime
) -> Report:
    """Report what would be sent.

    Args:
        verdicts: of the selected images, and then of those that would be removed.
    """
    selected = len(desired.images)
    words = [desired.decision.wanted.value] * selected
    words += [Membership.REJECTED.value] * (len(verdicts) - selected)
    counts = Counter[str]()
    images = list(image_rows.from_verdicts(desired, verdicts, observation.status))
    for place, (verdict, word) in enumerate(zip(verdicts, words, strict=True)):
        if verdict.state in _SENT:
            counts[word] += 1
            images[place] = replace(
                images[place], message=f"{messages.DRY_RUN_PREFIX}would be {word}"
            )
    return Report(
        ready_summary=messages.dry_run(counts, desired),
        requeue_after=_drift_check(desired, observation, now),
        images=tuple(images),
    )


def _read_again(observation: Observation) -> tuple[timedelta, ...]:
    """When a membership is read again whose read failed with a transient error."""
    if not observation.read_again:
        return ()
    return (backoff.exponential(observation.runtime.errors + 1, jitter=observation.jitter),)


def _conflict(
    desired: Desired,
    observation: Observation,
    verdicts: tuple[Verdict, ...],
    now: datetime,
    policy: Policy,
) -> Report:
    """Report the images that another resource is in charge of; retry the others as without them."""
    lost = [v for v in verdicts if v.state is ImageState.CONFLICT]
    others = tuple(v for v in verdicts if v.state is not ImageState.CONFLICT)
    rest = from_verdicts(desired, observation, others, now, policy) if others else None
    due = policy.conflict_check
    if rest is not None and rest.requeue_after is not None:
        due = min(due, rest.requeue_after)
    return Report(
        ready_summary=messages.conflict(lost),
        requeue_after=due,
        retry_at=None if rest is None else rest.retry_at,
    )


def progressing(
    desired: Desired,
    observation: Observation,
    verdicts: tuple[Verdict, ...],
    now: datetime,
    policy: Policy,
) -> Report:
    """Report how many images are as wanted; the next reconcile sets more of them at once."""
    done = sum(v.state is ImageState.DONE for v in verdicts)
    failed = any(v.state in FAILING for v in verdicts)
    return Report(
        ready_summary=messages.progressing(done, len(verdicts), desired.decision),
        requeue_after=timedelta(),
        images=image_rows.from_verdicts(desired, verdicts, observation.status),
        retry_at=_retry_at(observation, now, policy) if failed else None,
        continues=True,
    )


def _in_doubt(desired: Desired, observation: Observation, now: datetime) -> Report:
    """Check again; a message that named the cause of the lost response stays."""
    batch, before = observation.status.unanswered, observation.status.condition(ConditionType.READY)
    ready_summary = messages.outcome_unknown(batch.decision if batch else desired.decision)
    if (
        before is not None
        and before.observed_generation == desired.generation
        and before.reason is Reason.CLOUD_UNAVAILABLE
    ):
        ready_summary = replace(ready_summary, reason=before.reason, message=before.message)
    return Report(
        ready_summary=ready_summary,
        requeue_after=requeue.settle_after(now - batch.since if batch else timedelta()),
    )


def _retry_at(observation: Observation, now: datetime, policy: Policy) -> datetime:
    runtime = observation.runtime
    if runtime.retry_at is not None and runtime.retry_at > now:
        return runtime.retry_at
    jitter = _jitter(observation)
    if _is_transient(observation) and runtime.tries < backoff.MAX_QUICK_RETRIES:
        return now + backoff.exponential(runtime.tries + 1, jitter=jitter)
    return now + backoff.spread(policy.slow_retry, jitter)


def _jitter(observation: Observation) -> float:
    """The same for all images of a job: they are retried together and share a batch again."""
    job = observation.status.job
    return (
        observation.jitter if job is None or observation.refused else crc32(job.id.encode()) / 2**32
    )


def _is_transient(observation: Observation) -> bool:
    """Whether failed images may succeed soon without a change."""
    if observation.refused:
        transient = (isinstance(error, RetryableError) for error in observation.refused.values())
        # A batch is refused for each of its images: only in a cloud without jobs does a retry cost
        # one request for each.
        return any(transient) if observation.set_without_job else all(transient)
    return observation.retryable or _row_may_pass(observation)


def _row_may_pass(observation: Observation) -> bool:
    """Whether the job succeeded and reports single images as failed, which has no error code."""
    job, runtime = observation.job, observation.runtime
    if job is None or job.state is not JobState.SUCCESS or not runtime.failed_rows:
        return False
    return runtime.tries < MAX_ROW_RETRIES


def _waited(status: Status, now: datetime) -> timedelta:
    """How long the resource has been waiting for a share."""
    before = status.condition(ConditionType.RECONCILING)
    if before is None or before.reason not in (Reason.WAITING_FOR_SHARE, Reason.NOTHING_SELECTED):
        return timedelta()
    return now - before.last_transition_time
