"""What the conditions report and when to requeue: one function per situation.

The rows of the table in `docs/spec.md`, "Conditions". No I/O, no clock, no log. A message stays the
same while the situation does: each change of a message is a status write.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from zlib import crc32

from image_share_operator.api.errors import (
    CloudError,
    LoginBlockedError,
    OperatorError,
    OutcomeUnknownError,
    RetryableError,
    TerminalError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    FINALIZER,
    SKIP_REJECT,
    ConditionType,
    CredentialsRef,
    Decision,
    Desired,
    ImageStatus,
    Job,
    JobState,
    Key,
    Membership,
    SecretRef,
    SelectionVerdict,
    Status,
)
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning import requeue, row_messages
from image_share_operator.planning.model import (
    ImageState,
    Observation,
    Progress,
    ReadySummary,
    Report,
    Verdict,
)
from image_share_operator.planning.requeue import Policy
from image_share_operator.planning.selection import Selection

RETRIES = "The operator retries automatically."
DRY_RUN_PREFIX = "dry run: "
"""How the message of an image begins that would be sent: it is no result of a batch."""
NO_VAULT = "IMG.0184"
"""The code of IMS for a full-server image that is accepted without a vault."""
MAX_ROW_RETRIES = 3
"""Quick retries of an image that a successful job reports as failed. There is no code that tells
whether a retry may help, and a person is not needed for what one retry repairs."""
_FAILING = {ImageState.FAILED, ImageState.UNREADABLE}
_SENT = {ImageState.TO_SUBMIT, ImageState.DRIFTED, ImageState.CANDIDATE}


def suspended(desired: Desired, observation: Observation) -> Report:
    """Keep the last known value; True only where all images are known to be as wanted."""
    before = observation.status.condition(ConditionType.READY)
    if _all_known(desired, observation):
        ready, reason = "True", _reason_of(desired.decision)
    elif before is not None and before.status == "False":
        ready, reason = "False", before.reason
    else:
        ready, reason = "Unknown", Reason.PROGRESSING
    message = "Suspended: the operator sends nothing to the cloud while spec.suspend is true."
    ready_summary = ReadySummary(
        ready=ready, reason=reason, message=message, progress=Progress.SETTLED
    )
    return Report(ready_summary=ready_summary, requeue_after=None)


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


def submitted(desired: Desired, images: int) -> ReadySummary:
    """Report that a job is running."""
    return ReadySummary(
        ready="False",
        reason=Reason.JOB_RUNNING,
        message=f"Waiting for the job that {desired.decision.lower()}s {_count(images)}.",
        progress=Progress.RECONCILING,
    )


def job_running(desired: Desired, job: Job, observation: Observation, now: datetime) -> Report:
    """Report that the job has not settled, and when to poll it again."""
    carried = sum(row.job_id == job.id for row in observation.status.images)
    return Report(
        ready_summary=submitted(replace(desired, decision=job.decision), carried),
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
    message = (
        f"Job {job.id} is still {job.odd_status or job.state} after spec.timeout of "
        f"{_duration(desired.timeout)}. Increase spec.timeout, change the spec to send a new job, "
        "or ask the support of the cloud about this job."
    )
    ready_summary = ReadySummary(
        ready="False", reason=Reason.JOB_TIMEOUT, message=message, progress=Progress.STALLED
    )
    images = tuple(_of_named_job(one, job, observation) for one in images)
    return replace(report, ready_summary=ready_summary, images=images)


def _of_named_job(row: ImageStatus, job: Job, observation: Observation) -> ImageStatus:
    """The row; it need not remember a job past its timeout that the status names."""
    if row.job_id != job.id or not row_messages.is_overdue(row):
        return row
    error = observation.unreadable.get(row.id)
    return replace(row, message=None if error is None else unread(error))


def overdue(job: Job, desired: Desired) -> str:
    """The message of an image whose job ran past its timeout while newer jobs carry others."""
    return f"job {job.id} {row_messages.OVERDUE_WORDS} of {_duration(desired.timeout)}"


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
    images = rows(desired, verdicts, observation.status)
    found = {v.state for v in verdicts}
    if ImageState.SETTLING in found:
        age = now - (observation.runtime.settled_at or now)
        job = observation.job
        ordered = desired if job is None else replace(desired, decision=job.decision)
        return Report(
            ready_summary=submitted(ordered, sum(v.state is ImageState.SETTLING for v in verdicts)),
            requeue_after=requeue.settle_after(age),
            images=images,
        )
    if ImageState.IN_DOUBT in found:
        return _in_doubt(desired, observation, images, now)
    if ImageState.CONFLICT in found:
        return _conflict(desired, observation, verdicts, now, policy)
    share_again = _share_again(desired, observation, now, policy)
    if _FAILING & found:
        retry_at = _retry_at(observation, now, policy)
        waiting = ImageState.NOT_SHARED in found
        waits = [retry_at - now, *([share_again] if waiting else []), *_read_again(observation)]
        waits += [policy.overdue_poll] if ImageState.OVERDUE in found else []
        return Report(
            ready_summary=_failed(observation, verdicts, retry_at, waiting=waiting),
            requeue_after=min(waits),
            images=images,
            retry_at=retry_at,
        )
    if ImageState.OVERDUE in found:
        return Report(
            ready_summary=_overdue_images(verdicts),
            requeue_after=policy.overdue_poll,
            images=images,
        )
    if ImageState.NOT_SHARED in found:
        return Report(
            ready_summary=_not_shared(desired, verdicts), requeue_after=share_again, images=images
        )
    selection = observation.selection
    if selection is not None and selection.over_limit and not desired.being_deleted:
        return Report(
            ready_summary=_limit_exceeded(desired, selection),
            requeue_after=_drift_check(desired, observation, now),
            images=images,
        )
    if selection is not None and not verdicts:
        return Report(
            ready_summary=_nothing_selected(desired, selection),
            requeue_after=share_again,
            images=images,
        )
    return Report(
        ready_summary=_done(desired, selection),
        requeue_after=_drift_check(desired, observation, now),
        images=images,
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


def is_dry_run(row_message: str | None) -> bool:
    """Whether the message of an image says what would be sent."""
    return row_message is not None and row_message.startswith(DRY_RUN_PREFIX)


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
    images = list(rows(desired, verdicts, observation.status))
    for place, (verdict, word) in enumerate(zip(verdicts, words, strict=True)):
        if verdict.state in _SENT:
            counts[word] += 1
            images[place] = replace(images[place], message=f"{DRY_RUN_PREFIX}would be {word}")
    would = " and ".join(f"{_count(number)} would be {word}" for word, number in counts.items())
    ready_summary = ReadySummary(
        ready="False",
        reason=Reason.DRY_RUN,
        message=f"Dry run: {would} in project {desired.project_id}. Nothing is sent while "
        "spec.dryRun is true.",
        progress=Progress.SETTLED,
    )
    return Report(
        ready_summary=ready_summary,
        requeue_after=_drift_check(desired, observation, now),
        images=tuple(images),
    )


def _limit_exceeded(desired: Desired, selection: Selection) -> ReadySummary:
    limit = 0 if desired.selector is None else desired.selector.policy.limit
    wanted = len(desired.images) + selection.count(SelectionVerdict.OVER_LIMIT)
    return ReadySummary(
        ready="False",
        reason=Reason.LIMIT_EXCEEDED,
        message=(
            f"The selector selects {wanted} images, and the limit is {limit}. Nothing new is sent. "
            "Narrow spec.imageSelectorTerms, set imageSelectionPolicy.newest, or raise "
            "imageSelectionPolicy.limit (500 at most)."
        ),
        progress=Progress.STALLED,
    )


def _nothing_selected(desired: Desired, selection: Selection) -> ReadySummary:
    return ReadySummary(
        ready="False",
        reason=Reason.NOTHING_SELECTED,
        message=(
            f"No image is selected for project {desired.project_id}: {selection.why_nothing}. "
            "The operator checks again automatically."
        ),
        progress=Progress.RECONCILING,
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
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    ready_summary = ReadySummary(
        ready="False",
        reason=Reason.CONFLICT,
        message=(
            f"Image {lost[0].image}{more}: {lost[0].message}. Nothing is submitted for it. Remove "
            "the image from one of the two resources, or set the same decision in both."
        ),
        progress=Progress.STALLED,
    )
    due = policy.conflict_check
    if rest is not None and rest.requeue_after is not None:
        due = min(due, rest.requeue_after)
    return Report(
        ready_summary=ready_summary,
        requeue_after=due,
        images=rows(desired, verdicts, observation.status),
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
    failed = any(v.state in _FAILING for v in verdicts)
    reason = _reason_of(desired.decision)
    return Report(
        ready_summary=ReadySummary(
            ready="False",
            reason=Reason.PROGRESSING,
            message=f"{done} of {_count(len(verdicts))} {reason.lower()}; the operator continues.",
            progress=Progress.RECONCILING,
        ),
        requeue_after=timedelta(),
        images=rows(desired, verdicts, observation.status),
        retry_at=_retry_at(observation, now, policy) if failed else None,
        continues=True,
    )


def outcome_unknown(decision: Decision) -> ReadySummary:
    """Report that a batch was sent and its outcome is unknown."""
    return ReadySummary(
        ready="False",
        reason=Reason.JOB_RUNNING,
        message=(
            f"A batch that {decision.lower()}s images was sent, and its outcome is unknown. The "
            "operator checks the memberships for up to a minute before it sends anything else."
        ),
        progress=Progress.RECONCILING,
    )


def _in_doubt(
    desired: Desired, observation: Observation, images: tuple[ImageStatus, ...], now: datetime
) -> Report:
    """Check again; a message that named the cause of the lost response stays."""
    batch, before = observation.status.unanswered, observation.status.condition(ConditionType.READY)
    ready_summary = outcome_unknown(batch.decision if batch else desired.decision)
    if (
        before is not None
        and before.observed_generation == desired.generation
        and before.reason is Reason.CLOUD_UNAVAILABLE
    ):
        ready_summary = replace(ready_summary, reason=before.reason, message=before.message)
    age = now - batch.since if batch else timedelta()
    return Report(
        ready_summary=ready_summary, requeue_after=requeue.settle_after(age), images=images
    )


def reconcile_failed(error: OperatorError, credentials: CredentialsRef) -> ReadySummary:
    """Report the error that ended a reconcile."""
    if isinstance(error, TerminalError):
        of_secret = error.reason in (Reason.CREDENTIALS_INVALID, Reason.ACCOUNT_LOCKED)
        message = f"{credentials}: {error}" if of_secret else str(error)
        if isinstance(error, LoginBlockedError):
            until = f"The operator does not use these credentials before {error.until:%H:%M} UTC"
            others = "; it uses other credentials in the Secret at once"
            message = _sentence(
                message, f"{until}{others if isinstance(credentials, SecretRef) else ''}."
            )
        return ReadySummary(
            ready="False", reason=error.reason, message=message, progress=Progress.STALLED
        )
    reason = error.reason if isinstance(error, RetryableError) else Reason.CLOUD_UNAVAILABLE
    return ReadySummary(
        ready="False",
        reason=reason,
        message=_sentence(f"{error}", RETRIES),
        progress=Progress.RECONCILING,
    )


def token_expires(credentials: CredentialsRef, at: datetime) -> str:
    """The warning that the token of a Secret ends soon. To the minute: it must stay the same."""
    when = f"{at:%Y-%m-%dT%H:%MZ}"
    return f"The token of {credentials} expires at {when}; put a new one into the Secret."


def of_one_image(
    error: OutcomeUnknownError, images: tuple[str, ...], desired: Desired
) -> OutcomeUnknownError:
    """The same error; it names the image when the batch had only one of several."""
    if not error.answered or len(images) > 1 or len(desired.images) == 1:
        return error
    return OutcomeUnknownError(
        f"Image {images[0]}: {error}. If this does not end, remove the image from spec.images, or "
        "report the response to the support of the cloud",
        retry_after=error.retry_after,
        cause=f"Image {images[0]}: {error.cause}",
        answered=True,
        persistent=error.persistent,
    )


def while_deleting(ready_summary: ReadySummary, key: Key) -> ReadySummary:
    """The same for a resource that is being deleted and rejects its shares first."""
    message = f"Rejecting the shares before the resource is deleted: {ready_summary.message}"
    if ready_summary.progress is not Progress.RECONCILING:
        command = f'kubectl annotate isa -n {key.namespace} {key.name} {SKIP_REJECT}="true"'
        message = _sentence(message, f"To delete it without rejecting: {command}")
    return replace(ready_summary, ready="False", reason=Reason.REJECTING, message=message)


def finalizer_denied(error: OperatorError, *, deleting: bool) -> ReadySummary:
    """Report that the API server does not let the operator change its finalizer."""
    cause = (
        f"The deletion cannot finish, because the finalizer {FINALIZER} cannot be removed"
        if deleting
        else f"The operator sends nothing, because it cannot change the finalizer {FINALIZER}"
    )
    return ReadySummary(
        ready="False",
        reason=Reason.REJECTING if deleting else Reason.INVALID_REQUEST,
        message=_sentence(f"{cause}: {error}", RETRIES),
        progress=Progress.STALLED,
    )


def invalid_spec(error: OperatorError) -> ReadySummary:
    """Report a spec that can't be served."""
    return ReadySummary(
        ready="False", reason=Reason.INVALID_REQUEST, message=str(error), progress=Progress.STALLED
    )


def with_remedy(cause: str, desired: Desired) -> str:
    """The cause of a failure, with what to change in the spec where its code tells."""
    if NO_VAULT in cause and desired.vault_id is None and "spec.vaultID" not in cause:
        return f"{cause.rstrip('.')}: a full-server image needs a vault; set spec.vaultID"
    return cause


def unread(error: CloudError) -> str:
    """The message of an image whose membership could not be read."""
    return f"the membership can't be read: {error}"


def rows(
    desired: Desired, verdicts: tuple[Verdict, ...], status: Status
) -> tuple[ImageStatus, ...]:
    """The rows of `status.images`, in the order of the verdicts; each keeps its job.

    An image that was as wanted and can't be read any more loses it: its job has taken effect, and
    what changed the image since did not come from that job.
    """
    jobs = {row.id: row.job_id for row in status.images}
    done = {row.id for row in status.images if row.membership is desired.decision.wanted}
    for verdict in verdicts:
        if verdict.membership is Membership.UNKNOWN and verdict.image in done:
            jobs[verdict.image] = None
    return tuple(
        ImageStatus(
            id=v.image, membership=v.membership, job_id=jobs.get(v.image), message=_row_message(v)
        )
        for v in verdicts
    )


def _row_message(verdict: Verdict) -> str | None:
    """The message of a row; none for a candidate, which may not be the failing image."""
    return None if verdict.state is ImageState.CANDIDATE else verdict.message


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
        return any(transient) if observation.answered else all(transient)
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


def _failed(
    observation: Observation, verdicts: tuple[Verdict, ...], retry_at: datetime, *, waiting: bool
) -> ReadySummary:
    """Report the images that failed.

    Args:
        retry_at: the same until that time, so that the message is, too.
    """
    failed = [v for v in verdicts if v.state in _FAILING]
    transient = _is_transient(observation) or observation.read_again
    retries = transient or waiting
    if len(failed) < len(verdicts):
        reason = Reason.PARTIALLY_FAILED
    else:
        reason = Reason.CLOUD_UNAVAILABLE if transient else Reason.INVALID_REQUEST
    remedy = (
        RETRIES
        if retries
        else "Fix the cause, then change the spec or the Secret. Without a change the operator "
        f"retries at {retry_at:%Y-%m-%dT%H:%M:%SZ}."
    )
    first = failed[0]
    return ReadySummary(
        ready="False",
        reason=reason,
        message=_sentence(
            f"{len(failed)} of {_count(len(verdicts))} failed, first {first.image}: "
            f"{first.message}",
            f"{remedy} See status.images for each image.",
        ),
        progress=Progress.RECONCILING if retries else Progress.STALLED,
        reconciling_reason=Reason.WAITING_FOR_SHARE if waiting else None,
    )


def _overdue_images(verdicts: tuple[Verdict, ...]) -> ReadySummary:
    """Report the images of stuck jobs that are no longer the latest one."""
    stuck = [v for v in verdicts if v.state is ImageState.OVERDUE]
    more = f" and {len(stuck) - 1} more" if len(stuck) > 1 else ""
    return ReadySummary(
        ready="False",
        reason=Reason.JOB_TIMEOUT,
        message=(
            f"Image {stuck[0].image}{more}: {stuck[0].message}. Change the spec to send a new job, "
            "or ask the support of the cloud about this job."
        ),
        progress=Progress.STALLED,
    )


def _not_shared(desired: Desired, verdicts: tuple[Verdict, ...]) -> ReadySummary:
    absent = [v.image for v in verdicts if v.state is ImageState.NOT_SHARED]
    others = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    verb = "are" if others else "is"
    return ReadySummary(
        ready="False",
        reason=Reason.NOT_SHARED,
        message=(
            f"Image {absent[0]}{others} {verb} not shared with project {desired.project_id}. Check "
            "the image ID and the region, or ask the image owner to share it. "
            "The operator checks again automatically."
        ),
        progress=Progress.RECONCILING,
        reconciling_reason=Reason.WAITING_FOR_SHARE,
    )


def _done(desired: Desired, selection: Selection | None = None) -> ReadySummary:
    reason = _reason_of(desired.decision)
    images = _count(len(desired.images))
    message = f"{images} {reason.lower()} in project {desired.project_id}."
    if selection is not None and selection.wake_at is not None:
        message += f" The next one is old enough at {selection.wake_at:%Y-%m-%dT%H:%M:%SZ}."
    return ReadySummary(ready="True", reason=reason, message=message, progress=Progress.SETTLED)


def _reason_of(decision: Decision) -> Reason:
    return Reason.ACCEPTED if decision is Decision.ACCEPT else Reason.REJECTED


def _sentence(cause: str, remedy: str) -> str:
    """The cause, which may end without a full stop, and what follows from it."""
    return f"{cause.rstrip('.')}. {remedy}"


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _duration(span: timedelta) -> str:
    """A duration as users write it: 10m, 1h30m, 45s."""
    hours, rest = divmod(int(span.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
