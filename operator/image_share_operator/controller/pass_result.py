"""The result of one reconcile: conditions, runtime state, requeue time. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from image_share_operator.api.credentials import GivenTokenEnd
from image_share_operator.api.errors import (
    InvalidSpecError,
    JobUnknownError,
    KubeError,
    KubeRetryableError,
    OperatorError,
    OutcomeUnknownError,
    RetryableError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    ConditionType,
    Desired,
    ImageDetails,
    ImageStatus,
    Status,
)
from image_share_operator.controller.credential_cache import UnusableSecretError
from image_share_operator.controller.object_store import CachedObject
from image_share_operator.controller.plan_executor import PlanExecutor
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning import events as kube_events
from image_share_operator.planning import image_rows, messages, status_size
from image_share_operator.planning.model import (
    Progress,
    ReadySummary,
    Report,
    RuntimeState,
)
from image_share_operator.planning.requeue import Policy
from image_share_operator.planning.selection import latest_images

NOT_OF_SECRET = {Reason.JOB_TIMEOUT, Reason.CONFLICT, Reason.LIMIT_EXCEEDED}
"""Reasons of Stalled that do not depend on the Secret; they are checked again anyway."""
QUIET_FAILURES = 2
"""Failed reconciles in a row from which the status reports the error: most errors occur once."""
MIN_TOKEN_WAIT = timedelta(seconds=1)
"""The shortest wait for the end of a token, so that the reconcile after it sees it as expired."""
QUIET_WAIT = timedelta(seconds=5)
"""The first error is reported too when the next retry is later than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """The result of one reconcile.

    Attributes:
        ready_summary: what the conditions report; ``None`` leaves them as they are.
        known: job and images as they are now; its conditions are the old ones.
        desired: the desired state with the images that are selected now; ``None`` when no plan was
            executed.
        finished: whether the finalizer may be removed from a resource that is being deleted.
        drifted: number of images that were sent because another client changed them.
        error_reason: why the reconcile failed, also when the status does not report it; ``None``
            when it did not fail.
    """

    ready_summary: ReadySummary | None
    known: Status
    runtime: RuntimeState
    requeue_after: timedelta | None
    desired: Desired | None = None
    events: tuple[kube_events.Event, ...] = ()
    finished: bool = False
    drifted: int = 0
    error_reason: Reason | None = None


def runtime_for(entry: CachedObject) -> RuntimeState:
    """The runtime state of this generation; a new generation keeps the time of the job only."""
    if entry.runtime.generation == entry.generation:
        return entry.runtime
    return RuntimeState(generation=entry.generation, settled_at=entry.runtime.settled_at)


def began(entry: CachedObject, now: datetime) -> datetime:
    """Since when the resource is not Ready; ``now`` when it was Ready until now."""
    since = runtime_for(entry).began_at
    if since is not None:
        return since
    return now if entry.is_ready else entry.seen_at


def of_invalid_spec(entry: CachedObject, error: InvalidSpecError) -> PassResult:
    """The result for a spec that can't be served: no requeue before a change."""
    return PassResult(
        ready_summary=messages.invalid_spec(error),
        known=entry.known,
        runtime=RuntimeState(generation=entry.generation),
        requeue_after=None,
    )


def of_denied_finalizer(
    entry: CachedObject, known: Status, error: OperatorError, *, now: datetime, jitter: float
) -> PassResult:
    """The result when the finalizer could not be changed: a requeue with backoff.

    Args:
        known: job and images as they are now.
    """
    before = runtime_for(entry)
    errors = before.errors + 1
    delay = _retry_delay(error, errors, jitter)
    denied = messages.finalizer_denied(error, deleting=entry.deleting)
    return PassResult(
        ready_summary=None if errors < QUIET_FAILURES else denied,
        known=known,
        runtime=replace(before, errors=errors, next_check_at=now + delay, secret_version=None),
        requeue_after=delay,
        error_reason=denied.reason,
    )


@dataclass(frozen=True, slots=True)
class PassResultBuilder:
    """Makes the result of a reconcile from a report or an error."""

    entry: CachedObject
    desired: Desired
    policy: Policy

    def of_execution(
        self, executor: PlanExecutor, report: Report, *, now: datetime, version: str | None
    ) -> PassResult:
        """The result of a plan that ended with a report."""
        before, status = executor.observation.runtime, executor.observation.status
        job = None if executor.observation.job_unknown else status.job
        images = image_rows.status_images(
            executor.desired, executor.observation, report.images or ()
        )
        images = _named(images, executor.details, status.images)
        stalled = (
            report.ready_summary.progress is Progress.STALLED
            and report.ready_summary.reason not in NOT_OF_SECRET
            and version is not None
        )
        tries = before.tries + before.retry_is_due(now)
        runtime = replace(
            before,
            next_check_at=None if report.requeue_after is None else now + report.requeue_after,
            secret_version=version if stalled else None,
            retry_at=report.retry_at,
            began_at=None if report.ready_summary.ready == "True" else began(self.entry, now),
            errors=_errors(before.errors, executor),
            fresh=before.fresh if report.continues else None,
            tries=0 if report.ready_summary.ready == "True" else tries,
        )
        return PassResult(
            ready_summary=report.ready_summary,
            known=_selected(executor, replace(status, job=job, images=images), now),
            runtime=runtime,
            requeue_after=self._sooner(report.requeue_after) if stalled else report.requeue_after,
            desired=executor.desired,
            events=self._events(executor, images),
            finished=report.finished,
            drifted=len(executor.drifted),
        )

    def with_token_end(
        self, done: PassResult, end: GivenTokenEnd | None, *, now: datetime
    ) -> PassResult:
        """The result with a warning if the token of the Secret ends soon.

        Until then, and until its end, the resource is reconciled at these times at the latest.
        """
        done = replace(done, runtime=replace(done.runtime, token_end=end))
        summary = done.ready_summary
        if end is None or summary is None:
            return done
        warning = messages.token_expires(self.desired.credentials, end.at)
        due = end.at if now >= end.warn_at else end.warn_at
        wait = max(due - now, MIN_TOKEN_WAIT)
        if done.requeue_after is None or wait < done.requeue_after:
            runtime = replace(done.runtime, next_check_at=now + wait)
            done = replace(done, requeue_after=wait, runtime=runtime)
        if now < end.warn_at:
            return done
        before = self.entry.known.condition(ConditionType.READY)
        is_new = before is None or warning not in before.message
        event = kube_events.token_expires(
            self.entry.key, self.entry.uid, self.entry.generation, warning
        )
        return replace(
            done,
            ready_summary=replace(summary, message=f"{summary.message} {warning}"),
            events=(*done.events, event) if is_new else done.events,
        )

    def of_error(
        self, executor: PlanExecutor, error: OperatorError, *, now: datetime, version: str | None
    ) -> PassResult:
        """The result of a plan that ended in an error: a requeue soon, later or after a change."""
        observation = executor.observation
        images = image_rows.status_images(executor.desired, observation)
        known = _selected(executor, replace(observation.status, images=images), now)
        runtime = replace(
            observation.runtime,
            errors=observation.runtime.errors + 1,
            began_at=began(self.entry, now),
        )
        failed = messages.reconcile_failed(error, self.desired.credentials)
        if isinstance(error, RetryableError | JobUnknownError | KubeError):
            delay = _retry_delay(error, runtime.errors, observation.jitter)
            quiet = runtime.errors < QUIET_FAILURES and delay < QUIET_WAIT
            sent = isinstance(error, OutcomeUnknownError)
            return PassResult(
                ready_summary=self._quiet_summary(sent=sent)
                if quiet
                else self._keep_message(failed, error),
                known=observation.status if quiet and not sent else known,
                runtime=replace(runtime, next_check_at=now + delay, secret_version=None),
                requeue_after=delay,
                desired=executor.desired,
                error_reason=failed.reason,
            )
        delay = backoff.spread(self.policy.slow_retry, observation.jitter)
        if isinstance(error, UnusableSecretError):
            version = error.version
        return PassResult(
            ready_summary=failed,
            known=known,
            runtime=replace(runtime, next_check_at=now + delay, secret_version=version),
            requeue_after=self._sooner(delay),
            desired=executor.desired,
            error_reason=failed.reason,
        )

    def _quiet_summary(self, *, sent: bool) -> ReadySummary | None:
        """What the first error reports: nothing, unless a batch with unknown outcome was sent."""
        return messages.outcome_unknown(self.desired.decision) if sent else None

    def _keep_message(self, ready_summary: ReadySummary, error: OperatorError) -> ReadySummary:
        """Keep the message of an error with the same cause, unless the new one names an image.

        The messages of repeated errors differ in details, and each new message is a status write.
        """
        if isinstance(error, OutcomeUnknownError) and error.persistent:
            return ready_summary
        cause = error.cause if isinstance(error, RetryableError) else str(error)
        condition = self.entry.known.condition(ConditionType.READY)
        if (
            condition is None
            or condition.reason is not ready_summary.reason
            or condition.observed_generation != self.entry.generation
            or not condition.message.startswith(cause.rstrip("."))
        ):
            return ready_summary
        return replace(ready_summary, message=condition.message)

    def _sooner(self, requeue_after: timedelta | None) -> timedelta:
        poll = self.policy.secret_poll
        return poll if requeue_after is None else min(requeue_after, poll)

    def _events(
        self, executor: PlanExecutor, images: tuple[ImageStatus, ...]
    ) -> tuple[kube_events.Event, ...]:
        key, uid, job = self.entry.key, self.entry.uid, executor.sent
        drifted: tuple[kube_events.Event, ...] = ()
        if executor.drifted:
            drifted = (kube_events.drifted(key, uid, self.entry.generation, executor.drifted),)
        if job is None:
            return drifted
        carried = sum(row.job_id == job.id for row in images)
        return *drifted, kube_events.submitted(key, uid, job, carried, self.desired.acting_as)


def _selected(executor: PlanExecutor, status: Status, now: datetime) -> Status:
    """The status with what the selector selects, within the size that a status may have."""
    desired, selection = executor.desired, executor.observation.selection
    if desired.selector is None:
        return replace(status, latest=(), selected=None)
    if selection is None:
        return status
    members = {row.id: row.membership for row in status.images}
    latest = latest_images(selection, members, status.latest, now.replace(microsecond=0))
    return status_size.fit(replace(status, latest=latest, selected=len(selection.selected)))


def _errors(before: int, executor: PlanExecutor) -> int:
    """Errors in a row, this report included: some images could not be read, or a batch is in doubt.

    A job was sent: a later read error is a new one.
    """
    sent = executor.sent is not None or executor.observation.set_without_job
    if not sent and executor.observation.read_again:
        return before + 1
    return 0 if executor.observation.status.unanswered is None else before


def _named(
    rows: tuple[ImageStatus, ...],
    details: Mapping[str, ImageDetails],
    before: tuple[ImageStatus, ...],
) -> tuple[ImageStatus, ...]:
    """The rows with names and owners: new ones, or else those that were known before.

    A row that has an owner comes from a list of shares, which is newer than the last status.
    """
    without = {row.id for row in rows if row.owner is None}
    found = {
        row.id: ImageDetails(name=row.name, owner=row.owner)
        for row in before
        if row.owner and row.id in without
    }
    found |= details
    if not found:
        return rows
    return tuple(
        replace(row, name=found[row.id].name, owner=found[row.id].owner) if row.id in found else row
        for row in rows
    )


def _retry_delay(error: OperatorError, errors: int, jitter: float) -> timedelta:
    patient = (RetryableError, KubeRetryableError)
    asked = error.retry_after if isinstance(error, patient) else None
    return backoff.exponential(errors, jitter=jitter, retry_after=asked)
