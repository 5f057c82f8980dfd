"""Carries out the steps of the planner until one of them is a report.

Knows the cloud only as the protocol below. The cloud accepts one batch at most per execution.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, assert_never

from image_share_operator.api.errors import (
    BatchTooLargeError,
    CloudError,
    ImagesRefusedError,
    JobUnknownError,
    OutcomeUnknownError,
    RefusedForNowError,
    RetryableError,
    TerminalError,
)
from image_share_operator.api.jobs import (
    REFUSED,
    FailureClass,
    JobReport,
    RetryGroup,
    Submission,
    batch_peers,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.selector import ImageSelector
from image_share_operator.api.types import (
    NO_JOB,
    Decision,
    Desired,
    ImageDetails,
    ImageStatus,
    InDoubtBatch,
    Job,
    JobState,
    Membership,
    SelectionVerdict,
    Share,
)
from image_share_operator.planning import image_rows, messages, planner, requeue
from image_share_operator.planning.model import (
    FreshMembers,
    ListShares,
    Observation,
    PollJob,
    ReadMemberships,
    Report,
    Submit,
)
from image_share_operator.planning.requeue import Policy
from image_share_operator.planning.selection import (
    Selection,
    release_renamed,
    select,
    superseded,
    unlisted_share,
)

LONG_LIST = 200
"""Shares that are selected in the event loop. One takes 10 µs, and up to 0.3 ms with an expression
that was made to be slow; a longer list would delay all other resources."""
FRESH = timedelta(seconds=30)
"""How long the memberships of one reconcile serve the next one, which continues at once."""


class Session(Protocol):
    """The cloud as one identity sees it. All methods raise `CloudError`."""

    @property
    def typical_duration(self) -> timedelta:
        """How long recent jobs took to settle."""
        ...

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> Submission:
        """Set the memberships of the images, or start a job that does.

        An error that all images share is raised.
        """
        ...

    async def job(self, job_id: str) -> JobReport:
        """Poll a job."""
        ...

    async def members(
        self, images: tuple[str, ...], max_age: timedelta
    ) -> Mapping[str, Membership | CloudError]:
        """Read the memberships of all ``images``, not older than ``max_age``.

        An image that could not be read has its error; an error that all share is raised.
        """
        ...

    async def list_shares(self, owners: tuple[str, ...], max_age: timedelta) -> tuple[Share, ...]:
        """List all images that the ``owners`` share, not older than ``max_age``."""
        ...

    def details(self, images: tuple[str, ...]) -> Mapping[str, ImageDetails]:
        """Names and owners of images, where they are known without a request."""
        ...


class Claims(Protocol):
    """What other resources of this operator claim and submitted."""

    def select(self, images: tuple[str, ...], removed: tuple[str, ...]) -> None:
        """Claim these images from now on.

        Args:
            removed: images that are rejected because they are no longer claimed.
        """
        ...

    def conflicts(self) -> Mapping[str, str]:
        """The images that another resource is in charge of, with a message for each."""
        ...

    def opposite_orders(self) -> frozenset[str]:
        """The images for which another resource submitted the opposite decision latest."""
        ...

    def changed_by_others(self, images: tuple[str, ...]) -> frozenset[str]:
        """The images whose membership another resource set, also before the last restart."""
        ...

    def submitting(self, decision: Decision, images: tuple[str, ...]) -> None:
        """Record what is submitted now."""
        ...


@dataclass(slots=True, kw_only=True)
class PlanExecutor:
    """The part of one reconcile that talks to the cloud.

    Attributes:
        desired: its images change when a list of shares is read.
        observation: what is known so far; valid also when `run` raises.
        session: opens the session with the cloud; called only when a step needs it.
        claims: asked before each step, because other resources change meanwhile.
        details: names and owners of images that became known.
        on_members: called with memberships that IMS returned.
        believe_unknown: whether "no such job" is believed.
        max_age: how old a membership may be that shows no change.
        thread_seat: entered while a thread selects from a long list.
        sent: the job that was started.
        refused: whether the cloud refused a batch because of an image.
        drifted: images that were sent because another client changed them.
    """

    desired: Desired
    observation: Observation
    session: Callable[[], Awaitable[Session]]
    claims: Claims
    on_members: Callable[[Mapping[str, Membership]], None]
    classify_failure: Callable[[str | None], FailureClass]
    now: Callable[[], datetime]
    policy: Policy
    believe_unknown: bool = True
    max_age: timedelta = timedelta()
    thread_seat: AbstractAsyncContextManager[object] = field(default_factory=nullcontext[None])
    sent: Job | None = None
    refused: bool = False
    drifted: tuple[str, ...] = field(default=())
    details: Mapping[str, ImageDetails] = field(default_factory=dict[str, ImageDetails])

    async def run(self) -> Report:
        """Execute steps until one is a report.

        Raises:
            CloudError: the cloud did not do what a step asked.
            KubeError: the credentials could not be read.
        """
        while True:
            self.observation = replace(
                self.observation,
                conflicts=self.claims.conflicts(),
                opposite_orders=self.claims.opposite_orders(),
            )
            step = planner.next_step(self.desired, self.observation, self.now(), self.policy)
            match step:
                case PollJob(job=job):
                    await self._poll(job)
                case ListShares(owners=owners):
                    await self._list_shares(owners)
                case ReadMemberships(images=images):
                    results = await self._read(images) if images else {}
                    self.details = (await self.session()).details(images) if images else {}
                    self._observe_members(results)
                case Submit():
                    sent = await self._submit(step)
                    if sent is not None:
                        return sent
                case Report():
                    self._raise_common_refusal()
                    if not self.observation.set_without_job:
                        self._raise_first_read_error()
                    return step
                case _:
                    assert_never(step)

    def _observe_members(self, results: Mapping[str, Membership | CloudError]) -> None:
        self.observation = self.observation.with_results(results)
        self.observation = replace(self.observation, released=image_rows.released(self.observation))
        self.on_members(self.observation.members or {})
        self._check_in_doubt()

    async def _list_shares(self, owners: tuple[str, ...]) -> None:
        """List shares, select images, and read memberships that may have changed since the list."""
        selector, status = self.desired.selector, self.observation.status
        if selector is None:
            return
        # Also after a job: an image may have been shared while it ran.
        max_age = timedelta() if self.observation.runtime.errors else self.max_age
        session = await self.session()
        shares = await session.list_shares(owners, max_age)
        listed = {share.id: share.membership for share in shares}
        hidden = [row for row in self._selected_rows(owners) if row.id not in listed]
        results = await self._read_hidden(session, tuple(row.id for row in hidden))
        still_shared = tuple(
            unlisted_share(row, selector, status)
            for row in hidden
            if results[row.id] is not Membership.NOT_SHARED
        )
        selection = await self._select(selector, (*shares, *still_shared))
        self.desired = replace(self.desired, images=selection.selected)
        if max_age:
            results |= await _members(session, self._may_have_changed(listed))
        # A list in which a shared image is missing is not complete.
        removed = () if still_shared else self._removed(selection, results)
        self.claims.select(selection.selected, removed)
        if max_age:
            results |= await _members(session, removed)
        wanted = (*selection.selected, *removed)
        rows = release_renamed(selection, status.images)
        self.observation = replace(
            self.observation,
            status=replace(status, images=rows),
            selection=selection,
            removed=removed,
        )
        self._observe_members({image: results.get(image) or listed[image] for image in wanted})

    async def _select(self, selector: ImageSelector, shares: tuple[Share, ...]) -> Selection:
        """Select images; from a long list in a thread, while the event loop serves others."""
        known, now = self.observation.status.images, self.now()
        if len(shares) <= LONG_LIST:
            return select(selector, shares, known, now)
        async with self.thread_seat:
            return await asyncio.to_thread(select, selector, shares, known, now)

    def _selected_rows(self, owners: tuple[str, ...]) -> Iterator[ImageStatus]:
        """Yield the rows that the last list of these owners selected."""
        for row in self.observation.status.images:
            if row.selection is SelectionVerdict.SELECTED and row.owner in owners:
                yield row

    async def _read_hidden(
        self, session: Session, images: tuple[str, ...]
    ) -> dict[str, Membership | CloudError]:
        """Read images that are in no list: withdrawn, or moved to another list during the read.

        One that is not as wanted would be sent, and only a list shows its owner: the status may be
        wrong about it. If the next list does not have it either, it counts as not shared.
        """
        results = dict(await _members(session, images))
        for image, one in results.items():
            if isinstance(one, CloudError) or one is self.desired.decision.wanted:
                continue
            if one is not Membership.NOT_SHARED and not self.observation.runtime.errors:
                raise RetryableError(
                    f"image {image} is shared, and no list has it: the lists changed while they "
                    "were read"
                )
            results[image] = Membership.NOT_SHARED
        return results

    def _removed(
        self, selection: Selection, results: Mapping[str, Membership | CloudError]
    ) -> tuple[str, ...]:
        """The images to reject after a complete list."""
        if not image_rows.may_remove(self.desired):
            return ()
        members = {
            image: one if isinstance(one, Membership) else Membership.UNKNOWN
            for image, one in results.items()
        }
        rows, is_settled = self.observation.status.images, self.desired.dry_run
        return superseded(selection, rows, members, is_settled=is_settled)

    def _may_have_changed(self, listed: Mapping[str, Membership]) -> tuple[str, ...]:
        """The selected images whose membership in a cached list shows work to do."""
        wanted = self.desired.decision.wanted
        return tuple(
            image
            for image in self.desired.images
            if image in listed and listed[image] is not wanted
        )

    async def _read(self, images: tuple[str, ...]) -> Mapping[str, Membership | CloudError]:
        """Read memberships; a cached result is used only when it shows no change."""
        session = await self.session()
        wanted = self.desired.decision.wanted
        members = await session.members(images, self.max_age)
        found = (one for one in members.values() if isinstance(one, Membership))
        if self.max_age and any(one is not wanted for one in found):
            return await session.members(images, timedelta())
        return members

    def _raise_first_read_error(self) -> None:
        """Raise a transient read error unless it was repeated: most occur once.

        Nothing was sent in this reconcile, so all of it can be done again.
        """
        if self.observation.runtime.errors == 0:
            for error in self.observation.unreadable.values():
                if isinstance(error, RetryableError):
                    raise error

    async def _poll(self, job: Job) -> None:
        session = await self.session()
        try:
            report = await session.job(job.id)
        except JobUnknownError:
            if not self.believe_unknown:
                raise
            self.observation = replace(self.observation, job_unknown=True, retryable=True)
            return
        known = replace(
            job,
            state=report.state,
            odd_status=report.odd_status,
            type=report.type or job.type,
            begin_time=report.begin_time,
            end_time=report.end_time,
            error_code=report.error_code,
            fail_reason=report.fail_reason,
        )
        carried = {row.id for row in self.observation.status.images if row.job_id == job.id}
        ours = {i: report.failed_rows[i] for i in report.failed_rows if i in carried}
        self.observation = replace(
            self.observation,
            status=replace(self.observation.status, job=known),
            job_asked=True,
            typical_duration=session.typical_duration,
            runtime=replace(
                self.observation.runtime,
                settled_at=self.now() if report.state.settled else None,
                failed_rows=ours,
                batch_peers=batch_peers(
                    shared=report.shared, named=bool(report.failed_rows if report.shared else ours)
                ),
            ),
        )
        self.read_failure_class()

    def read_failure_class(self) -> None:
        """Find out from the code of a failed job whether a retry may help."""
        job = self.observation.status.job
        if job is not None and job.state is JobState.FAIL:
            failure = self.classify_failure(job.error_code)
            self.observation = replace(
                self.observation, retryable=failure.retryable, divisible=failure.divisible
            )

    async def _submit(self, step: Submit) -> Report | None:
        """Send the images; ``None`` when the planner decides what is next.

        That is after a refusal because of an image, and in a cloud without jobs.
        """
        session = await self.session()
        desired = step.desired
        others = self.claims.changed_by_others(step.drifted)
        self.claims.submitting(desired.decision, step.images)
        try:
            submission = await session.submit(
                desired.decision,
                desired.vault_id,
                step.images,
                REFUSED if self.refused else step.retry_group,
            )
        except OutcomeUnknownError as exc:
            self._note_unknown_outcome(desired.decision, step.images, exc)
            raise messages.of_one_image(exc, step.images, desired) from None
        except CloudError as exc:
            if not self._may_be_about_an_image(exc):
                raise
            self._narrow(step.images, exc)
            return None
        self.drifted = tuple(image for image in step.drifted if image not in others)
        if not isinstance(submission, str):
            self._note_results(submission)
            return None
        job = self._started(submission, desired.decision, step.images)
        return Report(
            ready_summary=messages.submitted(desired, len(step.images)),
            requeue_after=requeue.poll_after(timedelta(), session.typical_duration),
            images=_with_job(
                image_rows.from_verdicts(desired, step.verdicts, self.observation.status),
                step.images,
                job,
            ),
        )

    def _note_results(self, results: Mapping[str, Membership | CloudError]) -> None:
        """Add what a cloud without jobs returned for each image to the observation.

        Raises:
            RetryableError: an image was not set, and its membership must be read before the next
                attempt. The others are in the observation.
        """
        before = self.observation
        errors = {i: one for i, one in results.items() if isinstance(one, CloudError)}
        members = {i: one for i, one in results.items() if isinstance(one, Membership)}
        known = {**(before.members or {}), **members}
        refused = {**before.refused, **errors}
        fresh = FreshMembers(
            results={**before.unreadable, **known}, refused=refused, until=self.now() + FRESH
        )
        outage = next((one for one in errors.values() if _is_outage(one)), None)
        self.observation = replace(
            before,
            status=replace(before.status, images=_with_members(before.status.images, members)),
            members=known,
            refused=refused,
            set_without_job=True,
            # A selection needs the list of the shares, so it is read for each batch.
            runtime=replace(
                before.runtime, fresh=None if outage or self.desired.selector else fresh
            ),
        )
        if outage is not None:
            raise outage

    def _may_be_about_an_image(self, error: CloudError) -> bool:
        """Whether the cloud may have refused the batch because of one of its images."""
        match error:
            case ImagesRefusedError():
                return True
            case RefusedForNowError():
                return self.refused or error.persistent
            case TerminalError():
                return error.reason is Reason.PERMISSION_DENIED
            case _:
                return False

    def _started(self, job_id: str, decision: Decision, images: tuple[str, ...]) -> Job:
        """Add the new job to the observation."""
        job = Job(
            id=job_id,
            generation=self.desired.generation,
            decision=decision,
            state=JobState.INIT,
            submitted_at=_in_millis(self.now()),
        )
        before = self.observation
        self.observation = replace(
            before,
            status=replace(
                before.status, job=job, unanswered=_without(before.status.unanswered, images)
            ),
            runtime=replace(before.runtime, settled_at=None, failed_rows={}, one_by_one=False),
            job_unknown=False,
        )
        self.sent = job
        return job

    def _note_unknown_outcome(
        self, decision: Decision, images: tuple[str, ...], why: OutcomeUnknownError
    ) -> None:
        """Add the batch with unknown outcome to the observation."""
        before = self.observation
        self.observation = replace(
            before,
            status=replace(before.status, unanswered=self._in_doubt(decision, images, why)),
            runtime=replace(before.runtime, one_by_one=why.persistent),
        )

    def _in_doubt(
        self, decision: Decision, images: tuple[str, ...], why: OutcomeUnknownError
    ) -> InDoubtBatch:
        now = _in_millis(self.now())
        span = self.policy.late_effect if why.answered else self.policy.lag
        return InDoubtBatch(decision=decision, images=images, since=now, until=now + span)

    def _check_in_doubt(self) -> None:
        """Remove images whose state is known now from the batch with unknown outcome.

        No known job carried them last: the batch did, or the next one will.
        """
        before = self.observation.status.unanswered
        left = planner.still_in_doubt(self.desired, self.observation, self.now(), self.policy)
        if before is None or left == before:
            return
        over = frozenset(before.images) - frozenset(left.images if left else ())
        rows = tuple(
            replace(row, job_id=None) if row.id in over else row
            for row in self.observation.status.images
        )
        self.observation = replace(
            self.observation, status=replace(self.observation.status, unanswered=left, images=rows)
        )

    def _narrow(self, images: tuple[str, ...], why: CloudError) -> None:
        """Halve the batch until the failing image is alone.

        A refused batch changed nothing, so the rest of it may be sent in the same reconcile, in
        smaller batches with each image that was refused alone.
        """
        if isinstance(why, BatchTooLargeError) and why.most is not None and why.most < len(images):
            self.observation = replace(self.observation, batch_limit=why.most)
            return
        # The images of other resources in the batch may be why the permission was denied.
        maybe_others = isinstance(why, TerminalError) and not self.refused
        self.refused = True
        first, *rest = images
        if rest:
            self.observation = replace(self.observation, batch_limit=len(images) // 2)
        if rest or maybe_others:
            return
        refused = {**self.observation.refused, first: why}
        self.observation = replace(
            self.observation,
            refused=refused,
            batch_limit=max(1, self.policy.batch_images >> len(refused)),
        )

    def _raise_common_refusal(self) -> None:
        """Raise the last error when all images were refused with one that is not about an image.

        That is a transient error or a missing permission. No image is as wanted then.
        """
        errors = tuple(self.observation.refused.values())
        members = self.observation.members or {}
        common = {type(error) for error in errors} in ({RefusedForNowError}, {TerminalError})
        if common and self.desired.decision.wanted not in members.values():
            raise errors[-1]


async def _members(
    session: Session, images: tuple[str, ...]
) -> Mapping[str, Membership | CloudError]:
    """Read memberships of a part of the images: an error of all of them is of this part only."""
    if not images:
        return {}
    try:
        return await session.members(images, timedelta())
    except CloudError as exc:
        return dict.fromkeys(images, exc)


def _is_outage(error: CloudError) -> bool:
    """Whether an error is not about the image of the request."""
    return isinstance(error, RetryableError) and not isinstance(error, RefusedForNowError)


def _in_millis(time: datetime) -> datetime:
    """With the precision of the status."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _without(batch: InDoubtBatch | None, images: tuple[str, ...]) -> InDoubtBatch | None:
    """The batch with unknown outcome without the images that a newer batch carries."""
    if batch is None:
        return None
    left = tuple(image for image in batch.images if image not in images)
    return replace(batch, images=left) if left else None


def _with_members(
    rows: tuple[ImageStatus, ...], members: Mapping[str, Membership]
) -> tuple[ImageStatus, ...]:
    """The rows; those of the images that were set say so, which `removalPolicy` needs later."""
    shared = {i: one for i, one in members.items() if one is not Membership.NOT_SHARED}
    known = {row.id for row in rows}
    return (
        *(
            replace(row, membership=shared[row.id], job_id=NO_JOB) if row.id in shared else row
            for row in rows
        ),
        *(
            ImageStatus(id=image, membership=one, job_id=NO_JOB)
            for image, one in shared.items()
            if image not in known
        ),
    )


def _with_job(
    rows: tuple[ImageStatus, ...], images: tuple[str, ...], job: Job
) -> tuple[ImageStatus, ...]:
    """The rows; those of the batch name its job."""
    batch = frozenset(images)
    return tuple(
        replace(row, job_id=job.id, message=None) if row.id in batch else row for row in rows
    )
