"""Which Kubernetes Events a change is worth. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    ConditionType,
    ImageStatus,
    Job,
    Key,
    LatestImage,
    SelectionVerdict,
    Status,
)


class EventType(StrEnum):
    """The two types of Kubernetes Events."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One Event about one object.

    Attributes:
        generation: the generation of the spec that the Event reports on.
    """

    key: Key
    uid: str
    generation: int
    type: EventType
    reason: str
    action: str
    note: str


_GOOD = frozenset({Reason.ACCEPTED, Reason.REJECTED})
_BAD = frozenset(
    {
        Reason.PARTIALLY_FAILED,
        Reason.CREDENTIALS_INVALID,
        Reason.SECRET_NOT_FOUND,
        Reason.ACCOUNT_LOCKED,
        Reason.PERMISSION_DENIED,
        Reason.INVALID_REQUEST,
        Reason.CLOUD_UNAVAILABLE,
        Reason.THROTTLED,
        Reason.JOB_TIMEOUT,
        Reason.NOT_SHARED,
        Reason.CONFLICT,
        Reason.NOTHING_SELECTED,
        Reason.LIMIT_EXCEEDED,
    }
)


def of_change(key: Key, uid: str, *, old: Status, new: Status) -> tuple[Event, ...]:
    """The Events for a change from one written status to the next."""
    return (*_of_selection(key, uid, old, new), *_of_conditions(key, uid, old, new))


def _of_selection(key: Key, uid: str, old: Status, new: Status) -> Iterator[Event]:
    """Yield an Event for each kind of change of what a selector selects."""
    if new.selected is None:
        return
    before, after = _selected(old), _selected(new)
    verdicts = {row.id: row.selection for row in new.images}
    gone = [row for row in before.values() if row.id not in after]
    superseded = [row for row in gone if verdicts.get(row.id) is SelectionVerdict.SUPERSEDED]
    same_spec = old.observed_generation == new.observed_generation
    withdrawn = [row for row in gone if same_spec and row.id not in verdicts]
    changed = [row for row in new.latest if row.id not in {one.id for one in old.latest}]
    for reason, rows, what in (
        ("ImageSelected", [row for row in after.values() if row.id not in before], "selected"),
        ("ImageSuperseded", superseded, "superseded by newer images"),
        ("ImageWithdrawn", withdrawn, "no longer shared, or renamed so that no term matches"),
        ("LatestChanged", changed, "the latest of its group"),
    ):
        if rows:
            yield Event(
                key=key,
                uid=uid,
                generation=new.observed_generation,
                type=EventType.NORMAL,
                reason=reason,
                action="Select",
                note=_note_of_rows(rows, what),
            )


def _selected(status: Status) -> Mapping[str, ImageStatus]:
    return {row.id: row for row in status.images if row.selection is SelectionVerdict.SELECTED}


def _note_of_rows(rows: Sequence[ImageStatus | LatestImage], what: str) -> str:
    first, *rest = rows
    more = f" and {len(rest)} more" if rest else ""
    name = "" if first.name is None else f" ({first.name})"
    return f"Image {first.id}{name}{more}: {what}."


def _of_conditions(key: Key, uid: str, old: Status, new: Status) -> tuple[Event, ...]:
    """The Event for a change of the Ready condition; zero or one."""
    ready = new.condition(ConditionType.READY)
    before = old.condition(ConditionType.READY)
    stalled_now = _deletion_is_stalled(new) and not _deletion_is_stalled(old)
    same = before is not None and ready is not None and before.reason is ready.reason
    if ready is None or (same and not stalled_now):
        return ()
    if ready.reason in _GOOD:
        kind, action = EventType.NORMAL, "Verify"
    elif ready.reason in _BAD or stalled_now:
        kind, action = EventType.WARNING, "Reconcile"
    else:
        return ()
    event = Event(
        key=key,
        uid=uid,
        generation=new.observed_generation,
        type=kind,
        reason=ready.reason,
        action=action,
        note=_without_job_ids(ready.message, new),
    )
    return (event,)


def _deletion_is_stalled(status: Status) -> bool:
    ready, stalled = status.condition(ConditionType.READY), status.condition(ConditionType.STALLED)
    is_rejecting = ready is not None and ready.reason is Reason.REJECTING
    return is_rejecting and stalled is not None and stalled.status == "True"


def _without_job_ids(message: str, status: Status) -> str:
    """The message without IDs of jobs: a series keeps its first note, and its jobs differ."""
    jobs = {row.job_id for row in status.images} | {status.job.id if status.job else None}
    for job_id in filter(None, jobs):
        message = message.replace(f"job {job_id}", "the job").replace(f"Job {job_id}", "The job")
    return message


def submitted(key: Key, uid: str, job: Job, images: int, acting_as: str | None) -> Event:
    """A batch was sent."""
    behalf = "" if acting_as is None else f", as {acting_as}"
    note = f"Sent {_count(images)}: {job.decision}{behalf}."
    return Event(
        key=key,
        uid=uid,
        generation=job.generation,
        type=EventType.NORMAL,
        reason="Submitted",
        action="Submit",
        note=note,
    )


def deleted(key: Key, uid: str, generation: int, rejected: int) -> Event:
    """The shares of a resource were rejected, and its finalizer is removed."""
    return Event(
        key=key,
        uid=uid,
        generation=generation,
        type=EventType.NORMAL,
        reason="Deleted",
        action="Delete",
        note=f"{_count(rejected)} rejected before the deletion.",
    )


def token_expires(key: Key, uid: str, generation: int, warning: str) -> Event:
    """The token of the Secret ends soon."""
    return Event(
        key=key,
        uid=uid,
        generation=generation,
        type=EventType.WARNING,
        reason="TokenExpiring",
        action="Reconcile",
        note=warning,
    )


def drifted(key: Key, uid: str, generation: int, images: tuple[str, ...]) -> Event:
    """Another client changed a membership that was as the spec wants it."""
    first, *rest = images
    more = f" and {len(rest)} more" if rest else ""
    note = f"Another client changed the membership of image {first}{more}; sent again."
    return Event(
        key=key,
        uid=uid,
        generation=generation,
        type=EventType.WARNING,
        reason="DriftDetected",
        action="Submit",
        note=note,
    )


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"
