"""What to do next: from the desired state, the facts and the time to one step.

No I/O, no clock, no randomness, no log. `docs/state-machine.md` is printed from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from image_share_operator.api.jobs import RetryGroup
from image_share_operator.api.types import (
    Desired,
    ImageStatus,
    InDoubtBatch,
    Job,
    JobState,
    Membership,
)
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning import messages
from image_share_operator.planning.model import (
    ImageState,
    Observation,
    PollJob,
    ReadMemberships,
    Step,
    Submit,
    Verdict,
)
from image_share_operator.planning.requeue import Policy


def next_step(desired: Desired, observation: Observation, now: datetime, policy: Policy) -> Step:
    """Say what to do next so that the memberships move towards ``desired``.

    Args:
        now: aware UTC time; passed in so that tests own the clock.
    """
    if desired.suspend:
        return messages.suspended(desired, observation)
    job = observation.job
    if job is not None and not job.state.settled:
        if not observation.job_asked:
            return PollJob(job)
        if now < job.submitted_at + desired.timeout:
            return messages.running(desired, job, observation, now)
        if observation.members is None:
            return ReadMemberships(desired.images)
        if job.generation == desired.generation:
            return messages.overdue(desired, job, observation, policy)
        # The spec changed after the job got stuck: the job is history, the members are not.
    if observation.members is None:
        return ReadMemberships(desired.images)
    verdicts = judge(desired, observation, now, policy)
    return _submit(verdicts, observation, now) or messages.judged(
        desired, observation, verdicts, now, policy
    )


def judge(
    desired: Desired, observation: Observation, now: datetime, policy: Policy
) -> tuple[Verdict, ...]:
    """Say where each image of the spec stands, in its order, given fresh memberships."""
    judge_image = _ImageJudge(desired, observation, now, policy)
    known = {row.id: row for row in observation.status.images}
    members: Mapping[str, Membership] = observation.members or {}
    verdicts = tuple(
        judge_image(image, members.get(image, Membership.NOT_SHARED), known.get(image))
        for image in desired.images
    )
    candidates = [v for v in verdicts if v.state is ImageState.CANDIDATE]
    if _divisible(observation) and (len(candidates) > 1 or observation.batch_peers.shared):
        return verdicts
    return tuple(
        replace(v, state=ImageState.FAILED) if v.state is ImageState.CANDIDATE else v
        for v in verdicts
    )


def still_in_doubt(
    desired: Desired, observation: Observation, now: datetime, policy: Policy
) -> InDoubtBatch | None:
    """What is left of the batch without an answer once its images were looked at."""
    batch = observation.status.unanswered
    if batch is None or observation.members is None:
        return batch
    judge_image = _ImageJudge(desired, observation, now, policy)
    known = {row.id: row for row in observation.status.images}
    left = tuple(
        image
        for image in batch.images
        if image in observation.members
        and judge_image.still_in_doubt(batch, image, observation.members[image], known.get(image))
    )
    return replace(batch, images=left) if left else None


def _divisible(observation: Observation) -> bool:
    """Whether it is worth to find out which image spoils it: what may pass has its time first."""
    return observation.divisible and (not observation.retryable or _tried_enough(observation))


def _tried_enough(observation: Observation) -> bool:
    return observation.failures >= backoff.MAX_QUICK_RETRIES


@dataclass(frozen=True, slots=True)
class _ImageJudge:
    """The judgement of one image; holds what is the same for all images of a spec."""

    desired: Desired
    observation: Observation
    now: datetime
    policy: Policy

    def __call__(self, image: str, membership: Membership, known: ImageStatus | None) -> Verdict:
        """Judge in this order: what the cloud shows, what was found out, what a job said."""
        state, message = self._outcome(image, membership, known)
        same = self.observation.status.observed_generation == self.desired.generation
        left = known.job_id if known and same and state is ImageState.TO_SUBMIT else None
        return Verdict(
            image=image,
            state=state,
            membership=membership,
            message=message,
            failed_job_id=left,
        )

    def _outcome(
        self, image: str, membership: Membership, known: ImageStatus | None
    ) -> tuple[ImageState, str | None]:
        job = self._carrier(known)
        if membership is Membership.NOT_SHARED:
            return self._not_shared()
        # However the image looks, after an order of the other decision only our own one is final.
        undone = job is not None and self._undoes(job)
        batch = self.observation.status.unanswered
        if batch is not None and self.still_in_doubt(batch, image, membership, known):
            if self._looked_for(batch):
                return ImageState.IN_DOUBT, None
            undone = True
        if membership is self.desired.decision.wanted and not undone:
            return ImageState.DONE, None
        if image in self.observation.refused:
            return ImageState.FAILED, self.observation.refused[image]
        if undone or known is None:
            return ImageState.TO_SUBMIT, None
        return self._known_outcome(known, job)

    def _known_outcome(self, known: ImageStatus, job: Job | None) -> tuple[ImageState, str | None]:
        """Judge an image that is not as wanted, by what was found out about it before."""
        if known.membership is self.desired.decision.wanted:
            return ImageState.DRIFTED, None
        if job is not None and known.message is None and self._settles(known.id, job):
            return ImageState.SETTLING, None  # before any retry, which would send it twice
        if self.observation.retry_at is not None and self.now >= self.observation.retry_at:
            return ImageState.TO_SUBMIT, None
        if self._failed_before(known):
            return ImageState.FAILED, known.message
        if self._lost(known):
            return ImageState.FAILED, f"the cloud does not know job {known.job_id} any more"
        if job is None:
            return ImageState.TO_SUBMIT, None
        return self._by_job(known.id, job)

    def still_in_doubt(
        self, batch: InDoubtBatch, image: str, membership: Membership, known: ImageStatus | None
    ) -> bool:
        """Whether the image's part in a batch without an answer is still unknown.

        A batch of the other decision has come true when the membership changed to what it asks
        for. Else it may do so at any time, until we send an order of our own.
        """
        if image not in batch.images or membership is Membership.NOT_SHARED:
            return False
        if batch.decision is not self.desired.decision:
            before = Membership.UNKNOWN if known is None else known.membership
            return membership is before or membership is not batch.decision.wanted
        job = self._carrier(known)
        undone = job is not None and self._undoes(job)
        came_true = membership is batch.decision.wanted and not undone
        return not came_true and self._looked_for(batch)

    def _looked_for(self, batch: InDoubtBatch) -> bool:
        """Whether nothing is sent yet; a time out of all bounds is of a clock that was wrong."""
        return timedelta() < batch.until - self.now < 2 * self.policy.lag

    def _undoes(self, job: Job) -> bool:
        """Whether what the job was told, the opposite of the spec, may still show."""
        if job.decision is self.desired.decision:
            return False
        return not job.state.settled or self._may_show_late()

    def _may_show_late(self) -> bool:
        """Whether the memberships may still be those of before the job settled.

        It had settled before a batch went out after it, whatever a new process thinks.
        """
        settled_at, batch = (
            self.observation.settled_at or self.now,
            self.observation.status.unanswered,
        )
        if batch is not None:
            settled_at = min(settled_at, batch.since)
        return self.now < settled_at + self.policy.lag

    def _settles(self, image: str, job: Job) -> bool:
        """Whether the job did what it was told, and that may still show."""
        done = job.state is JobState.SUCCESS and image not in self.observation.failed_rows
        return done and self._may_show_late()

    def _not_shared(self) -> tuple[ImageState, str | None]:
        if self.desired.leaving:
            return ImageState.DONE, None  # there is nothing left to reject
        project = self.desired.project_id
        return ImageState.NOT_SHARED, f"not shared with project {project}; its owner must share it"

    def _carrier(self, known: ImageStatus | None) -> Job | None:
        """The latest job, if it carried the image.

        A share that was withdrawn and came back is a new one: no job of ours carried it.
        """
        job = self.observation.job
        if job is None or known is None or known.membership is Membership.NOT_SHARED:
            return None
        return job if known.job_id == job.id else None

    def _lost(self, known: ImageStatus) -> bool:
        """Whether the job that carried the image for this spec vanished without doing it."""
        gone = self.observation.status.job
        return (
            self.observation.job_unknown
            and gone is not None
            and known.job_id == gone.id
            and gone.generation == self.desired.generation
        )

    def _failed_before(self, known: ImageStatus) -> bool:
        """Whether a try for this very spec is known to have failed."""
        return (
            known.message is not None
            and known.membership is not Membership.NOT_SHARED
            and self.observation.status.observed_generation == self.desired.generation
        )

    def _by_job(self, image: str, job: Job) -> tuple[ImageState, str | None]:
        """Judge an image that the latest job carried and that is not as wanted."""
        row = self.observation.failed_rows.get(image)
        match job.state:
            case JobState.INIT | JobState.RUNNING:
                return ImageState.TO_SUBMIT, None  # stuck, and the spec changed since
            case JobState.SUCCESS:
                if row is not None:
                    return ImageState.FAILED, f"job {job.id}: {row}"
                if self._may_show_late():
                    return ImageState.SETTLING, None
                if job.generation != self.desired.generation:
                    return ImageState.TO_SUBMIT, None
                said = "reported success, but the membership did not change"
                return ImageState.FAILED, f"job {job.id} {said}"
            case JobState.FAIL:
                if job.generation != self.desired.generation:
                    return ImageState.TO_SUBMIT, None
                words = " ".join(filter(None, (job.error_code, job.fail_reason, row)))
                if row is None and self.observation.batch_peers.named:
                    return ImageState.TO_SUBMIT, None  # the job named others
                blamed = ImageState.CANDIDATE if row is None else ImageState.FAILED
                return blamed, f"job {job.id} failed: {words or 'no reason given'}"
        assert_never(job.state)


def _submit(
    verdicts: tuple[Verdict, ...], observation: Observation, now: datetime
) -> Submit | None:
    """Choose what the next PUT carries; ``None`` when there is nothing to send.

    Nothing is sent while a membership may still show: the new job would take the place of the
    one that promised it, or of the one whose failure may pass. Several suspects are halved until
    the culprit stands alone, before anything else is sent; those of a shared batch are divided
    where all of it is known. What is left over from a failed job is not mixed with others: it may
    hold the next culprit.
    """
    unsettled = (ImageState.SETTLING, ImageState.IN_DOUBT)
    if any(v.state in unsettled for v in verdicts) or _tried_again_first(verdicts, observation):
        return None
    candidates = tuple(v.image for v in verdicts if v.state is ImageState.CANDIDATE)
    if candidates and observation.job is not None:
        size = len(candidates) if observation.batch_peers.shared else len(candidates) // 2
        return Submit(
            images=candidates[: min(observation.batch_limit, size)],
            verdicts=verdicts,
            retry_group=RetryGroup(job_id=observation.job.id, candidate=True),
        )
    wanted = [v for v in verdicts if v.state in (ImageState.TO_SUBMIT, ImageState.DRIFTED)]
    if not wanted:
        return None
    origins = [v.failed_job_id for v in wanted]
    latest = None if observation.status.job is None else observation.status.job.id
    origin = latest if latest in origins else origins[0]
    retry = observation.retry_at is not None and now >= observation.retry_at
    return Submit(
        images=tuple(v.image for v in wanted if v.failed_job_id == origin)[
            : observation.batch_limit
        ],
        verdicts=verdicts,
        retry_group=None
        if origin is None
        else RetryGroup(job_id=origin, candidate=False, retry=retry),
    )


def _tried_again_first(verdicts: tuple[Verdict, ...], observation: Observation) -> bool:
    """Whether the latest job failed in a way that may pass, and whom for nobody knows yet."""
    job = observation.status.job
    if (
        job is None
        or not observation.retryable
        or observation.batch_peers.named
        or _tried_enough(observation)
    ):
        return False
    carried = {row.id for row in observation.status.images if row.job_id == job.id}
    waiting = {
        v.image for v in verdicts if v.state is ImageState.FAILED
    } - observation.refused.keys()
    return bool(carried & waiting)
