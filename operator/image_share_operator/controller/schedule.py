"""When an object is due: at its time, or after a change of the Secret or the annotation."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from image_share_operator.api.types import ConditionType, Desired
from image_share_operator.controller.cloud_access import CredentialSource
from image_share_operator.controller.credential_cache import UnusableSecretError
from image_share_operator.controller.object_store import CachedObject, ObjectStore
from image_share_operator.planning import requeue
from image_share_operator.planning.model import RuntimeState
from image_share_operator.planning.requeue import Policy
from image_share_operator.planning.selection import wakes_at

NOW = timedelta()
"""The delay of a reconcile that is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Decides without the cloud; reads the Secret where the object waits for a change of it."""

    store: ObjectStore
    credentials: CredentialSource
    policy: Policy
    now: Callable[[], datetime]
    rng: random.Random

    async def after(self, entry: CachedObject, desired: Desired) -> timedelta | None:
        """How long to wait; zero for due now, ``None`` for not before a change."""
        runtime = entry.runtime
        if runtime.generation != entry.generation:
            restored = self._after_restart(entry, desired)
            if restored is None:
                return NOW
            runtime = restored
            self._remember(entry, runtime)
        if entry.check_requested:
            return NOW
        now = self.now()
        if entry.reconcile_at not in (None, entry.known.handled_reconcile_at):
            self._remember(entry, replace(runtime, retry_at=now))
            return NOW
        if runtime.next_check_at is not None and now >= runtime.next_check_at:
            return NOW
        wait = None if runtime.next_check_at is None else runtime.next_check_at - now
        if runtime.secret_version is None:
            return wait
        if await self._secret_version(entry, desired) != runtime.secret_version:
            # It may have to wait for the claims of others: it stays due until it is reconciled.
            due = replace(runtime, retry_at=now, next_check_at=now, secret_version=None)
            self._remember(entry, due)
            return NOW
        return min(filter(None, (wait, self.policy.secret_poll)))

    def _remember(self, entry: CachedObject, runtime: RuntimeState) -> None:
        self.store.remember(entry, known=entry.known, runtime=runtime, unsaved=False)

    def _after_restart(self, entry: CachedObject, desired: Desired) -> RuntimeState | None:
        """The state of an object that an earlier process left settled; ``None`` for due now.

        Checks are spread, so that a restart with ten thousand objects is no burst on the cloud.
        A Secret whose login was refused is not used before its time, not even to poll a job:
        restarts must not lock an account.
        """
        known = entry.known
        ready = known.condition(ConditionType.READY)
        if entry.runtime.generation != -1 or known.observed_generation != entry.generation:
            return None
        unsettled = known.job is not None and not known.job.state.settled
        if ready is None or (unsettled and not known.secret_version):
            return None
        if known.unanswered is not None:
            return None
        next_check_at = self._spread(desired, settled=ready.status == "True")
        wake_at = wakes_at(desired.selector, known.images)
        if wake_at is not None and (next_check_at is None or wake_at < next_check_at):
            next_check_at = wake_at
        if known.secret_version is not None:
            next_check_at = max(self.now(), ready.last_transition_time) + self.policy.slow_retry
        return RuntimeState(
            generation=entry.generation,
            next_check_at=next_check_at,
            secret_version=known.secret_version,
        )

    def _spread(self, desired: Desired, *, settled: bool) -> datetime | None:
        now, jitter = self.now(), self.rng.random()
        if not settled:
            return now + self.policy.secret_poll * jitter
        if not desired.interval:
            return None
        return now + requeue.next_drift_check(now, desired.interval, desired.project_id, jitter)

    async def _secret_version(self, entry: CachedObject, desired: Desired) -> str:
        try:
            return (await self.credentials.get(entry.key.namespace, desired.credentials)).version
        except UnusableSecretError as exc:
            return exc.version
