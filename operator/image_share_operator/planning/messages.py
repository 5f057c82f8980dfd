"""The messages of the conditions: one function per situation.

The rows of the table in `docs/spec.md`, "Conditions". A message stays the same while the situation
does: each change of a message is a status write.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

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
    CredentialsRef,
    Decision,
    Desired,
    Job,
    Key,
    SecretRef,
    SelectionVerdict,
)
from image_share_operator.planning import row_messages
from image_share_operator.planning.model import (
    FAILING,
    ImageState,
    Progress,
    ReadySummary,
    Verdict,
)
from image_share_operator.planning.selection import Selection

RETRIES = "The operator retries automatically."
DRY_RUN_PREFIX = "dry run: "
"""How the message of an image begins that would be sent: it is no result of a batch."""
NO_VAULT = "IMG.0184"
"""The code of IMS for a full-server image that is accepted without a vault."""


def suspended(ready: str, reason: Reason) -> ReadySummary:
    """Report that the operator does nothing; what was known stays."""
    message = "Suspended: the operator sends nothing to the cloud while spec.suspend is true."
    return ReadySummary(ready=ready, reason=reason, message=message, progress=Progress.SETTLED)


def submitted(desired: Desired, images: int) -> ReadySummary:
    """Report that a job is running."""
    return ReadySummary(
        ready="False",
        reason=Reason.JOB_RUNNING,
        message=f"Waiting for the job that {desired.decision.lower()}s {_count(images)}.",
        progress=Progress.RECONCILING,
    )


def job_timeout(job: Job, desired: Desired) -> ReadySummary:
    """Report a job past its timeout."""
    return ReadySummary(
        ready="False",
        reason=Reason.JOB_TIMEOUT,
        message=(
            f"Job {job.id} is still {job.odd_status or job.state} after spec.timeout of "
            f"{_duration(desired.timeout)}. Increase spec.timeout, change the spec to send a new "
            "job, or ask the support of the cloud about this job."
        ),
        progress=Progress.STALLED,
    )


def overdue(job: Job, desired: Desired) -> str:
    """The message of an image whose job ran past its timeout while newer jobs carry others."""
    return f"job {job.id} {row_messages.OVERDUE_WORDS} of {_duration(desired.timeout)}"


def is_dry_run(row_message: str | None) -> bool:
    """Whether the message of an image says what would be sent."""
    return row_message is not None and row_message.startswith(DRY_RUN_PREFIX)


def dry_run(would_be: Counter[str], desired: Desired) -> ReadySummary:
    """Report what would be sent.

    Args:
        would_be: number of images by the membership that they would have.
    """
    would = " and ".join(f"{_count(number)} would be {word}" for word, number in would_be.items())
    return ReadySummary(
        ready="False",
        reason=Reason.DRY_RUN,
        message=f"Dry run: {would} in project {desired.project_id}. Nothing is sent while "
        "spec.dryRun is true.",
        progress=Progress.SETTLED,
    )


def limit_exceeded(desired: Desired, selection: Selection) -> ReadySummary:
    """Report a selector that selects more images than its limit."""
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


def nothing_selected(desired: Desired, selection: Selection) -> ReadySummary:
    """Report a selector that selects no image, and why."""
    return ReadySummary(
        ready="False",
        reason=Reason.NOTHING_SELECTED,
        message=(
            f"No image is selected for project {desired.project_id}: {selection.why_nothing}. "
            "The operator checks again automatically."
        ),
        progress=Progress.RECONCILING,
    )


def conflict(lost: list[Verdict]) -> ReadySummary:
    """Report the images that another resource is in charge of."""
    return ReadySummary(
        ready="False",
        reason=Reason.CONFLICT,
        message=(
            f"{_first(lost)}: {lost[0].message}. Nothing is submitted for it. Remove "
            "the image from one of the two resources, or set the same decision in both."
        ),
        progress=Progress.STALLED,
    )


def progressing(done: int, images: int, decision: Decision) -> ReadySummary:
    """Report how many images are as wanted while the operator continues at once."""
    reason = reason_of(decision)
    return ReadySummary(
        ready="False",
        reason=Reason.PROGRESSING,
        message=f"{done} of {_count(images)} {reason.lower()}; the operator continues.",
        progress=Progress.RECONCILING,
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


def reconcile_failed(error: OperatorError, credentials: CredentialsRef) -> ReadySummary:
    """Report the error that ended a reconcile."""
    if isinstance(error, TerminalError):
        of_secret = error.reason in (Reason.CREDENTIALS_INVALID, Reason.ACCOUNT_LOCKED)
        message = f"{credentials}: {error}" if of_secret else str(error)
        if isinstance(error, LoginBlockedError):
            until = f"The operator does not use these credentials before {error.until:%H:%M} UTC"
            others = "; it uses others at once when they are in the Secret"
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


def failed(
    verdicts: tuple[Verdict, ...], retry_at: datetime, *, transient: bool, waiting: bool
) -> ReadySummary:
    """Report the images that failed.

    Args:
        retry_at: the same until that time, so that the message is, too.
        transient: whether they may succeed soon without a change.
        waiting: whether other images are not shared.
    """
    failing = [v for v in verdicts if v.state in FAILING]
    retries = transient or waiting
    if len(failing) < len(verdicts):
        reason = Reason.PARTIALLY_FAILED
    else:
        reason = Reason.CLOUD_UNAVAILABLE if transient else Reason.INVALID_REQUEST
    remedy = (
        RETRIES
        if retries
        else "Fix the cause, then change the spec or the Secret. Without a change the operator "
        f"retries at {retry_at:%Y-%m-%dT%H:%M:%SZ}."
    )
    first = failing[0]
    return ReadySummary(
        ready="False",
        reason=reason,
        message=_sentence(
            f"{len(failing)} of {_count(len(verdicts))} failed, first {first.image}: "
            f"{first.message}",
            f"{remedy} See status.images for each image.",
        ),
        progress=Progress.RECONCILING if retries else Progress.STALLED,
        reconciling_reason=Reason.WAITING_FOR_SHARE if waiting else None,
    )


def overdue_images(verdicts: tuple[Verdict, ...]) -> ReadySummary:
    """Report the images of stuck jobs that are no longer the latest one."""
    stuck = [v for v in verdicts if v.state is ImageState.OVERDUE]
    return ReadySummary(
        ready="False",
        reason=Reason.JOB_TIMEOUT,
        message=(
            f"{_first(stuck)}: {stuck[0].message}. Change the spec to send a new job, "
            "or ask the support of the cloud about this job."
        ),
        progress=Progress.STALLED,
    )


def not_shared(desired: Desired, verdicts: tuple[Verdict, ...]) -> ReadySummary:
    """Report the images that are not shared with the project."""
    absent = [v for v in verdicts if v.state is ImageState.NOT_SHARED]
    verb = "are" if len(absent) > 1 else "is"
    return ReadySummary(
        ready="False",
        reason=Reason.NOT_SHARED,
        message=(
            f"{_first(absent)} {verb} not shared with project {desired.project_id}. Check "
            "the image ID and the region, or ask the image owner to share it. "
            "The operator checks again automatically."
        ),
        progress=Progress.RECONCILING,
        reconciling_reason=Reason.WAITING_FOR_SHARE,
    )


def done(desired: Desired, selection: Selection | None = None) -> ReadySummary:
    """Report that all images are as wanted."""
    reason = reason_of(desired.decision)
    images = _count(len(desired.images))
    message = f"{images} {reason.lower()} in project {desired.project_id}."
    if selection is not None and selection.wake_at is not None:
        message += f" The next one is old enough at {selection.wake_at:%Y-%m-%dT%H:%M:%SZ}."
    return ReadySummary(ready="True", reason=reason, message=message, progress=Progress.SETTLED)


def reason_of(decision: Decision) -> Reason:
    """Return the reason of a resource whose images all follow the decision."""
    return Reason.ACCEPTED if decision is Decision.ACCEPT else Reason.REJECTED


def _sentence(cause: str, remedy: str) -> str:
    """The cause, which may end without a full stop, and what follows from it."""
    return f"{cause.rstrip('.')}. {remedy}"


def _first(verdicts: Sequence[Verdict]) -> str:
    """The first image, and how many more there are."""
    more = f" and {len(verdicts) - 1} more" if len(verdicts) > 1 else ""
    return f"Image {verdicts[0].image}{more}"


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _duration(span: timedelta) -> str:
    """A duration as users write it: 10m, 1h30m, 45s."""
    hours, rest = divmod(int(span.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
