"""The rows of `status.images` after a reconcile. No I/O, no clock."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from image_share_operator.api.types import (
    Decision,
    Desired,
    ImageStatus,
    Job,
    JobState,
    Membership,
    RemovalPolicy,
    SelectionVerdict,
    Status,
)
from image_share_operator.planning.model import Observation
from image_share_operator.planning.selection import Selection

MAX_ROWS = 500
"""As many as `spec.images` may list; the API server refuses a status with more."""
SHOWN_REASONS = {
    SelectionVerdict.TOO_YOUNG,
    SelectionVerdict.INACTIVE,
    SelectionVerdict.OVER_LIMIT,
}
"""Verdicts whose reason is the message of the row. The others need no more words."""


def resolved(desired: Desired, status: Status, *, deleting: bool) -> Desired:
    """The desired state with the images that were selected last, before a new list is read.

    Args:
        deleting: whether all images that this resource accepted are decided, also superseded ones.
    """
    if desired.selector is None:
        return desired
    images = tuple(
        row.id
        for row in status.images
        if row.selection is SelectionVerdict.SELECTED or (deleting and row.accepted_by_us)
    )
    return replace(desired, images=images)


def removed_from_list(desired: Desired, status: Status) -> tuple[str, ...]:
    """The images that the spec no longer lists, and that this resource accepted or may accept."""
    if not may_remove(desired) or desired.selector is not None:
        return ()
    listed = frozenset(desired.images)
    return tuple(
        row.id
        for row in status.images
        if row.id not in listed
        and (
            row.selection is SelectionVerdict.REMOVED
            or row.accepted_by_us
            or _may_be_accepted(row, status)
        )
    )


def _may_be_accepted(row: ImageStatus, status: Status) -> bool:
    """Whether the latest batch carried the image and may still accept it."""
    job, batch = status.job, status.unanswered
    if batch is not None and row.id in batch.images:
        return batch.decision is Decision.ACCEPT
    if job is None or row.job_id != job.id or row.message is not None:
        return False
    return job.decision is Decision.ACCEPT and job.state is not JobState.FAIL


def may_remove(desired: Desired) -> bool:
    """Whether images that are no longer selected may be rejected."""
    return (
        desired.removal_policy is RemovalPolicy.REJECT
        and desired.decision is Decision.ACCEPT
        and not desired.being_deleted
    )


def status_images(
    desired: Desired, observation: Observation, reported: Iterable[ImageStatus] = ()
) -> tuple[ImageStatus, ...]:
    """All rows: those of the report, and what else is known.

    Args:
        desired: with the images that are selected.
        reported: rows that replace what was observed.
    """
    rows = _all_rows(desired, observation, reported)
    before = {row.id: row for row in observation.status.images}
    job = observation.status.job
    return tuple(_with_job(row, before.get(row.id), job) for row in rows)


def _with_job(row: ImageStatus, before: ImageStatus | None, job: Job | None) -> ImageStatus:
    """The row; without its job when another client accepted an image that was rejected.

    Such an image was not accepted by this resource, so `removalPolicy: Reject` does not reject it.
    """
    if (
        before is None
        or (before.membership, row.membership) != (Membership.REJECTED, Membership.ACCEPTED)
        or row.job_id != before.job_id
        or (job is not None and job.id == row.job_id and job.decision is Decision.ACCEPT)
    ):
        return row
    return replace(row, job_id=None)


def _all_rows(
    desired: Desired, observation: Observation, reported: Iterable[ImageStatus]
) -> tuple[ImageStatus, ...]:
    rows = {row.id: row for row in _observed(desired, observation)}
    reported_rows = {row.id: row for row in reported}
    rows |= reported_rows
    if observation.selection is not None:
        return _of_selection(observation.selection, observation, rows)
    if desired.selector is not None:
        return tuple(rows.get(row.id, row) for row in observation.status.images)
    listed = tuple(rows[image] for image in desired.images)
    removed = (rows[image] for image in observation.removed)
    all_rows = listed + tuple(
        replace(row, selection=SelectionVerdict.REMOVED)
        for row in removed
        if row.membership in (Membership.ACCEPTED, Membership.UNKNOWN)
        or (row.membership is Membership.PENDING and row.id in reported_rows)
        or _may_be_accepted(row, observation.status)
    )
    return all_rows[:MAX_ROWS]


def _observed(desired: Desired, observation: Observation) -> Iterator[ImageStatus]:
    """Yield the known rows of the images that are decided, with the memberships that were read.

    A message belongs to one generation: a changed spec sends again what failed before.
    """
    known = {row.id: row for row in observation.status.images}
    seen = observation.members or {}
    same = observation.status.observed_generation == desired.generation
    wanted = desired.decision.wanted
    for image in (*desired.images, *observation.removed):
        old = known.get(image, ImageStatus(id=image, membership=Membership.UNKNOWN))
        membership = seen.get(image, old.membership)
        message = old.message if same else None
        if membership is not old.membership and old.membership is wanted:
            # Done before and changed by another client: that is no failure of the job.
            yield replace(old, membership=membership, message=message, job_id=None)
        else:
            yield replace(old, membership=membership, message=message)


def _of_selection(
    selection: Selection, observation: Observation, rows: Mapping[str, ImageStatus]
) -> tuple[ImageStatus, ...]:
    known = {row.id: row for row in observation.status.images}
    found: list[ImageStatus] = []
    for match in selection.matches[:MAX_ROWS]:  # selected ones come first
        share = match.share
        row = rows.get(share.id)
        if row is None:
            job_id = known[share.id].job_id if share.id in known else None
            message = match.reason if match.verdict in SHOWN_REASONS else None
            row = ImageStatus(
                id=share.id, membership=share.membership, job_id=job_id, message=message
            )
        found.append(
            replace(
                row,
                name=share.name,
                owner=share.owner,
                created_at=share.created_at,
                selection=match.verdict,
            )
        )
    return tuple(found)
