"""Observe, plan, act: one reconcile of one object.

Knows the cloud and Kubernetes only as the protocols in `cloud_access.py`, `plan_executor.py`
and `status_writer.py`.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from image_share_operator.api.errors import (
    InvalidSpecError,
    KubeForbiddenError,
    KubeInvalidError,
    OperatorError,
)
from image_share_operator.api.jobs import FailureClass
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    ConditionType,
    Decision,
    Desired,
    Key,
    Membership,
    RemovalPolicy,
    Status,
)
from image_share_operator.controller import finalizer, pass_result
from image_share_operator.controller.cloud_access import Cloud, CloudAccess, CredentialSource
from image_share_operator.controller.finalizer import FinalizerAction, StuckDeletions
from image_share_operator.controller.object_claims import ObjectClaims
from image_share_operator.controller.object_store import CachedObject, ObjectStore
from image_share_operator.controller.pass_result import PassResult
from image_share_operator.controller.plan_executor import PlanExecutor
from image_share_operator.controller.schedule import NOW, Schedule
from image_share_operator.controller.status_writer import ResourceWriter, StatusWriter
from image_share_operator.flowcontrol.limiter import Limiters, Limits
from image_share_operator.planning import events, image_rows, planner, requeue
from image_share_operator.planning.model import Observation
from image_share_operator.planning.requeue import Policy
from image_share_operator.telemetry import context

log = logging.getLogger(__name__)

UNKNOWN_JOB_REPEATS = 2
"""IMG.0023 means "query failed" as well as "no such job": it is believed when it is repeated."""


SYNC_POLL = timedelta(milliseconds=200)
"""Between two checks whether the first list is complete."""
THREADS = 2
"""Threads that select from long lists. Python runs one at a time; namespaces take turns."""
CLAIM_POLL = timedelta(seconds=1)
"""Between two checks whether an older claim is decided; it takes about a second."""


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """Reconciles objects, one at a time for each key.

    Attributes:
        emit: takes an Event; must not wait.
        is_synced: whether the store has all objects that existed at the start.
    """

    store: ObjectStore
    cloud: Cloud
    credentials: CredentialSource
    kube: ResourceWriter
    emit: Callable[[events.Event], None]
    classify_failure: Callable[[str | None], FailureClass]
    now: Callable[[], datetime]
    policy: Policy
    allow_insecure_endpoints: bool = False
    is_synced: Callable[[], bool] = lambda: True
    rng: random.Random = field(default_factory=random.Random)
    thread_seats: Limiters = field(default_factory=lambda: Limiters(Limits(at_once=THREADS)))
    schedule: Schedule = field(init=False)
    status_writer: StatusWriter = field(init=False)
    stuck_deletions: StuckDeletions = field(init=False)

    def __post_init__(self) -> None:
        """Build the parts: schedule, status writer, stuck deletions."""
        self.status_writer = StatusWriter(
            store=self.store, kube=self.kube, emit=self.emit, now=self.now
        )
        self.schedule = Schedule(
            store=self.store,
            credentials=self.credentials,
            policy=self.policy,
            now=self.now,
            rng=self.rng,
        )
        self.stuck_deletions = StuckDeletions(
            namespaces=self.kube,
            credentials=self.credentials,
            now=self.now,
            ttl=self.policy.secret_poll,
        )

    async def reconcile(self, key: Key) -> timedelta | None:
        """Reconcile the object; return when to requeue it, ``None`` for not before a change.

        Raises:
            KubeError: the status could not be written; it is kept and written first next time.
        """
        entry = self.store.get(key)
        restore_in: timedelta | None = None
        refused: KubeInvalidError | None = None
        if entry is not None and entry.unsaved:
            refused = await self.status_writer.save_first(entry)
            entry = self.store.get(key)
        elif entry is not None and entry.overwritten:
            restore_in = await self.status_writer.restore(entry)
            entry = self.store.get(key)
        if entry is None:
            return None
        context.works_on(entry.generation)
        requeue_after = await self._reconcile(entry)
        requeue_after = min(
            (wait for wait in (requeue_after, restore_in) if wait is not None), default=None
        )
        current = self.store.get(key)
        if refused is not None and current is not None and current.unsaved:
            raise refused  # there was no new status
        if current is not None and current.inputs != entry.inputs:
            # A write may be the first to show an edit, whose event is ignored then.
            return NOW
        return requeue_after

    async def _reconcile(self, entry: CachedObject) -> timedelta | None:
        desired = self._allowed_spec(entry)
        match finalizer.action(entry, desired):
            case FinalizerAction.DELETED:
                return None
            case FinalizerAction.ADD:
                return await self._change_finalizer(
                    entry, self.kube.add_finalizer(entry.key, entry.uid), entry.known
                )
            case FinalizerAction.REMOVE:
                return await self._remove_finalizer(entry)
            case FinalizerAction.NOTHING:
                pass
        if not finalizer.may_be_stuck(entry, desired):
            return await self._reconcile_spec(entry, desired)
        if await self.stuck_deletions.includes(entry, desired):
            return await self._remove_finalizer(entry)
        requeue_after = await self._reconcile_spec(entry, desired)
        return (
            self.stuck_deletions.ttl
            if requeue_after is None
            else min(requeue_after, self.stuck_deletions.ttl)
        )

    async def _reconcile_spec(
        self, entry: CachedObject, desired: Desired | InvalidSpecError
    ) -> timedelta | None:
        if isinstance(desired, InvalidSpecError):
            return await self.status_writer.finish(
                entry, None, pass_result.of_invalid_spec(entry, desired)
            )
        return await self._reconcile_when_due(entry, _now_desired(entry, desired))

    async def _reconcile_when_due(self, entry: CachedObject, desired: Desired) -> timedelta | None:
        due = await self.schedule.after(entry, desired)
        if due is None or due > NOW:
            return due
        current = self.store.get(entry.key)
        if current is None or current.inputs != entry.inputs:
            return NOW  # it changed while the Secret was read
        entry = current
        claims = ObjectClaims(self.store, entry, desired)
        wait = self._wait_for_claims(entry, desired, claims)
        if wait is not None:
            return wait
        self.store.check_begins(entry)
        done = await self._execute_plan(entry, desired, claims)
        claims.confirm_winners(self.now(), self.policy.conflict_check)
        if desired.being_deleted and done.finished:
            return await self._finish_deletion(entry, done)
        if desired.being_deleted and await self._is_stuck(entry, desired, done):
            return await self._remove_finalizer(entry, done.known)
        return await self.status_writer.finish(entry, done.desired or desired, done)

    def _wait_for_claims(
        self, entry: CachedObject, desired: Desired, claims: ObjectClaims
    ) -> timedelta | None:
        """How long to wait because other claims may not be known yet; ``None`` for not at all."""
        ready = entry.known.condition(ConditionType.READY)
        is_new = entry.known.observed_generation != entry.generation
        lost = ready is not None and ready.reason is Reason.CONFLICT
        removes = desired.removal_policy is RemovalPolicy.REJECT
        if (is_new or lost or removes) and not self.is_synced():
            return SYNC_POLL
        return CLAIM_POLL if claims.awaits_older(self.now()) else None

    async def _is_stuck(self, entry: CachedObject, desired: Desired, done: PassResult) -> bool:
        """Whether the credentials were just found missing and the namespace is being deleted."""
        return done.runtime.secret_version == "" and await self.stuck_deletions.includes(
            entry, desired
        )

    async def _finish_deletion(self, entry: CachedObject, done: PassResult) -> timedelta | None:
        """Remove the finalizer and leave an Event, because the status is deleted too."""
        requeue_after = await self._remove_finalizer(entry, done.known)
        if requeue_after is None:
            rejected = sum(row.membership is Membership.REJECTED for row in done.known.images)
            self.emit(events.deleted(entry.key, entry.uid, entry.generation, rejected))
        return requeue_after

    async def _remove_finalizer(
        self, entry: CachedObject, known: Status | None = None
    ) -> timedelta | None:
        return await self._change_finalizer(
            entry, self.kube.remove_finalizer(entry.key, entry.uid), known or entry.known
        )

    async def _change_finalizer(
        self, entry: CachedObject, change: Awaitable[Mapping[str, Any]], known: Status
    ) -> timedelta | None:
        """Change the finalizer; report a denial in the status.

        Args:
            known: job and images as they are now, for the status.
        """
        try:
            body = await self.status_writer.written(entry, change)
        except (KubeForbiddenError, KubeInvalidError) as exc:
            denied = pass_result.of_denied_finalizer(
                entry, known, exc, now=self.now(), jitter=self.rng.random()
            )
            return await self.status_writer.finish(entry, _summarized(entry), denied)
        if body is None:
            return None
        self.store.saved(entry, body)
        return None if entry.deleting else NOW

    def _allowed_spec(self, entry: CachedObject) -> Desired | InvalidSpecError:
        """The spec, if this operator may serve it."""
        desired = entry.desired
        if isinstance(desired, InvalidSpecError) or self.allow_insecure_endpoints:
            return desired
        for name, url in desired.endpoints.urls.items():
            if not url.startswith("https://"):
                return InvalidSpecError(
                    f"{name} must be an https:// URL: credentials are not sent over "
                    "plain HTTP (--allow-insecure-endpoints of the operator is for tests only)"
                )
        return desired

    async def _execute_plan(
        self, entry: CachedObject, desired: Desired, claims: ObjectClaims
    ) -> PassResult:
        """Execute the plan until it ends with a report or an error."""
        runtime, job = pass_result.runtime_for(entry), entry.known.job
        if runtime.settled_at is None and job is not None and job.state.settled:
            runtime = replace(runtime, settled_at=self.now())
        removed = image_rows.removed_from_list(desired, entry.known)
        if removed:  # only of a list: a selector keeps its claims until its next list is read
            claims.select(desired.images, removed)
        fresh = runtime.fresh
        observation = Observation(
            status=entry.known,
            runtime=replace(runtime, fresh=None),
            removed=removed,
            batch_limit=self.policy.batch_images,
            jitter=self.rng.random(),
        )
        if fresh is not None and self.now() < fresh.until:
            observation = observation.continuing(fresh)
        access = CloudAccess(
            self.credentials, self.cloud, self.store.login_history, entry.key, desired
        )

        def note_members(members: Mapping[str, Membership]) -> None:
            if access.proves_project(members):
                claims.accepted(self.now())

        executor = PlanExecutor(
            desired=desired,
            observation=observation,
            session=access.session,
            claims=claims,
            on_members=note_members,
            classify_failure=self.classify_failure,
            now=self.now,
            policy=self.policy,
            believe_unknown=runtime.errors >= UNKNOWN_JOB_REPEATS,
            max_age=desired.interval * requeue.FRESH_ENOUGH if _is_drift_check(entry) else NOW,
            thread_seat=self.thread_seats.of("", entry.key.namespace),
        )
        executor.read_failure_class()
        builder = pass_result.PassResultBuilder(entry, desired, self.policy)
        try:
            report = await executor.run()
        except OperatorError as exc:
            return builder.of_error(executor, exc, now=self.now(), version=access.version)
        done = builder.of_execution(executor, report, now=self.now(), version=access.version)
        return builder.with_token_end(done, access.given_token_end, now=self.now())


def _now_desired(entry: CachedObject, desired: Desired) -> Desired:
    """The desired state with the images that are selected so far."""
    resolved = image_rows.resolved(desired, entry.known, deleting=entry.deleting)
    return planner.removal(resolved, resolved.images) if entry.deleting else resolved


def _summarized(entry: CachedObject) -> Desired | None:
    """The desired state that `status.summary` counts; ``None`` for a spec that can't be read."""
    if isinstance(entry.desired, InvalidSpecError):
        return None
    decision = Decision.REJECT if entry.deleting else entry.desired.decision
    resolved = image_rows.resolved(entry.desired, entry.known, deleting=entry.deleting)
    return replace(resolved, decision=decision)


def _is_drift_check(entry: CachedObject) -> bool:
    """Whether the object is Ready and no reconcile was requested."""
    return (
        entry.is_ready
        and entry.reconcile_at in (None, entry.known.handled_reconcile_at)
        and not entry.deleting
        and not entry.check_requested
    )
