"""The latest known version of each object, and what this process knows about it. No I/O."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from sys import intern
from typing import Any

from image_share_operator.api import status_json
from image_share_operator.api.errors import InvalidSpecError
from image_share_operator.api.types import (
    FINALIZER,
    RECONCILE_AT,
    SKIP_REJECT,
    Cloud,
    ConditionType,
    Desired,
    Key,
    Status,
)
from image_share_operator.controller.conflicts import (
    ANY_IMAGE,
    REFUSED,
    ClaimSet,
    ClaimState,
    Conflicts,
)
from image_share_operator.controller.login_history import LoginHistory
from image_share_operator.planning import conditions, image_rows
from image_share_operator.planning.conflicts import Claim
from image_share_operator.planning.model import RuntimeState

MAX_RECONCILE_AT_CHARS = 256
"""The part of the annotation that counts. It is copied to the status, and an annotation may have
256 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedObject:
    """One object as it was last seen, with its runtime state.

    Attributes:
        version: its resourceVersion, as a number; newer is greater.
        desired: its spec, or why it can't be served.
        known: the status as this process knows it; newer than ``written`` until it is saved.
        written: the status as the API server has it.
        unsaved: whether the last write of ``known`` failed.
        overwritten: whether another client wrote the status since.
        restored_at: when the status was last restored.
        created_at: its ``creationTimestamp``.
        seen_at: when this spec was first seen.
        first_seen_at: when this object was first seen.
        accepted_by: the endpoints that accepted its credentials for its project; ``None`` for none.
        accepted_at: when they did so last, in this process.
        is_decided: whether it is known if its credentials are accepted.
        selected: the images that its selector selects; before its first list, those that the spec
            listed before. ``None`` for none yet, and for a spec that lists its images.
        check_requested: whether memberships must be read again, also before the next check is due.
        deleting: whether it has a deletion timestamp.
        has_finalizer: whether it has our finalizer.
        skip_reject: whether the annotation allows the deletion without rejecting the shares.
        reconcile_at: the value of the annotation that requests a reconcile.
    """

    key: Key
    uid: str
    version: int
    generation: int
    desired: Desired | InvalidSpecError
    known: Status
    written: Status
    deleting: bool = False
    has_finalizer: bool = False
    skip_reject: bool = False
    reconcile_at: str | None = None
    unsaved: bool = False
    overwritten: bool = False
    restored_at: datetime | None = None
    created_at: str
    seen_at: datetime
    first_seen_at: datetime
    accepted_by: Cloud | None = None
    accepted_at: datetime | None = None
    is_decided: bool = False
    selected: tuple[str, ...] | None = None
    check_requested: bool = False
    runtime: RuntimeState = field(default_factory=RuntimeState)

    @property
    def is_ready(self) -> bool:
        """Whether Ready is True for the present spec."""
        ready = self.known.condition(ConditionType.READY)
        return (
            ready is not None
            and ready.status == "True"
            and ready.observed_generation == self.generation
        )

    @property
    def inputs(self) -> tuple[object, ...]:
        """What users can change and a reconcile depends on, with the uid."""
        return self.uid, self.generation, self.deleting, self.skip_reject, self.reconcile_at

    @property
    def is_reported(self) -> bool:
        """Whether ``known`` reports on what users request now."""
        return (
            self.known.observed_generation == self.generation
            and self.reconcile_at in (None, self.known.handled_reconcile_at)
            and not (self.deleting and self.skip_reject)
        )

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left but the next drift check."""
        return self.is_ready and self.is_reported and not self.deleting

    @property
    def claim_set(self) -> ClaimSet | None:
        """What the object claims; ``None`` for nothing."""
        desired = self.desired
        if isinstance(desired, InvalidSpecError) or self.deleting:
            return None
        if desired.suspend or desired.dry_run:
            return None  # it submits nothing
        if desired.selector is not None:
            desired = replace(desired, images=self.selected or ())
        if desired.images and self.accepted_by == desired.endpoints:
            return self.claim_set_of(desired, ClaimState.COUNTS)
        if self.is_decided or not (desired.images or self.may_select_any):
            return None
        return self.claim_set_of(desired, ClaimState.UNDECIDED)

    @property
    def may_select_any(self) -> bool:
        """Whether it has a selector, and no list was read yet."""
        if isinstance(self.desired, InvalidSpecError) or self.desired.selector is None:
            return False
        return self.selected is None

    def claim_set_of(self, desired: Desired, claim_state: ClaimState) -> ClaimSet:
        """What the object would claim with this spec."""
        return ClaimSet(
            project=(desired.endpoints, desired.project_id),
            decision=desired.decision,
            images=desired.images or ((ANY_IMAGE,) if self.may_select_any else ()),
            claim=Claim(self.created_at, self.key.namespace, self.key.name),
            claim_state=claim_state,
        )

    def claims_as(self, other: "CachedObject") -> bool:
        """Whether both surely have the same claim_set: a fast check before each store."""
        return (
            self.uid == other.uid
            and self.desired is other.desired
            and self.accepted_by == other.accepted_by
            and self.is_decided is other.is_decided
            and self.deleting is other.deleting
            and self.selected == other.selected
        )


class ObjectStore:
    """All objects that the watch reported and that are not deleted.

    Args:
        requeue: called with each object that must be reconciled because of another one.

    Attributes:
        login_history: refused logins, from the statuses as they were first seen.
        conflicts: which objects claim which images.
    """

    def __init__(
        self,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        requeue: Callable[[Key], None] = lambda _: None,
    ) -> None:
        self._now = now
        self._requeue = requeue
        self.conflicts = Conflicts(self.request_check)
        self.login_history = LoginHistory()
        self._entries: dict[Key, CachedObject] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[CachedObject]:
        return iter(tuple(self._entries.values()))

    def get(self, key: Key) -> CachedObject | None:
        """The object; ``None`` when there is none."""
        return self._entries.get(key)

    def observe(self, body: Mapping[str, Any]) -> Key | None:
        """Store an object as the API server returned it.

        Returns:
            The key when the object needs a reconcile; ``None`` for what is already known, such as
            an own status update, and for an older object of the same name.
        """
        metadata: Mapping[str, Any] = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        if self._is_old(key, int(metadata["resourceVersion"])):
            return None  # two of three events are own status updates: not worth parsing
        return self.admit(self.read(body))

    def read(self, body: Mapping[str, Any]) -> CachedObject:
        """Parse an object without storing it. May be called from any thread."""
        return _parse(body, self._now())

    def admit(self, seen: CachedObject) -> Key | None:
        """Store an object that was parsed; returns what `observe` does."""
        if self._is_old(seen.key, seen.version):
            return None
        old = self._entries.get(seen.key)
        if old is None or old.uid != seen.uid:
            self._put(seen)
            if isinstance(seen.desired, Desired):
                self.login_history.note(seen.key.namespace, seen.desired, seen.known)
            return seen.key
        # What this process knows of the status is never older than what the API server has.
        new = _taken_over(old, seen)
        self._put(new)
        return None if new.inputs == old.inputs and new.written == old.written else seen.key

    def forget(self, key: Key, uid: str) -> None:
        """Remove a deleted object, unless a new one has its name."""
        entry = self._entries.get(key)
        if entry is not None and entry.uid == uid:
            del self._entries[key]
            self.conflicts.replace(entry.claim_set, None)

    def remember(
        self, entry: CachedObject, *, known: Status, runtime: RuntimeState, unsaved: bool
    ) -> None:
        """Store the result of a reconcile of ``entry``."""
        self._update(entry, known=known, runtime=runtime, unsaved=unsaved)

    def has_version(self, key: Key, uid: str, version: int) -> bool:
        """Whether this version of the object is known. May be called from any thread."""
        known = self._entries.get(key)
        return known is not None and known.uid == uid and version <= known.version

    def saved(
        self, entry: CachedObject, body: Mapping[str, Any], written: Status | None = None
    ) -> None:
        """Store the response to a write; all watch events of older versions are ignored then.

        Args:
            written: the status that was written, which need not be parsed again: the write was
                conditional on the version. ``None`` when something else was written.
        """
        metadata: Mapping[str, Any] = body["metadata"]
        current = self._entries.get(entry.key)
        if current is None or current.uid != entry.uid:
            return
        if written is None or metadata["uid"] != entry.uid or self._edited(current, metadata):
            self._put(replace(current, unsaved=False))
            self.observe(body)
            return
        newer = int(metadata["resourceVersion"]) > current.version
        seen = {"written": written, "overwritten": False, **_of_metadata(metadata)}
        self._put(replace(current, unsaved=False, **(seen if newer else {})))

    def restored(self, entry: CachedObject) -> None:
        """Record that the status was restored just now."""
        self._update(entry, restored_at=self._now())

    def accepted(self, entry: CachedObject, endpoints: Cloud) -> None:
        """Record that the endpoints accepted the credentials just now."""
        self._update(entry, accepted_by=endpoints, accepted_at=self._now(), is_decided=True)

    def refused(self, entry: CachedObject) -> None:
        """Record that the credentials were refused just now."""
        self._update(entry, accepted_by=None, is_decided=True)

    def select(self, entry: CachedObject, images: tuple[str, ...]) -> None:
        """Record which images the selector of the object selects."""
        current = self._entries.get(entry.key)
        if current is not None and current.selected != images:
            self._update(entry, selected=images)

    def request_check(self, key: Key) -> None:
        """Let the object be reconciled now, with a new membership read."""
        entry = self._entries.get(key)
        if entry is not None:
            self._put(replace(entry, check_requested=True))
            self._requeue(key)

    def check_begins(self, entry: CachedObject) -> None:
        """Record that the requested check begins; a later request counts again."""
        if entry.check_requested:
            self._update(entry, check_requested=False)

    def _put(self, entry: CachedObject) -> None:
        """Store an object and its claims; the only place where an entry is added or replaced."""
        old = self._entries.get(entry.key)
        self._entries[entry.key] = entry
        if old is None or not entry.claims_as(old):
            self.conflicts.replace(None if old is None else old.claim_set, entry.claim_set)

    def _is_old(self, key: Key, version: int) -> bool:
        """Whether an equally new object of that name is known, also one with another uid."""
        known = self._entries.get(key)
        return known is not None and version <= known.version

    @staticmethod
    def _edited(current: CachedObject, metadata: Mapping[str, Any]) -> bool:
        return int(metadata["generation"]) != current.generation

    def _update(self, entry: CachedObject, **changes: Any) -> None:
        current = self._entries.get(entry.key)
        if current is not None and current.uid == entry.uid:
            self._put(replace(current, **changes))


def _taken_over(old: CachedObject, seen: CachedObject) -> CachedObject:
    """The new version of the object with the runtime state of the old one."""
    overwritten = old.overwritten
    if seen.written != old.written:
        # An own write whose response was lost is first seen here too.
        overwritten = seen.written != conditions.as_written(old.known)
    return replace(
        seen,
        desired=old.desired if seen.desired == old.desired else seen.desired,
        known=old.known,
        unsaved=old.unsaved,
        overwritten=overwritten,
        restored_at=old.restored_at,
        seen_at=old.seen_at if seen.generation == old.generation else seen.seen_at,
        first_seen_at=old.first_seen_at,
        accepted_by=old.accepted_by,
        accepted_at=old.accepted_at,
        is_decided=old.is_decided,
        selected=old.selected
        if seen.generation == old.generation
        else _selected_in(seen.desired, old.known),
        check_requested=old.check_requested,
        runtime=old.runtime,
    )


def _parse(body: Mapping[str, Any], now: datetime) -> CachedObject:
    metadata: Mapping[str, Any] = body["metadata"]
    generation = int(metadata["generation"])
    written = status_json.read(body.get("status"))
    try:
        desired: Desired | InvalidSpecError = Desired.parse(body.get("spec") or {}, generation)
    except InvalidSpecError as exc:
        desired = exc.with_traceback(None)
    ready = written.condition(ConditionType.READY)
    if ready is not None and ready.observed_generation != generation:
        ready = None
    accepted_by = written.credentials_accepted_by
    if accepted_by is None and ready is not None and isinstance(desired, Desired):
        # Versions without this field wrote Ready True after a membership read only.
        accepted_by = desired.endpoints if ready.status == "True" else None
    return CachedObject(
        key=Key(intern(metadata["namespace"]), metadata["name"]),
        uid=metadata["uid"],
        generation=generation,
        desired=desired,
        known=written,
        written=written,
        created_at=metadata.get("creationTimestamp", ""),
        seen_at=now,
        first_seen_at=now,
        accepted_by=accepted_by,
        selected=_selected_in(desired, written),
        is_decided=accepted_by is not None or (ready is not None and ready.reason in REFUSED),
        **_of_metadata(metadata),
    )


def _selected_in(desired: Desired | InvalidSpecError, status: Status) -> tuple[str, ...] | None:
    if isinstance(desired, InvalidSpecError) or desired.selector is None:
        return None
    if status.selected is None:
        # Until its first list, a spec that listed its images claims them as before.
        return tuple(row.id for row in status.images if row.selection is None) or None
    return image_rows.resolved(desired, status, deleting=False).images


def _of_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What may change without a change of the spec."""
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    requested = annotations.get(RECONCILE_AT)
    return {
        "version": int(metadata["resourceVersion"]),
        "deleting": metadata.get("deletionTimestamp") is not None,
        "has_finalizer": FINALIZER in metadata.get("finalizers", ()),
        "skip_reject": annotations.get(SKIP_REJECT) == "true",
        "reconcile_at": None if requested is None else requested[:MAX_RECONCILE_AT_CHARS],
    }
