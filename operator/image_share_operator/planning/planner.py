"""From the desired state, the observation and the time to the next step.

Theory of operation
-------------------

Two rules hold. All decisions are made in this package; `controller` carries out the step that
`next_step` returns and adds the result to the `Observation`. This package does no I/O, reads no
clock and draws no random numbers: time and jitter are arguments.

One reconcile calls `next_step` until the step is a `Report`:

    PollJob (if a job runs)  ->  ReadMemberships  ->  Submit (if there is something to send)
                                                  ->  Report: conditions, rows, requeue time

A resource with a selector has ListShares instead of ReadMemberships: `selection.py` finds the
images, which are decided as if the spec listed them. With ``removalPolicy: Reject``, images that
the resource accepted and no longer selects are *removed*: when all selected images are done, the
removed ones are decided by the same rules, with the decision Reject. An image that left a list
while a batch carried it is not rejected before that batch has accepted it. With ``dryRun``, a
report says what would be sent.

**States of one image.** `image_verdicts` compares the membership that the cloud returned in this
reconcile with what is known from before. The first rule that matches decides:

     1  its membership can't be read          UNREADABLE; IN_DOUBT as long as a batch with unknown
                                              outcome that carried it may take effect
     2  the image is not shared               NOT_SHARED (DONE while the resource is being deleted)
     3  another resource is in charge of it   CONFLICT (DONE while the resource is being deleted)
     4  a batch with unknown outcome carried  IN_DOUBT until ``InDoubtBatch.until``
        it, and its effect is not visible
     5  the membership is as wanted           DONE, unless an earlier order of the opposite
                                              decision may still take effect: of this resource, or
                                              the latest order of another one
     6  its PUT was refused just now          FAILED
     7  it is new, or was in conflict, or an  TO_SUBMIT
        order of rule 5 may take effect
     8  it was as wanted at the last check    DRIFTED
     9  the latest job carried it with the    TO_SUBMIT
        opposite decision
    10  its job ran past ``spec.timeout``     OVERDUE until the spec changes, also while newer jobs
                                              carry other images
    11  its job succeeded a moment ago        SETTLING: memberships lag up to ``Policy.lag``
    12  the retry time has come               TO_SUBMIT
    13  it failed before, for this spec       FAILED
    14  the cloud no longer knows its job     FAILED
    15  the latest job did not carry it       TO_SUBMIT
    16  the job succeeded, without effect     FAILED
    17  the job failed and named the image    FAILED
    18  the job failed and named others       TO_SUBMIT
    19  the job failed and named no image     CANDIDATE: it may be the failing image or not; FAILED
                                              when no other image can be it, or division can't help

**States of one resource.** The images decide together; the first line that matches wins:

    spec.suspend              Report: the last known value stays, nothing is sent
    the job runs              Report JobRunning; after ``spec.timeout``: Submit the images that it
                              does not carry; else report JobTimeout, or Ready where the
                              memberships are as wanted
    any SETTLING or IN_DOUBT  Report JobRunning: nothing is sent while an effect may become visible
    any CANDIDATE             Submit half of them: bisection finds the failing image
    a part is set, more wait  Report Progressing: the next reconcile continues at once, so that
                              other resources take turns (only in a cloud without jobs)
    any TO_SUBMIT or DRIFTED  Submit, up to ``batch_limit`` images; one after the other when IMS
                              returned 5xx for several batches, perhaps because of one of them
    any CONFLICT              Report Conflict; the next check as the other images need it
    any FAILED or UNREADABLE  Report PartiallyFailed, InvalidRequest or CloudUnavailable, with the
                              retry time: quick retries for transient errors, up to three for
                              images that a successful job names, else a slow retry
    any OVERDUE               Report JobTimeout
    any NOT_SHARED            Report NotShared: a quarter of the time waited until the next check
    no image is selected      Report NothingSelected; the next check as for NotShared
    over the limit            Report LimitExceeded
    all DONE                  Report Accepted or Rejected; the next drift check by ``spec.interval``

`docs/state-machine.md` is generated from this module.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from image_share_operator.api.errors import CloudError
from image_share_operator.api.jobs import REFUSED, RetryGroup
from image_share_operator.api.types import (
    NO_JOB,
    Decision,
    Desired,
    ImageStatus,
    InDoubtBatch,
    Job,
    JobState,
    Membership,
    SelectionVerdict,
)
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning import conflicts, messages, reports, row_messages
from image_share_operator.planning.model import (
    ImageState,
    ListShares,
    Observation,
    PollJob,
    ReadMemberships,
    Report,
    Step,
    Submit,
    Verdict,
)
from image_share_operator.planning.requeue import Policy


def next_step(desired: Desired, observation: Observation, now: datetime, policy: Policy) -> Step:
    """Return the next step towards ``desired``.

    Args:
        now: aware UTC time; passed in so that tests own the clock.
    """
    if desired.suspend:
        return reports.suspended(desired, observation)
    job = observation.job
    if job is not None and not job.state.settled:
        if not observation.job_asked:
            return PollJob(job)
        if now < job.submitted_at + desired.timeout:
            return reports.job_running(desired, job, observation, now)
    if observation.members is None:
        return _read_step(desired, observation)
    step = _batch_or_report(desired, observation, now, policy)
    if isinstance(step, Report) and job is not None and is_stuck(job, desired):
        step = reports.job_timeout(desired, job, step, observation, policy)
    if isinstance(step, Submit) and observation.set_without_job:
        verdicts = image_verdicts(desired, observation, now, policy)
        step = reports.progressing(desired, observation, verdicts, now, policy)
    if isinstance(step, Report):
        return _when_selection_changes(step, observation, now)
    return _dry_run(desired, observation, now, policy) if desired.dry_run else step


def is_stuck(job: Job, desired: Desired) -> bool:
    """Whether a job past its timeout was sent for this spec; else only the memberships count."""
    return not job.state.settled and job.generation == desired.generation


def removal(desired: Desired, images: tuple[str, ...]) -> Desired:
    """The desired state of images that are rejected: removed ones, or all at a deletion."""
    return replace(
        desired, images=images, decision=Decision.REJECT, vault_id=None, being_deleted=True
    )


def _read_step(desired: Desired, observation: Observation) -> Step:
    """What to read before the images are decided; a deletion needs no new list."""
    if desired.selector is not None and not desired.being_deleted:
        return ListShares(desired.selector.owners)
    return ReadMemberships((*desired.images, *observation.removed))


def _batch_or_report(
    desired: Desired, observation: Observation, now: datetime, policy: Policy
) -> Submit | Report:
    """Send the next batch: of the selected images first, of the removed ones when these are done.

    So an image is rejected only when its successor is accepted.
    """
    verdicts = image_verdicts(desired, observation, now, policy)
    batch = _next_batch(desired, verdicts, observation, now)
    if batch is not None:
        return batch
    report = reports.from_verdicts(desired, observation, verdicts, now, policy)
    if not observation.removed or not reports.is_done(report):
        return report
    removed = removal(desired, observation.removed)
    verdicts = image_verdicts(removed, observation, now, policy)
    batch = _next_batch(removed, verdicts, observation, now)
    if batch is not None:
        return batch
    if all(verdict.state is ImageState.DONE for verdict in verdicts):
        return report
    return reports.from_verdicts(removed, observation, verdicts, now, policy)


def _dry_run(desired: Desired, observation: Observation, now: datetime, policy: Policy) -> Report:
    """Report what would be sent."""
    removed = removal(desired, observation.removed)
    verdicts = (
        *image_verdicts(desired, observation, now, policy),
        *image_verdicts(removed, observation, now, policy),
    )
    return reports.dry_run(desired, observation, verdicts, now)


def _when_selection_changes(report: Report, observation: Observation, now: datetime) -> Report:
    """The report; the next reconcile is not later than the next image is old enough."""
    wake_at = None if observation.selection is None else observation.selection.wake_at
    if wake_at is None:
        return report
    wait = max(wake_at - now, timedelta(seconds=1))
    if report.requeue_after is not None:
        wait = min(wait, report.requeue_after)
    return replace(report, requeue_after=wait)


def image_verdicts(
    desired: Desired, observation: Observation, now: datetime, policy: Policy
) -> tuple[Verdict, ...]:
    """Return the state of each image of the spec, in the order of the spec."""
    evaluator = _ImageEvaluator(desired, observation, now, policy)
    known = {row.id: row for row in _known_rows(observation)}
    members: Mapping[str, Membership] = observation.members or {}
    verdicts = tuple(
        evaluator.unread(image, observation.unreadable[image], known.get(image))
        if image in observation.unreadable
        else evaluator.verdict(image, members.get(image, Membership.NOT_SHARED), known.get(image))
        for image in desired.images
    )
    candidates = [v for v in verdicts if v.state is ImageState.CANDIDATE]
    if _divisible(observation) and (len(candidates) > 1 or _others_may_fail(observation)):
        return verdicts
    return tuple(
        replace(v, state=ImageState.FAILED) if v.state is ImageState.CANDIDATE else v
        for v in verdicts
    )


def _known_rows(observation: Observation) -> Iterator[ImageStatus]:
    """Yield the rows that show what this resource did for an image.

    Not those that were read while another resource was in charge, or in a dry run. Of an image that
    was not selected, only the job counts.
    """
    for row in observation.status.images:
        if conflicts.is_conflict(row.message) or messages.is_dry_run(row.message):
            continue
        managed = row.selection in (None, SelectionVerdict.SELECTED)
        if managed or row.id in observation.removed:
            yield row
        else:
            yield replace(row, membership=Membership.UNKNOWN, message=None)


def still_in_doubt(
    desired: Desired, observation: Observation, now: datetime, policy: Policy
) -> InDoubtBatch | None:
    """Return the part of the batch whose outcome is still unknown; ``None`` for nothing."""
    batch = observation.status.unanswered
    if batch is None or observation.members is None:
        return batch
    if batch.decision is Decision.REJECT and any(
        image in observation.removed for image in batch.images
    ):
        desired = removal(desired, observation.removed)
    evaluator = _ImageEvaluator(desired, observation, now, policy)
    known = {row.id: row for row in observation.status.images}
    left = tuple(
        image
        for image in batch.images
        if evaluator.in_doubt_unread(batch, image)
        or (
            image in observation.members
            and evaluator.still_in_doubt(batch, image, observation.members[image], known.get(image))
        )
    )
    return replace(batch, images=left) if left else None


def _others_may_fail(observation: Observation) -> bool:
    """Whether the failing image of the job may be one that is not among the candidates.

    It may be an image of another resource, or one that could not be read since.
    """
    job = observation.job
    carried = {row.id for row in observation.status.images if job and row.job_id == job.id}
    return observation.runtime.batch_peers.shared or bool(carried & observation.unreadable.keys())


def _divisible(observation: Observation) -> bool:
    """Whether bisection is due: transient errors get their quick retries first."""
    return observation.divisible and (
        not observation.retryable or _quick_retries_spent(observation)
    )


def _quick_retries_spent(observation: Observation) -> bool:
    return observation.runtime.tries >= backoff.MAX_QUICK_RETRIES


@dataclass(frozen=True, slots=True)
class _ImageEvaluator:
    """Finds the state of one image; holds what is the same for all images of a spec."""

    desired: Desired
    observation: Observation
    now: datetime
    policy: Policy

    def verdict(self, image: str, membership: Membership, known: ImageStatus | None) -> Verdict:
        """Return the state of the image, by the rules of the module's docstring.

        Args:
            membership: as the cloud returned it in this reconcile.
            known: the row of the last status; ``None`` for an image that is new in the spec.
        """
        state, message = self._state(image, membership, known)
        if message is not None and state is not ImageState.NOT_SHARED:
            message = messages.with_remedy(message, self.desired)
        same = self.observation.status.observed_generation == self.desired.generation
        left = known.job_id if known and same and state is ImageState.TO_SUBMIT else None
        return Verdict(
            image=image,
            state=state,
            membership=membership,
            message=message,
            failed_job_id=None if left == NO_JOB else left,
        )

    def unread(self, image: str, error: CloudError, known: ImageStatus | None) -> Verdict:
        """Return the state of an image whose membership could not be read.

        Its message must remember a job past its timeout, as long as that is not the latest job.
        """
        overdue = None if known is None else self._overdue(known, self._job_of(known))
        batch = self.observation.status.unanswered
        state = ImageState.UNREADABLE
        if batch is not None and self.in_doubt_unread(batch, image):
            state = ImageState.IN_DOUBT
        return Verdict(
            image=image,
            state=state,
            membership=Membership.UNKNOWN,
            message=overdue or messages.unread(error),
        )

    def in_doubt_unread(self, batch: InDoubtBatch, image: str) -> bool:
        """Whether the batch may still take effect for an image that could not be read."""
        unread = image in self.observation.unreadable and image in batch.images
        return unread and self._effect_awaited(batch)

    def _state(
        self, image: str, membership: Membership, known: ImageStatus | None
    ) -> tuple[ImageState, str | None]:
        job = self._job_of(known)
        if membership is Membership.NOT_SHARED:
            return self._not_shared()
        if image in self.observation.conflicts:
            return self._in_conflict(image)
        # After an order of the opposite decision, only a newer order of our own is final.
        opposed = image in self.observation.opposite_orders
        opposed |= job is not None and self._opposes(job)
        if self._has_nothing_to_reject(image, membership, known, job):
            return self._state_of_unaccepted(image, job), None
        batch = self.observation.status.unanswered
        if batch is not None and self.still_in_doubt(batch, image, membership, known):
            if self._effect_awaited(batch):
                return ImageState.IN_DOUBT, None
            opposed = True
        if membership is self.desired.decision.wanted and not opposed:
            return ImageState.DONE, None
        if image in self.observation.refused:
            return ImageState.FAILED, str(self.observation.refused[image])
        if opposed or known is None:
            return ImageState.TO_SUBMIT, None
        return self._state_of_known(known, job)

    def _has_nothing_to_reject(
        self, image: str, membership: Membership, known: ImageStatus | None, job: Job | None
    ) -> bool:
        """Whether an image that a list no longer has was not accepted for this resource yet."""
        if image not in self.observation.removed or membership is Membership.ACCEPTED:
            return False
        was_accepted = known is not None and known.membership is Membership.ACCEPTED
        return not was_accepted and (job is None or job.decision is not self.desired.decision)

    def _state_of_unaccepted(self, image: str, job: Job | None) -> ImageState:
        """Wait for the order that may still accept the image; only then is it rejected."""
        batch = self.observation.status.unanswered
        if batch is not None and image in batch.images and self._effect_awaited(batch):
            return ImageState.IN_DOUBT
        if job is not None and self._awaits_membership(image, job):
            return ImageState.SETTLING
        return ImageState.DONE

    def _state_of_known(self, known: ImageStatus, job: Job | None) -> tuple[ImageState, str | None]:
        """Return the state of an image that is not as wanted and has a row in the status."""
        if known.membership is self.desired.decision.wanted:
            return ImageState.DRIFTED, None
        if job is not None and job.decision is not self.desired.decision:
            return ImageState.TO_SUBMIT, None
        overdue = self._overdue(known, job)
        if overdue is not None:
            return ImageState.OVERDUE, overdue
        unread = known.membership is Membership.UNKNOWN
        if (
            job is not None
            and (known.message is None or unread)
            and self._awaits_membership(known.id, job)
        ):
            return ImageState.SETTLING, None  # before any retry, which would send it twice
        if self.observation.runtime.retry_is_due(self.now):
            return ImageState.TO_SUBMIT, None
        if self._failed_before(known):
            return ImageState.FAILED, known.message
        if self._job_lost(known):
            return ImageState.FAILED, f"IMS no longer knows job {known.job_id}"
        if job is None:
            return ImageState.TO_SUBMIT, None
        return self._state_by_job(known.id, job)

    def still_in_doubt(
        self, batch: InDoubtBatch, image: str, membership: Membership, known: ImageStatus | None
    ) -> bool:
        """Whether the outcome of the batch is still unknown for this image.

        A batch of the opposite decision has taken effect when the membership changed to what the
        batch asked for. Until then it may take effect at any time, unless a newer order follows.
        """
        if image not in batch.images or membership is Membership.NOT_SHARED:
            return False
        if batch.decision is not self.desired.decision:
            before = Membership.UNKNOWN if known is None else known.membership
            return membership is before or membership is not batch.decision.wanted
        job = self._job_of(known)
        opposed = job is not None and self._opposes(job)
        took_effect = membership is batch.decision.wanted and not opposed
        return not took_effect and self._effect_awaited(batch)

    def _effect_awaited(self, batch: InDoubtBatch) -> bool:
        """Whether the batch may still take effect, so that nothing is sent.

        An ``until`` in the far future was written by a process whose clock was wrong.
        """
        return timedelta() < batch.until - self.now < 2 * self.policy.lag

    def _opposes(self, job: Job) -> bool:
        """Whether a job of the opposite decision may still take effect."""
        if job.decision is self.desired.decision:
            return False
        return not job.state.settled or self._membership_may_lag()

    def _membership_may_lag(self) -> bool:
        """Whether the memberships may still be those from before the job settled.

        A job settled before the batch that was sent after it, also where a restart forgot when.
        """
        settled_at = self.observation.runtime.settled_at or self.now
        batch = self.observation.status.unanswered
        if batch is not None:
            settled_at = min(settled_at, batch.since)
        return self.now < settled_at + self.policy.lag

    def _awaits_membership(self, image: str, job: Job) -> bool:
        """Whether the job succeeded for the image and the membership may follow."""
        done = job.state is JobState.SUCCESS and image not in self.observation.runtime.failed_rows
        return done and self._membership_may_lag()

    def _not_shared(self) -> tuple[ImageState, str | None]:
        if self.desired.being_deleted:
            return ImageState.DONE, None  # there is nothing left to reject
        project = self.desired.project_id
        return ImageState.NOT_SHARED, (
            f"not shared with project {project}: check the image ID and the region, or ask its "
            "owner to share it"
        )

    def _in_conflict(self, image: str) -> tuple[ImageState, str | None]:
        if self.desired.being_deleted:
            return ImageState.DONE, None  # the other resource keeps it as it is
        return ImageState.CONFLICT, self.observation.conflicts[image]

    def _job_of(self, known: ImageStatus | None) -> Job | None:
        """The latest job, if it carried the image; ``None`` otherwise.

        A share that was withdrawn and created again is a new share: no job carried it.
        """
        job = self.observation.job
        if job is None or known is None or known.membership is Membership.NOT_SHARED:
            return None
        return job if known.job_id == job.id else None

    def _job_lost(self, known: ImageStatus) -> bool:
        """Whether the cloud lost the job that carried the image for this spec."""
        gone = self.observation.status.job
        return (
            self.observation.job_unknown
            and gone is not None
            and known.job_id == gone.id
            and gone.generation == self.desired.generation
        )

    def _overdue(self, known: ImageStatus, job: Job | None) -> str | None:
        """Which job of the image ran past its timeout; ``None`` for none.

        When a newer job has carried other images, only the row remembers it.
        """
        if job is not None:
            return messages.overdue(job, self.desired) if is_stuck(job, self.desired) else None
        same = self.observation.status.observed_generation == self.desired.generation
        return known.message if same and row_messages.is_overdue(known) else None

    def _failed_before(self, known: ImageStatus) -> bool:
        """Whether the status reports a failure of this image for the present spec."""
        return (
            known.message is not None
            and known.membership not in (Membership.NOT_SHARED, Membership.UNKNOWN)
            and self.observation.status.observed_generation == self.desired.generation
        )

    def _state_by_job(self, image: str, job: Job) -> tuple[ImageState, str | None]:
        """Return the state of an image that the latest job carried and that is not as wanted."""
        row = self.observation.runtime.failed_rows.get(image)
        match job.state:
            case JobState.INIT | JobState.RUNNING:
                return ImageState.TO_SUBMIT, None  # stuck, and the spec changed since
            case JobState.SUCCESS:
                if row is not None:
                    return ImageState.FAILED, f"job {job.id}: {row}"
                if self._membership_may_lag():
                    return ImageState.SETTLING, None
                if job.generation != self.desired.generation:
                    return ImageState.TO_SUBMIT, None
                return (
                    ImageState.FAILED,
                    f"job {job.id} {row_messages.NO_EFFECT_WORDS}",
                )
            case JobState.FAIL:
                if job.generation != self.desired.generation:
                    return ImageState.TO_SUBMIT, None
                if row is None and self.observation.runtime.batch_peers.named:
                    return ImageState.TO_SUBMIT, None  # the job named others
                state = ImageState.CANDIDATE if row is None else ImageState.FAILED
                cause = " ".join(filter(None, (job.error_code, job.fail_reason, row)))
                return state, f"job {job.id} failed: {cause or 'no reason given'}"
        assert_never(job.state)


def _next_batch(
    desired: Desired, verdicts: tuple[Verdict, ...], observation: Observation, now: datetime
) -> Submit | None:
    """Choose the images of the next PUT; ``None`` when there is nothing to send.

    Nothing is sent while a membership may still change: the new job would replace the one that
    is waited for in the status. Candidates go first, in halves until the failing image is alone;
    a batch that carried images of other resources is divided by the batcher, which knows all of
    it. Images of a failed job are not mixed with others: one of them may fail the next batch too.
    """
    unsettled = (ImageState.SETTLING, ImageState.IN_DOUBT)
    if any(v.state in unsettled for v in verdicts) or _retry_comes_first(verdicts, observation):
        return None
    candidates = tuple(v.image for v in verdicts if v.state is ImageState.CANDIDATE)
    if candidates and observation.job is not None:
        shared = observation.runtime.batch_peers.shared
        size = len(candidates) if shared else max(1, len(candidates) // 2)
        return Submit(
            desired=desired,
            images=candidates[: min(observation.batch_limit, size)],
            verdicts=verdicts,
            retry_group=RetryGroup(job_id=observation.job.id, candidate=True),
        )
    wanted = [v for v in verdicts if v.state in (ImageState.TO_SUBMIT, ImageState.DRIFTED)]
    if not wanted:
        return None
    if observation.runtime.one_by_one:
        # Another image each time, so that the failing one does not keep the others back.
        image = wanted[observation.runtime.errors % len(wanted)].image
        return Submit(desired=desired, images=(image,), verdicts=verdicts, retry_group=REFUSED)
    origins = [v.failed_job_id for v in wanted]
    latest = None if observation.status.job is None else observation.status.job.id
    origin = latest if latest in origins else origins[0]
    retry = observation.runtime.retry_is_due(now)
    return Submit(
        desired=desired,
        images=tuple(v.image for v in wanted if v.failed_job_id == origin)[
            : observation.batch_limit
        ],
        verdicts=verdicts,
        retry_group=None
        if origin is None
        else RetryGroup(job_id=origin, candidate=False, retry=retry),
    )


def _retry_comes_first(verdicts: tuple[Verdict, ...], observation: Observation) -> bool:
    """Whether the latest job failed with a transient error and all of it is retried first."""
    job = observation.status.job
    if (
        job is None
        or not observation.retryable
        or observation.runtime.batch_peers.named
        or _quick_retries_spent(observation)
    ):
        return False
    carried = {row.id for row in observation.status.images if row.job_id == job.id}
    waiting = {
        v.image for v in verdicts if v.state is ImageState.FAILED
    } - observation.refused.keys()
    return bool(carried & waiting)
