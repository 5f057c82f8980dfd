"""What a pass leaves behind: what to say, what to remember, when to come back. No I/O, no clock."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

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
from image_share_operator.api.types import ConditionType, Desired, ImageStatus, Membership, Status
from image_share_operator.controller.credential_cache import UnusableSecretError
from image_share_operator.controller.object_store import CachedObject, RuntimeState
from image_share_operator.controller.plan_executor import PlanExecutor
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning import events as kube_events
from image_share_operator.planning import messages
from image_share_operator.planning.model import Observation, Progress, ReadySummary, Report
from image_share_operator.planning.requeue import Policy

QUIET_FAILURES = 2
"""Failed passes in a row from which the resource says so: one hiccup is nobody's business…"""
QUIET_WAIT = timedelta(seconds=5)
"""…unless the next try is further off than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """What a pass leaves behind.

    Attributes:
        standing: what the conditions shall say; ``None`` leaves them as they are.
        known: job and images as they are now; its conditions are the old ones.
        finished: whether a resource that is being deleted may go.
        drifted: images that were sent because someone had changed them.
        trouble: why the pass broke off, also when no status tells; ``None`` when it did not.
    """

    standing: ReadySummary | None
    known: Status
    memory: RuntimeState
    again: timedelta | None
    events: tuple[kube_events.Event, ...] = ()
    finished: bool = False
    drifted: int = 0
    trouble: Reason | None = None


def memory_for(entry: CachedObject) -> RuntimeState:
    """What is remembered of this very spec; a changed spec starts anew, its job does not."""
    if entry.memory.generation == entry.generation:
        return entry.memory
    return RuntimeState(generation=entry.generation, settled_at=entry.memory.settled_at)


def began(entry: CachedObject, now: datetime) -> datetime:
    """Since when the resource is not Ready as its spec asks; ``now`` when it was until now."""
    since = memory_for(entry).began_at
    if since is not None:
        return since
    return now if entry.is_ready else entry.seen_at


def of_invalid_spec(entry: CachedObject, error: InvalidSpecError) -> PassResult:
    """The spec can't be served: only another one helps."""
    return PassResult(
        standing=messages.invalid_spec(error),
        known=entry.known,
        memory=RuntimeState(generation=entry.generation),
        again=None,
    )


@dataclass(frozen=True, slots=True)
class PassResultBuilder:
    """Turns the end of a walk into what is left behind; holds what is the same either way."""

    entry: CachedObject
    desired: Desired
    policy: Policy

    def of_walk(
        self, walk: PlanExecutor, said: Report, *, now: datetime, version: str | None
    ) -> PassResult:
        """The walk ended with something to say."""
        before = memory_for(self.entry)
        status = walk.facts.status
        job = None if walk.facts.job_unknown else status.job
        images = self._rows(walk.facts) if said.images is None else said.images
        # A job that is overdue has nothing to do with the Secret, and is looked at often anyway.
        overdue = said.standing.reason is Reason.JOB_TIMEOUT
        stalled = said.standing.outlook is Progress.STALLED and not overdue and version is not None
        tried = before.retry_at is not None and before.retry_at <= now
        memory = RuntimeState(
            generation=self.entry.generation,
            look_at=None if said.again is None else now + said.again,
            secret_version=version if stalled else None,
            retry_at=said.retry_at,
            settled_at=walk.facts.settled_at,
            failed_rows=walk.facts.failed_rows,
            company=walk.facts.company,
            began_at=None if said.standing.ready == "True" else began(self.entry, now),
            errors=0 if status.unanswered is None else before.errors,
            tries=0 if said.standing.ready == "True" else before.tries + tried,
        )
        return PassResult(
            standing=said.standing,
            known=replace(status, job=job, images=images),
            memory=memory,
            again=self._sooner(said.again) if stalled else said.again,
            events=self._events(walk, images),
            finished=said.finished,
            drifted=len(walk.drifted),
        )

    def of_error(
        self, facts: Observation, error: OperatorError, *, now: datetime, version: str | None
    ) -> PassResult:
        """The walk broke off: come back soon, later, or when something changed."""
        known = replace(facts.status, images=self._rows(facts))
        before = memory_for(self.entry)
        memory = replace(
            before,
            errors=before.errors + 1,
            settled_at=facts.settled_at,
            failed_rows=facts.failed_rows,
            company=facts.company,
            began_at=began(self.entry, now),
        )
        failed = messages.failed_pass(error)
        if isinstance(error, RetryableError | JobUnknownError | KubeError):
            delay = _retry_delay(error, memory.errors, facts.jitter)
            hiccup = memory.errors < QUIET_FAILURES and delay < QUIET_WAIT
            sent = isinstance(error, OutcomeUnknownError)
            return PassResult(
                standing=self._first_words(sent=sent) if hiccup else self._same_words(failed),
                known=facts.status if hiccup and not sent else known,
                memory=replace(memory, look_at=now + delay, secret_version=None),
                again=delay,
                trouble=failed.reason,
            )
        delay = backoff.spread(self.policy.slow_retry, facts.jitter)
        if isinstance(error, UnusableSecretError):
            version = error.version
        return PassResult(
            standing=failed,
            known=known,
            memory=replace(memory, look_at=now + delay, secret_version=version),
            again=self._sooner(delay),
            trouble=failed.reason,
        )

    def _first_words(self, *, sent: bool) -> ReadySummary | None:
        """What to say of a hiccup: nothing, unless a batch was sent: it must not be forgotten."""
        return messages.outcome_unknown(self.desired.decision) if sent else None

    def _same_words(self, standing: ReadySummary) -> ReadySummary:
        """Keep the words of the same trouble.

        Each request fails in its own words, and new words are a status write.
        """
        said = self.entry.known.condition(ConditionType.READY)
        if (
            said is None
            or said.reason is not standing.reason
            or said.observed_generation != self.entry.generation
        ):
            return standing
        return replace(standing, message=said.message)

    def _sooner(self, again: timedelta | None) -> timedelta:
        poll = self.policy.secret_poll
        return poll if again is None else min(again, poll)

    def _events(
        self, walk: PlanExecutor, images: tuple[ImageStatus, ...]
    ) -> tuple[kube_events.Event, ...]:
        key, uid, job = self.entry.key, self.entry.uid, walk.sent
        if job is None:
            return ()
        carried = sum(row.job_id == job.id for row in images)
        sent = kube_events.submitted(key, uid, job, carried)
        if not walk.drifted:
            return (sent,)
        return kube_events.drifted(key, uid, self.entry.generation, walk.drifted), sent

    def _rows(self, facts: Observation) -> tuple[ImageStatus, ...]:
        """The known rows for the images of this spec, with what was seen meanwhile.

        Messages are of one spec: a changed spec tries again what failed before.
        """
        known = {row.id: row for row in facts.status.images}
        seen = facts.members or {}
        same = facts.status.observed_generation == self.entry.generation
        wanted = self.desired.decision.wanted

        def row(image: str) -> ImageStatus:
            old = known.get(image, ImageStatus(id=image, membership=Membership.UNKNOWN))
            membership = seen.get(image, old.membership)
            message = old.message if same else None
            if membership is not old.membership and old.membership is wanted:
                # Done once and changed by someone else: that is no failure of the job.
                return ImageStatus(id=image, membership=membership, message=message)
            return replace(old, membership=membership, message=message)

        return tuple(row(image) for image in self.desired.images)


def _retry_delay(error: OperatorError, errors: int, jitter: float) -> timedelta:
    patient = (RetryableError, KubeRetryableError)
    asked = error.retry_after if isinstance(error, patient) else None
    return backoff.exponential(errors, jitter=jitter, retry_after=asked)
