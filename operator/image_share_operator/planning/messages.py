"""What to say of a resource, and when to look again: one function per situation.

The rows of the table in `docs/spec.md`, "Conditions". No I/O, no clock, no log. Messages are the
same as long as the situation is: a message that changes is a status write.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from zlib import crc32

from image_share_operator.api.errors import OperatorError, RetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    PLURAL,
    SKIP_REJECT,
    ConditionType,
    Decision,
    Desired,
    ImageStatus,
    Job,
    Membership,
    Status,
)
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning import requeue
from image_share_operator.planning.model import (
    ImageState,
    Observation,
    Progress,
    ReadySummary,
    Report,
    Verdict,
)
from image_share_operator.planning.requeue import Policy


def suspended(desired: Desired, observation: Observation) -> Report:
    """Keep the last known value; True only if it is known of what this spec asks for."""
    said = observation.status.condition(ConditionType.READY)
    if _all_known(desired, observation):
        ready, reason = "True", _answered(desired.decision)
    elif said is not None and said.status == "False":
        ready, reason = "False", said.reason
    else:
        ready, reason = "Unknown", Reason.PROGRESSING
    message = "Suspended: nothing is sent to the cloud while spec.suspend is true."
    ready_summary = ReadySummary(
        ready=ready, reason=reason, message=message, progress=Progress.SETTLED
    )
    return Report(ready_summary=ready_summary, requeue_after=None)


def _all_known(desired: Desired, observation: Observation) -> bool:
    """Whether all images are known to be as wanted, and no job is about to change that."""
    known = {row.id: row for row in observation.status.images}
    job, batch = observation.job, observation.status.unanswered
    if batch is not None and batch.decision is not desired.decision:
        return False
    return all(
        (row := known.get(image)) is not None
        and row.membership is desired.decision.wanted
        and (job is None or row.job_id != job.id or job.decision is desired.decision)
        for image in desired.images
    )


def submitted(desired: Desired, images: int) -> ReadySummary:
    """Say that a job is under way."""
    what = "accept" if desired.decision is Decision.ACCEPT else "reject"
    return ReadySummary(
        ready="False",
        reason=Reason.JOB_RUNNING,
        message=f"Waiting for the job that was asked to {what} {_count(images)}.",
        progress=Progress.RECONCILING,
    )


def running(desired: Desired, job: Job, observation: Observation, now: datetime) -> Report:
    """Say that the job has not settled, and when to ask again."""
    carried = sum(row.job_id == job.id for row in observation.status.images)
    return Report(
        ready_summary=submitted(desired, carried),
        requeue_after=requeue.poll_after(now - job.submitted_at, observation.typical_duration),
    )


def overdue(desired: Desired, job: Job, observation: Observation, policy: Policy) -> Report:
    """Report a job past its timeout; the members may tell better news than the job."""
    images = tuple(
        _row(image, (observation.members or {})[image], observation.status, message=None)
        for image in desired.images
    )
    if all(_as_wanted(row.membership, desired) for row in images):
        return Report(
            ready_summary=_done(desired),
            requeue_after=policy.overdue_poll,
            images=images,
            finished=desired.leaving,
        )
    message = (
        f"Job {job.id} is still {job.odd_status or job.state} after spec.timeout of "
        f"{_words(desired.timeout)}: raise the timeout, change the spec to send a new job, or "
        "ask the cloud's support about this one."
    )
    ready_summary = ReadySummary(
        ready="False", reason=Reason.JOB_TIMEOUT, message=message, progress=Progress.STALLED
    )
    return Report(ready_summary=ready_summary, requeue_after=policy.overdue_poll, images=images)


def _as_wanted(membership: Membership, desired: Desired) -> bool:
    """Whether this is what the spec asks for; a resource that goes leaves no share unanswered."""
    if desired.leaving and membership is Membership.NOT_SHARED:
        return True
    return membership is desired.decision.wanted


def judged(
    desired: Desired,
    observation: Observation,
    verdicts: tuple[Verdict, ...],
    now: datetime,
    policy: Policy,
) -> Report:
    """Fold the verdicts of all images into one report; there is nothing to send."""
    images = rows(verdicts, observation.status)
    found = {v.state for v in verdicts}
    if ImageState.SETTLING in found:
        age = now - (observation.settled_at or now)
        return Report(
            ready_summary=submitted(desired, sum(v.state is ImageState.SETTLING for v in verdicts)),
            requeue_after=requeue.settle_after(age),
            images=images,
        )
    if ImageState.IN_DOUBT in found:
        return _in_doubt(desired, observation, images, now)
    share_again = requeue.share_after(
        _waited(observation.status, now), first=policy.share_poll, most=desired.interval
    )
    if ImageState.FAILED in found:
        retry_at = _retry_at(observation, now, policy)
        waiting = ImageState.NOT_SHARED in found
        requeue_after = min(retry_at - now, share_again) if waiting else retry_at - now
        ready_summary = _failed(observation, verdicts, waiting=waiting)
        return Report(
            ready_summary=ready_summary,
            requeue_after=requeue_after,
            images=images,
            retry_at=retry_at,
        )
    if ImageState.NOT_SHARED in found:
        return Report(
            ready_summary=_not_shared(desired, verdicts), requeue_after=share_again, images=images
        )
    drift_look = (
        requeue.next_round(now, desired.interval, desired.project_id, observation.jitter)
        if desired.interval
        else None
    )
    return Report(
        ready_summary=_done(desired),
        requeue_after=drift_look,
        images=images,
        finished=desired.leaving,
    )


def outcome_unknown(decision: Decision) -> ReadySummary:
    """Say that a batch was sent, and that nobody knows whether it was taken."""
    return ReadySummary(
        ready="False",
        reason=Reason.JOB_RUNNING,
        message=(
            f"A batch was sent to {decision.lower()} images, and its answer was lost: looking "
            "whether it was done before anything else is sent, for a minute at most."
        ),
        progress=Progress.RECONCILING,
    )


def _in_doubt(
    desired: Desired, observation: Observation, images: tuple[ImageStatus, ...], now: datetime
) -> Report:
    """Look again; the words stay those in which the trouble was told."""
    batch, said = observation.status.unanswered, observation.status.condition(ConditionType.READY)
    ready_summary = outcome_unknown(batch.decision if batch else desired.decision)
    if (
        said is not None
        and said.observed_generation == desired.generation
        and said.reason is Reason.CLOUD_UNAVAILABLE
    ):
        ready_summary = replace(ready_summary, reason=said.reason, message=said.message)
    age = now - batch.since if batch else timedelta()
    return Report(
        ready_summary=ready_summary, requeue_after=requeue.settle_after(age), images=images
    )


def failed_pass(error: OperatorError) -> ReadySummary:
    """What to say when a pass ended in an error."""
    if isinstance(error, TerminalError):
        return ReadySummary(
            ready="False", reason=error.reason, message=str(error), progress=Progress.STALLED
        )
    reason = error.reason if isinstance(error, RetryableError) else Reason.CLOUD_UNAVAILABLE
    return ReadySummary(
        ready="False",
        reason=reason,
        message=f"{error}; tried again by itself.",
        progress=Progress.RECONCILING,
    )


def leaving(ready_summary: ReadySummary) -> ReadySummary:
    """The same, of a resource that is being deleted and rejects its shares first."""
    held = ""
    if ready_summary.progress is not Progress.RECONCILING:
        end = "" if ready_summary.message.endswith(".") else "."
        way = f'kubectl annotate {PLURAL} NAME {SKIP_REJECT}="true"'
        held = f"{end} To let it go all the same: {way}."
    return replace(
        ready_summary,
        ready="False",
        reason=Reason.REJECTING,
        message=f"Rejecting the shares before the resource goes: {ready_summary.message}{held}",
    )


def invalid_spec(error: OperatorError) -> ReadySummary:
    """What to say of a spec that can't be served."""
    return ReadySummary(
        ready="False", reason=Reason.INVALID_REQUEST, message=str(error), progress=Progress.STALLED
    )


def rows(verdicts: tuple[Verdict, ...], status: Status) -> tuple[ImageStatus, ...]:
    """The rows of `status.images` for these verdicts; each keeps the job that carried it."""
    jobs = {row.id: row.job_id for row in status.images}
    return tuple(
        ImageStatus(id=v.image, membership=v.membership, job_id=jobs.get(v.image), message=_told(v))
        for v in verdicts
    )


def _told(verdict: Verdict) -> str | None:
    """The message of a row: a suspect is not yet guilty."""
    return None if verdict.state is ImageState.CANDIDATE else verdict.message


def _row(image: str, membership: Membership, status: Status, *, message: str | None) -> ImageStatus:
    job = next((row.job_id for row in status.images if row.id == image), None)
    return ImageStatus(id=image, membership=membership, job_id=job, message=message)


def _retry_at(observation: Observation, now: datetime, policy: Policy) -> datetime:
    if observation.retry_at is not None and observation.retry_at > now:
        return observation.retry_at
    jitter = _jitter(observation)
    if _may_pass(observation) and observation.failures < backoff.MAX_QUICK_RETRIES:
        return now + backoff.exponential(observation.failures + 1, jitter=jitter)
    return now + backoff.spread(policy.slow_retry, jitter)


def _jitter(observation: Observation) -> float:
    """The same for all whom the job carried: they come back together, and share a batch again."""
    job = observation.status.job
    return (
        observation.jitter if job is None or observation.refused else crc32(job.id.encode()) / 2**32
    )


def _may_pass(observation: Observation) -> bool:
    """Whether the failure may pass by itself; a PUT that was just refused will be again."""
    return observation.retryable and not observation.refused


def _waited(status: Status, now: datetime) -> timedelta:
    """For how long the resource has been waiting for a share."""
    said = status.condition(ConditionType.RECONCILING)
    if said is None or said.reason is not Reason.WAITING_FOR_SHARE:
        return timedelta()
    return now - said.last_transition_time


def _failed(
    observation: Observation, verdicts: tuple[Verdict, ...], *, waiting: bool
) -> ReadySummary:
    bad = [v for v in verdicts if v.state is ImageState.FAILED]
    reconciling_reason = _may_pass(observation) or waiting
    if len(bad) < len(verdicts):
        reason = Reason.PARTIALLY_FAILED
    else:
        reason = Reason.CLOUD_UNAVAILABLE if _may_pass(observation) else Reason.INVALID_REQUEST
    remedy = (
        "tried again by itself"
        if reconciling_reason
        else "mend the cause, then change spec or Secret"
    )
    return ReadySummary(
        ready="False",
        reason=reason,
        message=(
            f"{len(bad)} of {_count(len(verdicts))} failed, first {bad[0].image}: "
            f"{bad[0].message}; {remedy} (all in status.images)."
        ),
        progress=Progress.RECONCILING if reconciling_reason else Progress.STALLED,
        reconciling_reason=Reason.WAITING_FOR_SHARE if waiting else None,
    )


def _not_shared(desired: Desired, verdicts: tuple[Verdict, ...]) -> ReadySummary:
    absent = [v.image for v in verdicts if v.state is ImageState.NOT_SHARED]
    others = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    verb = "are" if others else "is"
    return ReadySummary(
        ready="False",
        reason=Reason.NOT_SHARED,
        message=(
            f"Image {absent[0]}{others} {verb} not shared with project {desired.project_id}: ask "
            "the owner to share, or take it off spec.images; looked at again by itself."
        ),
        progress=Progress.RECONCILING,
        reconciling_reason=Reason.WAITING_FOR_SHARE,
    )


def _done(desired: Desired) -> ReadySummary:
    reason = _answered(desired.decision)
    images = _count(len(desired.images))
    return ReadySummary(
        ready="True",
        reason=reason,
        message=f"{images} {reason.lower()} in project {desired.project_id}.",
        progress=Progress.SETTLED,
    )


def _answered(decision: Decision) -> Reason:
    return Reason.ACCEPTED if decision is Decision.ACCEPT else Reason.REJECTED


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _words(span: timedelta) -> str:
    """A duration as users write it: 10m, 1h30m, 45s."""
    hours, rest = divmod(int(span.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
