"""Conditions of a resource and their transition times. No I/O, no clock."""

from dataclasses import replace
from datetime import datetime, timedelta
from sys import intern

from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    Condition,
    ConditionType,
    Desired,
    ImageStatus,
    Job,
    Membership,
    Status,
)
from image_share_operator.planning.model import Progress, ReadySummary

PROGRESS_AFTER = timedelta(seconds=10)
"""Younger jobs are not worth a status write for INIT -> RUNNING: most settle earlier (documented
samples take 0.6-2.5 s)."""


def render(  # noqa: PLR0913 - the parts of one status
    ready_summary: ReadySummary,
    *,
    old: Status,
    job: Job | None,
    images: tuple[ImageStatus, ...],
    desired: Desired | None,
    generation: int,
    now: datetime,
) -> Status:
    """Build the status with its conditions.

    Args:
        desired: ``None`` when the spec can't be read; the summary is then left out.
    """
    wanted = tuple(_conditions(ready_summary, generation, now))
    return Status(
        observed_generation=generation,
        conditions=tuple(merge(old.condition(row.type), row) for row in wanted),
        job=job,
        images=images,
        summary=None if desired is None else _summary(desired, images),
        handled_reconcile_at=old.handled_reconcile_at,
    )


def merge(old: Condition | None, new: Condition) -> Condition:
    """Keep the old transition time unless ``status`` flips.

    Source: Kubernetes API conventions, "Typical status properties".
    """
    if old is not None and old.status == new.status:
        return replace(new, last_transition_time=old.last_transition_time)
    return new


def as_written(status: Status) -> Status:
    """The status as it is read back: ``odd_status`` is not in the JSON."""
    if status.job is None or status.job.odd_status is None:
        return status
    return replace(status, job=replace(status.job, odd_status=None))


def _without_evidence(status: Status) -> Status:
    """The status without what is worth no write of its own.

    The owner of an image may rename it at any time: that must not cost a write for each resource.
    """
    images = tuple(replace(row, name=None, owner=None) for row in status.images)
    return replace(status, credentials_accepted_by=None, acting_as=None, images=images)


def is_worth_a_write(new: Status, written: Status, now: datetime) -> bool:
    """Whether ``new`` is worth a status write: not for the first states of a young job."""
    new = as_written(new)
    if new == written:
        return False
    new, written = _without_evidence(new), _without_evidence(written)
    if new == written:
        return False
    if new.job is None or written.job is None or new.job.id != written.job.id:
        return True
    young = now < new.job.submitted_at + PROGRESS_AFTER
    return not (young and replace(new, job=written.job) == written)


def _conditions(ready_summary: ReadySummary, generation: int, now: datetime) -> list[Condition]:
    message = intern(ready_summary.message)

    def condition(kind: ConditionType, status: str, reason: Reason) -> Condition:
        return Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            observed_generation=generation,
            last_transition_time=now.replace(microsecond=0),
        )

    ready = condition(ConditionType.READY, ready_summary.ready, ready_summary.reason)
    match ready_summary.progress:
        case Progress.SETTLED:
            return [ready]
        case Progress.RECONCILING:
            reason = ready_summary.reconciling_reason or ready_summary.reason
            return [ready, condition(ConditionType.RECONCILING, "True", reason)]
        case Progress.STALLED:
            return [ready, condition(ConditionType.STALLED, "True", ready_summary.reason)]


def _summary(desired: Desired, images: tuple[ImageStatus, ...]) -> str:
    """Count the images as wanted; "-" when no image was ever read, because 0 would be a result."""
    wanted = frozenset(desired.images)
    if wanted and not any(
        row.id in wanted and row.membership is not Membership.UNKNOWN for row in images
    ):
        return intern(f"-/{len(desired.images)}")
    done = sum(row.id in wanted and row.membership is desired.decision.wanted for row in images)
    return intern(f"{done}/{len(desired.images)}")
