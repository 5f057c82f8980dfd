"""The rows of `status.images` after a reconcile. No I/O, no clock."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from image_share_operator.api.types import (
    Decision,
    Desired,
    ImageStatus,
    JobState,
    Membership,
    RemovalPolicy,
    SelectionVerdict,
    Status,
)
from image_share_operator.planning import row_messages
from image_share_operator.planning.model import ImageState, Observation, Verdict
from image_share_operator.planning.selection import Selection

MAX_ROWS = 500
"""As many as `spec.images` may list; the API server refuses a status with more."""
MANAGED = (None, SelectionVerdict.SELECTED, SelectionVerdict.REMOVED)
"""The images of a list, and those that a selector selects: their message may be about their job."""
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
        if row.selection is SelectionVerdict.SELECTED or (deleting and _was_accepted(row))
    )
    return replace(desired, images=images)


def _was_accepted(row: ImageStatus) -> bool:
    """Whether this resource accepted the image, also if it could not be read since."""
    is_unread = row.membership is Membership.UNKNOWN and row.job_id is not None
    return row.accepted_by_us or is_unread


def from_verdicts(
    desired: Desired, verdicts: tuple[Verdict, ...], status: Status
) -> tuple[ImageStatus, ...]:
    """The rows of `status.images`, in the order of the verdicts; each keeps its job.

    An image that was as wanted and can't be read any more loses it: its job has taken effect, and
    what changed the image since did not come from that job.
    """
    jobs = {row.id: row.job_id for row in status.images}
    done = {row.id for row in status.images if row.membership is desired.decision.wanted}
    for verdict in verdicts:
        if verdict.membership is Membership.UNKNOWN and verdict.image in done:
            jobs[verdict.image] = None
    return tuple(
        ImageStatus(
            id=v.image, membership=v.membership, job_id=jobs.get(v.image), message=_row_message(v)
        )
        for v in verdicts
    )


def _row_message(verdict: Verdict) -> str | None:
    """The message of a row; none for a candidate, which may not be the failing image."""
    return None if verdict.state is ImageState.CANDIDATE else verdict.message


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
    released = {
        row.id: row.job_id for row in observation.status.images if row.id in observation.released
    }
    return tuple(
        replace(row, job_id=None) if row.id in released and row.job_id == released[row.id] else row
        for row in rows
    )


def released(observation: Observation) -> frozenset[str]:
    """The images whose rows lose the job, because it did not accept them and can't do so later.

    Another client accepted such an image, or may do so. This resource did not accept it, so
    `removalPolicy: Reject` does not reject it.

    Args:
        observation: with the memberships that were just read, before a newer job is sent.
    """
    selection, seen = observation.selection, dict[str, Membership]()
    if selection is not None:
        seen = {one.share.id: one.share.membership for one in selection.matches}
    seen |= observation.members or {}
    # The planner needs the job of an image that it may send again.
    sendable = seen if selection is None else frozenset(selection.selected)
    return frozenset(
        row.id
        for row in observation.status.images
        if row.id in seen
        and _is_released(row, seen[row.id], observation, is_sendable=row.id in sendable)
    )


def _is_released(
    row: ImageStatus, membership: Membership, observation: Observation, *, is_sendable: bool
) -> bool:
    match membership:
        case Membership.ACCEPTED:
            if row.membership in (Membership.ACCEPTED, Membership.UNKNOWN):
                return False
            return not _can_have_accepted(row, observation)
        case Membership.PENDING if not is_sendable:
            job = observation.status.job
            has_failed = job is not None and job.id == row.job_id and job.state is JobState.FAIL
            was_accepted = row.membership is Membership.ACCEPTED
            return was_accepted or has_failed or not _can_have_accepted(row, observation)
        case _:
            return False


def _can_have_accepted(row: ImageStatus, observation: Observation) -> bool:
    """Whether the job of an image that was not accepted can have accepted it since.

    A newer job is sent when the older one has settled and its effect was read, or is overdue.
    """
    if row_messages.may_come_late(row):
        return True
    job = observation.status.job
    if job is None or job.id != row.job_id:
        # An image that is no longer selected has a job only if that may still accept it.
        return row.selection not in MANAGED and row.membership is Membership.PENDING
    if row.message is not None or row.id in observation.runtime.failed_rows:
        return False
    had_failed = job.state is JobState.FAIL and not observation.job_asked
    return job.decision is Decision.ACCEPT and not had_failed


def _all_rows(
    desired: Desired, observation: Observation, reported: Iterable[ImageStatus]
) -> tuple[ImageStatus, ...]:
    rows = {row.id: row for row in _observed(desired, observation)}
    rows |= {row.id: row for row in reported}
    if observation.selection is not None:
        return _of_selection(observation.selection, observation, rows)
    if desired.selector is not None:
        # No list was read. A deletion rejects all that was selected, also in its next reconcile.
        return tuple(
            replace(rows.get(row.id, row), selection=row.selection, created_at=row.created_at)
            if row.selection is SelectionVerdict.SELECTED
            else rows.get(row.id, row)
            for row in observation.status.images
        )
    listed = tuple(rows[image] for image in desired.images)
    removed = (rows[image] for image in observation.removed)
    all_rows = listed + tuple(
        replace(row, selection=SelectionVerdict.REMOVED)
        for row in removed
        if row.membership in (Membership.ACCEPTED, Membership.UNKNOWN)
        or (
            row.id not in observation.runtime.failed_rows
            and _may_be_accepted(row, observation.status)
        )
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
