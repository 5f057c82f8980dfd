"""Stores the result of a reconcile and writes the status if it changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from image_share_operator.api import status_json
from image_share_operator.api.errors import KubeConflictError, KubeInvalidError, ObjectGoneError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Condition, ConditionType, Desired, Key, Status
from image_share_operator.controller import pass_result
from image_share_operator.controller.conflicts import REFUSED
from image_share_operator.controller.object_store import CachedObject, ObjectStore
from image_share_operator.controller.pass_result import PassResult
from image_share_operator.planning import conditions, events, messages
from image_share_operator.telemetry import metrics

log = logging.getLogger(__name__)

PAUSE_S = 0.1
"""Between two attempts to write what must be written before the process ends."""
RESTORE_EVERY = timedelta(minutes=1)
"""Between two restores of the same status when another client keeps overwriting it."""
UNUSUAL = frozenset({Reason.CLOUD_UNAVAILABLE, Reason.THROTTLED, Reason.PARTIALLY_FAILED})
"""Reasons of Ready False that are retried and should be rare: logged as warnings."""


class ResourceWriter(Protocol):
    """The calls to Kubernetes that this module needs. All methods raise `KubeError`."""

    async def write_status(
        self, key: Key, version: int, status: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Write the whole status onto this version; return the object after the write."""
        ...

    async def read(self, key: Key) -> Mapping[str, Any]:
        """Read the object."""
        ...

    async def add_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        """Add our finalizer to the object; return the object after the write."""
        ...

    async def remove_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        """Remove our finalizer from the object; return the object after the write."""
        ...

    async def namespace_terminating(self, namespace: str) -> bool:
        """Whether the whole namespace is being deleted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusWriter:
    """The only writer of statuses."""

    store: ObjectStore
    kube: ResourceWriter
    emit: Callable[[events.Event], None]
    now: Callable[[], datetime]

    async def save_first(self, entry: CachedObject) -> KubeInvalidError | None:
        """Write the status that could not be written, before anything else: it may hold a job ID.

        Returns:
            Why it is refused as it is. The pass may go on: it may be taken as it will be then.

        Raises:
            KubeError: the API server did not take it, and may take the same later.
        """
        try:
            await self.save(entry, entry.known)
        except KubeInvalidError as exc:
            return exc
        return None

    async def restore(self, entry: CachedObject) -> timedelta | None:
        """Restore a status that another client overwrote; return how long to wait, if not now."""
        if not entry.overwritten or not entry.is_reported:
            return None  # the next status is written anyway
        if conditions.as_written(entry.known) == entry.written:
            return None
        wait = timedelta()
        if entry.restored_at is not None:
            wait = entry.restored_at + RESTORE_EVERY - self.now()
        if wait > timedelta():
            return wait
        log.warning("%s: another client changed the status; restored it", entry.key)
        self.store.restored(entry)
        await self.save(entry, entry.known)
        return None

    async def finish(
        self, entry: CachedObject, desired: Desired | None, done: PassResult
    ) -> timedelta | None:
        """Store the result of a reconcile, and write the status if it changed."""
        current = self.store.get(entry.key)
        if current is None or current.uid != entry.uid:
            return None
        now = self.now()
        if _refused_reason(done) in REFUSED:
            self.store.refused(current)
            current = self.store.get(entry.key) or current
        is_accepted = desired is not None and current.accepted_by == desired.endpoints
        new = replace(
            self._rendered(entry, desired, done, now),
            credentials_accepted_by=current.accepted_by,
            acting_as=desired.acting_as if desired is not None and is_accepted else None,
        )
        worth = conditions.is_worth_a_write(new, current.written, now)
        self._count(entry, new, done, now)
        self.store.remember(entry, known=new, runtime=done.runtime, unsaved=worth)
        for event in done.events:
            self.emit(event)  # reports what was done, also when the status can't be written
        if worth:
            await self.save(current, new)
        return done.requeue_after

    def _count(self, entry: CachedObject, new: Status, done: PassResult, now: datetime) -> None:
        metrics.DRIFTS.inc(done.drifted)
        if done.error_reason is not None:
            metrics.RETRIES.labels(done.error_reason).inc()
        ready = new.condition(ConditionType.READY)
        if ready is not None and ready.status == "True" and not entry.is_ready:
            began = pass_result.began(entry, now)
            metrics.TO_READY.observe((now - began).total_seconds())

    def _rendered(
        self, entry: CachedObject, desired: Desired | None, done: PassResult, now: datetime
    ) -> Status:
        """The status after the reconcile; conditions stay when the result has none."""
        new = done.known
        if done.ready_summary is not None:
            summary = done.ready_summary
            if desired is not None and desired.being_deleted:
                summary = messages.while_deleting(summary, entry.key)
            new = conditions.render(
                summary,
                old=entry.known,
                job=new.job,
                images=new.images,
                desired=desired,
                generation=entry.generation,
                now=now,
            )
        return replace(
            new,
            unanswered=done.known.unanswered,
            latest=done.known.latest,
            selected=done.known.selected,
            handled_reconcile_at=entry.reconcile_at or entry.known.handled_reconcile_at,
            secret_version=done.runtime.secret_version,
        )

    async def written(
        self, entry: CachedObject, write: Awaitable[Mapping[str, Any]]
    ) -> Mapping[str, Any] | None:
        """The object after a write; ``None`` when it is deleted, which is recorded.

        Raises:
            KubeConflictError: it has changed. What it is now is noted: try again.
        """
        try:
            return await write
        except KubeConflictError:
            if await self._still_there(entry):
                raise
        except ObjectGoneError:
            self.store.forget(entry.key, entry.uid)
        return None

    async def _still_there(self, entry: CachedObject) -> bool:
        """Read the object again; a new object may have its name."""
        try:
            body = await self.kube.read(entry.key)
        except ObjectGoneError:
            self.store.forget(entry.key, entry.uid)
            return False
        same = bool(body["metadata"]["uid"] == entry.uid)
        if same and self.store.get(entry.key) is None:
            return False  # the watch reported its deletion while it was read
        self.store.observe(body)
        return same

    async def save_all(self) -> None:
        """Write all statuses that could not be written: the next process knows nothing else."""
        while left := [entry for entry in self.store if entry.unsaved]:
            tried = (self.save(entry, entry.known) for entry in left)
            for failure in filter(None, await asyncio.gather(*tried, return_exceptions=True)):
                log.debug("status not written yet: %s", failure)
            await asyncio.sleep(PAUSE_S)

    async def save(self, entry: CachedObject, new: Status) -> None:
        result = "failed"
        try:
            write = self.kube.write_status(entry.key, entry.version, status_json.write(new))
            body = await self.written(entry, write)
            result = "gone" if body is None else "ok"
        finally:
            metrics.STATUS_WRITES.labels(result).inc()
        if body is None:
            return
        self.store.saved(entry, body, written=conditions.as_written(new))
        for event in events.of_change(entry.key, entry.uid, old=entry.written, new=new):
            self.emit(event)
        _log_change(entry, new)


def _refused_reason(done: PassResult) -> Reason | None:
    return done.error_reason or (done.ready_summary.reason if done.ready_summary else None)


def _log_change(entry: CachedObject, new: Status) -> None:
    ready = new.condition(ConditionType.READY)
    before = entry.written.condition(ConditionType.READY)
    if ready is None or ready == before:
        return
    log.log(
        _level(new, ready),
        "%s: Ready %s, %s: %s",
        entry.key,
        ready.status,
        ready.reason,
        ready.message,
        extra={
            "reason": str(ready.reason),
            "job_id": None if new.job is None else new.job.id,
        },
    )


def _level(status: Status, ready: Condition) -> int:
    """The log level: error for Stalled, where a person must act."""
    if status.condition(ConditionType.STALLED) is not None:
        return logging.ERROR
    return logging.WARNING if ready.reason in UNUSUAL else logging.INFO
