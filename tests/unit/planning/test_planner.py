"""The ladder of decisions, row by row: what is known, and what is done next."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from drive import IMAGES, PROJECT, START

from image_share_operator.api.errors import ImagesRefusedError
from image_share_operator.api.jobs import NO_PEERS, BatchPeers, RetryGroup
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    REGIONS,
    Condition,
    ConditionType,
    Decision,
    Desired,
    ImageStatus,
    InDoubtBatch,
    Job,
    JobState,
    Membership,
    Status,
)
from image_share_operator.planning import planner
from image_share_operator.planning.model import (
    ImageState,
    Observation,
    PollJob,
    ReadMemberships,
    Report,
    RuntimeState,
    Step,
    Submit,
)
from image_share_operator.planning.requeue import Policy

A, B, C, D = IMAGES[:4]
PENDING, ACCEPTED, REJECTED = Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED
ABSENT, UNKNOWN = Membership.NOT_SHARED, Membership.UNKNOWN
SECOND = timedelta(seconds=1)
POLICY = Policy(batch_images=50)
GENERATION = 2


def desired(*images: str, **changes: object) -> Desired:
    asked = Desired(
        generation=GENERATION,
        images=images or (A,),
        project_id=PROJECT,
        decision=Decision.ACCEPT,
        vault_id=None,
        secret_name="otc",
        endpoints=REGIONS["eu-de"],
    )
    return replace(asked, **changes)  # type: ignore[arg-type]  # field names come with the table


def job(state: JobState, **changes: object) -> Job:
    sent = Job(
        id="j1",
        generation=GENERATION,
        decision=Decision.ACCEPT,
        state=state,
        submitted_at=START,
    )
    return replace(sent, **changes)  # type: ignore[arg-type]  # field names come with the table


def row(
    image: str = A,
    membership: Membership = PENDING,
    job_id: str | None = "j1",
    message: str | None = None,
) -> ImageStatus:
    return ImageStatus(id=image, membership=membership, job_id=job_id, message=message)


def known(
    latest: Job | None = None,
    *rows: ImageStatus,
    generation: int = GENERATION,
    ready: str = "False",
) -> Status:
    condition = Condition(
        type=ConditionType.READY,
        status=ready,
        reason=Reason.JOB_RUNNING,
        message="said before",
        observed_generation=generation,
        last_transition_time=START,
    )
    return Status(observed_generation=generation, conditions=(condition,), job=latest, images=rows)


def remembered(**facts: object) -> RuntimeState:
    """What the process knows; by default, the job carried no images of other resources."""
    return replace(RuntimeState(batch_peers=NO_PEERS), **facts)  # type: ignore[arg-type]  # field names come with the table


NOTHING = remembered()
REFUSED = ImagesRefusedError("IMG.0027")
BATCH = InDoubtBatch(decision=Decision.ACCEPT, images=(A,), since=START, until=START + POLICY.lag)
INIT, RUNNING = job(JobState.INIT), job(JobState.RUNNING)
SUCCESS, FAIL = job(JobState.SUCCESS), job(JobState.FAIL)
OLD, NEVER_SEEN = GENERATION - 1, Status()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is known when an image is judged; by default: it is pending, and nobody has acted."""

    want: ImageState
    member: Membership = PENDING
    status: Status = NEVER_SEEN
    runtime: RuntimeState = NOTHING
    observation: Mapping[str, object] = field(default_factory=dict[str, object])
    asked: Desired = field(default_factory=desired)
    after: timedelta = SECOND


LATE = POLICY.lag + SECOND
CARRIED = remembered(settled_at=START)
GOING = desired(decision=Decision.REJECT, being_deleted=True)
UNREAD: Mapping[str, object] = {"members": {}, "unreadable": {A: REFUSED}}
JUDGED = {
    # what the cloud does not show
    "an image that cannot be read is unreadable": Case(
        member=UNKNOWN, observation=UNREAD, want=ImageState.UNREADABLE
    ),
    "an image of a batch in doubt stays in doubt when it cannot be read": Case(
        member=UNKNOWN,
        status=replace(known(None, row(job_id=None)), unanswered=BATCH),
        observation=UNREAD,
        want=ImageState.IN_DOUBT,
    ),
    "an image of a batch that is in doubt no longer is unreadable": Case(
        member=UNKNOWN,
        status=replace(known(None, row(job_id=None)), unanswered=BATCH),
        observation=UNREAD,
        after=LATE,
        want=ImageState.UNREADABLE,
    ),
    "an image that could not be read may still show what its job did": Case(
        status=known(SUCCESS, row(membership=UNKNOWN, message="unreadable")),
        runtime=remembered(settled_at=START, retry_at=START),
        want=ImageState.SETTLING,
    ),
    "an image that could not be read and was never sent is missing": Case(
        status=known(None, row(membership=UNKNOWN, job_id=None, message="unreadable")),
        want=ImageState.TO_SUBMIT,
    ),
    # what the cloud shows
    "an image that is as wanted is done": Case(member=ACCEPTED, want=ImageState.DONE),
    "an image without a share waits for its owner": Case(member=ABSENT, want=ImageState.NOT_SHARED),
    "an image that is pending and was never sent is missing": Case(want=ImageState.TO_SUBMIT),
    "an image that is rejected and was never sent is missing": Case(
        member=REJECTED, want=ImageState.TO_SUBMIT
    ),
    "a resource that goes has nothing to reject where nothing is shared": Case(
        member=ABSENT,
        asked=desired(decision=Decision.REJECT, being_deleted=True),
        want=ImageState.DONE,
    ),
    "no share comes before a refusal": Case(
        member=ABSENT, observation={"refused": {A: REFUSED}}, want=ImageState.NOT_SHARED
    ),
    "no share comes before the other order": Case(
        member=ABSENT,
        status=known(replace(SUCCESS, decision=Decision.REJECT), row()),
        want=ImageState.NOT_SHARED,
    ),
    # the other order
    "what the latest job was told to undo is sent, however it looks": Case(
        member=ACCEPTED,
        status=known(replace(SUCCESS, decision=Decision.REJECT, generation=OLD), row()),
        want=ImageState.TO_SUBMIT,
    ),
    "what a job was told to undo is sent, as long as that may show": Case(
        member=ACCEPTED,
        status=known(replace(SUCCESS, decision=Decision.REJECT, generation=OLD), row()),
        runtime=CARRIED,
        after=POLICY.lag - SECOND,
        want=ImageState.TO_SUBMIT,
    ),
    "what a job was told to undo and somebody did is done": Case(
        member=ACCEPTED,
        status=known(replace(SUCCESS, decision=Decision.REJECT, generation=OLD), row()),
        runtime=CARRIED,
        after=LATE,
        want=ImageState.DONE,
    ),
    "what a stuck job may still undo is sent, however it looks": Case(
        member=ACCEPTED,
        status=known(replace(RUNNING, decision=Decision.REJECT, generation=OLD), row()),
        after=LATE,
        want=ImageState.TO_SUBMIT,
    ),
    "another job's order does not matter": Case(
        member=ACCEPTED,
        status=known(replace(SUCCESS, decision=Decision.REJECT), row(job_id="j0")),
        want=ImageState.DONE,
    ),
    # a refusal in this pass
    "an image whose own PUT was refused has failed": Case(
        observation={"refused": {A: REFUSED}}, want=ImageState.FAILED
    ),
    "an image that is as wanted is done, refused or not": Case(
        member=ACCEPTED, observation={"refused": {A: REFUSED}}, want=ImageState.DONE
    ),
    "a refusal comes before drift": Case(
        member=REJECTED,
        status=known(SUCCESS, row(membership=ACCEPTED)),
        observation={"refused": {A: REFUSED}},
        want=ImageState.FAILED,
    ),
    "a refusal of what a job was told to undo is final, however the image looks": Case(
        member=ACCEPTED,
        status=known(replace(SUCCESS, decision=Decision.REJECT, generation=OLD), row()),
        observation={"refused": {A: REFUSED}},
        want=ImageState.FAILED,
    ),
    "a refusal comes before a retry that is due": Case(
        observation={"refused": {A: REFUSED}},
        runtime=remembered(retry_at=START),
        want=ImageState.FAILED,
    ),
    # drift
    "an image that was seen as wanted and is not any more has drifted": Case(
        member=REJECTED, status=known(SUCCESS, row(membership=ACCEPTED)), want=ImageState.DRIFTED
    ),
    "drift comes before an older failure": Case(
        member=REJECTED,
        status=known(FAIL, row(membership=ACCEPTED, message="failed")),
        want=ImageState.DRIFTED,
    ),
    "a share that was withdrawn and came back was never sent": Case(
        status=known(SUCCESS, row(membership=ABSENT, message="not shared")),
        runtime=CARRIED,
        after=LATE,
        want=ImageState.TO_SUBMIT,
    ),
    # what failed before
    "an image that failed for this spec stays failed": Case(
        status=known(FAIL, row(message="failed", job_id="j0")), want=ImageState.FAILED
    ),
    "an image that failed for an older spec is tried again": Case(
        status=known(
            replace(FAIL, generation=OLD), row(message="failed", job_id="j0"), generation=OLD
        ),
        want=ImageState.TO_SUBMIT,
    ),
    "a failed image is missing from the moment its retry is due": Case(
        status=known(FAIL, row(message="failed")),
        runtime=remembered(retry_at=START + SECOND),
        want=ImageState.TO_SUBMIT,
    ),
    "a failed image waits until its retry is due": Case(
        status=known(FAIL, row(message="failed")),
        runtime=remembered(retry_at=START + 2 * SECOND),
        want=ImageState.FAILED,
    ),
    # the latest job
    "an image that the latest job did not carry is missing": Case(
        status=known(SUCCESS, row(job_id="j0")), runtime=CARRIED, want=ImageState.TO_SUBMIT
    ),
    "an image of a stuck job of an older spec is missing": Case(
        status=known(replace(RUNNING, generation=OLD), row()), want=ImageState.TO_SUBMIT
    ),
    "an image whose job has just succeeded may show later, retry or not": Case(
        status=known(SUCCESS, row()),
        runtime=remembered(settled_at=START, retry_at=START),
        want=ImageState.SETTLING,
    ),
    "an image that the job named as failed is tried again when it is time": Case(
        status=known(SUCCESS, row()),
        runtime=remembered(settled_at=START, retry_at=START, failed_rows={A: "odd"}),
        want=ImageState.TO_SUBMIT,
    ),
    "an image that is known to have failed does not settle again after a restart": Case(
        status=known(SUCCESS, row(message="failed")), runtime=CARRIED, want=ImageState.FAILED
    ),
    "an image whose job has just succeeded may show later": Case(
        status=known(SUCCESS, row()), runtime=CARRIED, want=ImageState.SETTLING
    ),
    "the lag is waited for to its last moment": Case(
        status=known(SUCCESS, row()),
        runtime=CARRIED,
        after=POLICY.lag - timedelta(microseconds=1),
        want=ImageState.SETTLING,
    ),
    "an image whose job succeeded and that never showed has failed": Case(
        status=known(SUCCESS, row()), runtime=CARRIED, after=POLICY.lag, want=ImageState.FAILED
    ),
    "an image that never showed is sent again when the spec has changed": Case(
        status=known(replace(SUCCESS, generation=OLD), row(), generation=OLD),
        runtime=CARRIED,
        after=LATE,
        want=ImageState.TO_SUBMIT,
    ),
    "an image that a successful job names as failed has failed at once": Case(
        status=known(SUCCESS, row()),
        runtime=remembered(settled_at=START, failed_rows={A: "FAIL"}),
        want=ImageState.FAILED,
    ),
    "an image that a failed job names has failed": Case(
        status=known(FAIL, row()),
        runtime=remembered(failed_rows={A: "FAIL"}),
        want=ImageState.FAILED,
    ),
    "an image of a failed job that names others is missing": Case(
        status=known(FAIL, row()),
        runtime=remembered(batch_peers=BatchPeers(shared=True, named=True)),
        want=ImageState.TO_SUBMIT,
    ),
    "the only image of a failed job that names none has failed": Case(
        status=known(FAIL, row()), want=ImageState.FAILED
    ),
    "the only image of a failed job that carried others' too is suspect": Case(
        status=known(FAIL, row()),
        runtime=remembered(batch_peers=BatchPeers()),
        want=ImageState.CANDIDATE,
    ),
    "an image of a shared job that may fail only for now has failed for now": Case(
        status=known(FAIL, row()),
        observation={"retryable": True},
        runtime=remembered(batch_peers=BatchPeers(), tries=5),
        want=ImageState.FAILED,
    ),
    "an image of a shared job that should have passed by now is suspect": Case(
        status=known(FAIL, row()),
        observation={"retryable": True},
        runtime=remembered(batch_peers=BatchPeers(), tries=6),
        want=ImageState.CANDIDATE,
    ),
    "an image of a failed job of an older spec is missing": Case(
        status=known(replace(FAIL, generation=OLD), row(), generation=OLD),
        want=ImageState.TO_SUBMIT,
    ),
    "an image that is as wanted is done, whatever its job says": Case(
        member=ACCEPTED, status=known(FAIL, row()), want=ImageState.DONE
    ),
    # a job that the cloud does not know
    "an image whose job vanished has failed": Case(
        status=known(RUNNING, row()), observation={"job_unknown": True}, want=ImageState.FAILED
    ),
    "an image whose job of an older spec vanished is missing": Case(
        status=known(replace(RUNNING, generation=OLD), row(), generation=OLD),
        observation={"job_unknown": True},
        want=ImageState.TO_SUBMIT,
    ),
    "an image that a vanished job did not carry is missing": Case(
        status=known(RUNNING, row(job_id="j0")),
        observation={"job_unknown": True},
        want=ImageState.TO_SUBMIT,
    ),
}


def given(case: Case) -> Observation:
    observation = Observation(runtime=case.runtime, status=case.status, members={A: case.member})
    return replace(observation, **case.observation)  # type: ignore[arg-type]  # field names come with the table


@pytest.mark.parametrize("case", JUDGED.values(), ids=JUDGED.keys())
def test_judge_says_where_an_image_stands(case: Case) -> None:
    (verdict,) = planner.image_verdicts(case.asked, given(case), START + case.after, POLICY)

    assert verdict.state is case.want
    assert verdict.membership is case.member


def test_judge_keeps_the_order_of_the_spec() -> None:
    observation = Observation(
        runtime=NOTHING, status=NEVER_SEEN, members={A: PENDING, B: ACCEPTED, C: ABSENT}
    )

    verdicts = planner.image_verdicts(desired(C, A, B), observation, START, POLICY)

    assert [v.image for v in verdicts] == [C, A, B]
    assert [v.state for v in verdicts] == [
        ImageState.NOT_SHARED,
        ImageState.TO_SUBMIT,
        ImageState.DONE,
    ]


def test_judge_takes_an_image_that_nobody_looked_at_as_not_shared() -> None:
    (verdict,) = planner.image_verdicts(
        desired(), Observation(runtime=NOTHING, status=NEVER_SEEN, members={}), START, POLICY
    )

    assert verdict.state is ImageState.NOT_SHARED


@pytest.mark.parametrize(
    ("divisible", "state"),
    [(True, ImageState.CANDIDATE), (False, ImageState.FAILED)],
    ids=["are suspects where a smaller batch may do", "have failed where it may not"],
)
def test_judge_several_images_of_a_failed_job_that_names_none(
    *, divisible: bool, state: ImageState
) -> None:
    observation = Observation(
        runtime=NOTHING,
        status=known(FAIL, row(A), row(B)),
        members={A: PENDING, B: PENDING},
        divisible=divisible,
    )

    verdicts = planner.image_verdicts(desired(A, B), observation, START, POLICY)

    assert [v.state for v in verdicts] == [state, state]


def test_judge_tells_what_a_failed_job_said() -> None:
    told = replace(FAIL, error_code="IMG.0098", fail_reason="broken")
    observation = Observation(
        runtime=remembered(failed_rows={A: "FAIL"}),
        status=known(told, row()),
        members={A: PENDING},
    )

    (verdict,) = planner.image_verdicts(desired(), observation, START, POLICY)

    assert verdict.message == "job j1 failed: IMG.0098 broken FAIL"


@dataclass(frozen=True, kw_only=True)
class Next:
    """Facts and the step that they lead to."""

    want: Step | type[Report] | Reason
    status: Status = NEVER_SEEN
    runtime: RuntimeState = NOTHING
    observation: Mapping[str, object] = field(default_factory=dict[str, object])
    asked: Desired = field(default_factory=desired)
    after: timedelta = SECOND


TIMEOUT = desired().timeout
SEEN = {"members": {A: PENDING}}
ASKED = {"job_asked": True}
STEPS = {
    "suspension comes before everything": Next(
        asked=desired(suspend=True), status=known(RUNNING, row()), want=Reason.JOB_RUNNING
    ),
    "a job that has not settled is asked for first": Next(
        status=known(RUNNING, row()), want=PollJob(RUNNING)
    ),
    "a job is asked for before its memberships are looked at": Next(
        status=known(INIT, row()), observation=SEEN, want=PollJob(INIT)
    ),
    "a job of an older spec is asked for, too": Next(
        status=known(replace(RUNNING, generation=OLD), row(), generation=OLD),
        want=PollJob(replace(RUNNING, generation=OLD)),
    ),
    "a job past its timeout is asked for, too": Next(
        status=known(RUNNING, row()), after=2 * TIMEOUT, want=PollJob(RUNNING)
    ),
    "a settled job is not asked for again": Next(
        status=known(SUCCESS, row()), want=ReadMemberships((A,))
    ),
    "a running job is waited for": Next(
        status=known(RUNNING, row()), observation=ASKED, want=Reason.JOB_RUNNING
    ),
    "a running job of an older spec is waited for, too": Next(
        status=known(replace(RUNNING, generation=OLD), row(), generation=OLD),
        observation={**ASKED, **SEEN},
        want=Reason.JOB_RUNNING,
    ),
    "a running job is waited for to the last moment of its timeout": Next(
        status=known(RUNNING, row()),
        observation=ASKED,
        after=TIMEOUT - timedelta(microseconds=1),
        want=Reason.JOB_RUNNING,
    ),
    "an overdue job is not believed before its memberships were looked at": Next(
        status=known(RUNNING, row()), observation=ASKED, after=TIMEOUT, want=ReadMemberships((A,))
    ),
    "an overdue job is reported": Next(
        status=known(RUNNING, row()),
        observation={**ASKED, **SEEN},
        after=TIMEOUT,
        want=Reason.JOB_TIMEOUT,
    ),
    "an overdue job whose images are as wanted is good enough": Next(
        status=known(RUNNING, row()),
        observation={**ASKED, "members": {A: ACCEPTED}},
        after=TIMEOUT,
        want=Reason.ACCEPTED,
    ),
    "an overdue job of a resource that goes is waited for": Next(
        asked=GOING,
        status=known(replace(RUNNING, decision=Decision.REJECT), row()),
        observation={**ASKED, "members": {A: PENDING}},
        after=TIMEOUT,
        want=Reason.JOB_TIMEOUT,
    ),
    "an overdue job of an older spec is history": Next(
        status=known(replace(RUNNING, generation=OLD), row(), generation=OLD),
        observation={**ASKED, **SEEN},
        after=TIMEOUT,
        want=Submit(images=(A,), verdicts=()),
    ),
    "a job that the cloud does not know is not asked for again": Next(
        status=known(RUNNING, row()), observation={"job_unknown": True}, want=ReadMemberships((A,))
    ),
    "memberships are looked at before anything is sent": Next(want=ReadMemberships((A,))),
    "what is missing is sent": Next(observation=SEEN, want=Submit(images=(A,), verdicts=())),
    "where all is as wanted nothing is sent": Next(
        observation={"members": {A: ACCEPTED}}, want=Reason.ACCEPTED
    ),
    "what is rejected as wanted is Rejected": Next(
        asked=desired(decision=Decision.REJECT),
        observation={"members": {A: REJECTED}},
        want=Reason.REJECTED,
    ),
    "a share that is not there is waited for": Next(
        observation={"members": {A: ABSENT}}, want=Reason.NOT_SHARED
    ),
    "a membership that may still show is waited for": Next(
        status=known(SUCCESS, row()), observation=SEEN, runtime=CARRIED, want=Reason.JOB_RUNNING
    ),
    "what failed as a whole stalls": Next(
        status=known(FAIL, row()), observation=SEEN, want=Reason.INVALID_REQUEST
    ),
    "what failed and may pass by itself is the cloud's trouble": Next(
        status=known(FAIL, row()),
        observation={**SEEN, "retryable": True},
        want=Reason.CLOUD_UNAVAILABLE,
    ),
    "what failed in part is told in part": Next(
        asked=desired(A, B),
        status=known(FAIL, row()),
        observation={"members": {A: PENDING, B: ACCEPTED}},
        want=Reason.PARTIALLY_FAILED,
    ),
    "a failure comes before a share that is not there": Next(
        asked=desired(A, B),
        status=known(FAIL, row()),
        observation={"members": {A: PENDING, B: ABSENT}},
        want=Reason.PARTIALLY_FAILED,
    ),
    "what may still show comes before a failure": Next(
        asked=desired(A, B),
        status=known(SUCCESS, row(), row(B, message="failed", job_id="j0")),
        observation={"members": {A: PENDING, B: PENDING}},
        runtime=CARRIED,
        want=Reason.JOB_RUNNING,
    ),
}


@pytest.mark.parametrize("case", STEPS.values(), ids=STEPS.keys())
def test_next_step(case: Next) -> None:
    observation = Observation(runtime=case.runtime, status=case.status)
    observation = replace(observation, **case.observation)  # type: ignore[arg-type]  # names come with the table

    step = planner.next_step(case.asked, observation, START + case.after, POLICY)

    match step:
        case Report():
            assert step.ready_summary.reason is case.want
        case Submit():
            assert isinstance(case.want, Submit)
            assert step.images == case.want.images
        case _:
            assert step == case.want


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Memberships, rows and what the next PUT carries of them."""

    want: tuple[str, ...]
    asked: tuple[str, ...] = (A, B, C, D)
    status: Status = NEVER_SEEN
    members: Mapping[str, Membership] = field(default_factory=dict[str, Membership])
    runtime: RuntimeState = NOTHING
    observation: Mapping[str, object] = field(default_factory=dict[str, object])
    limit: int = 50


BATCHES = {
    "what is missing goes in the order of the spec": Batch(asked=(C, A, B), want=(C, A, B)),
    "what is done is left out": Batch(members={B: ACCEPTED}, want=(A, C, D)),
    "what is not shared is left out": Batch(members={A: ABSENT}, want=(B, C, D)),
    "a batch is no larger than the limit": Batch(limit=3, want=(A, B, C)),
    "what drifted goes with what is missing": Batch(
        status=known(SUCCESS, row(A, ACCEPTED)),
        members={A: REJECTED},
        runtime=remembered(settled_at=START - LATE),
        want=(A, B, C, D),
    ),
    "what failed stays behind": Batch(
        status=known(FAIL, row(A, message="failed", job_id="j0")), want=(B, C, D)
    ),
    "nothing is sent while something may still show": Batch(
        status=known(SUCCESS, row(A)), runtime=CARRIED, want=()
    ),
    "several suspects are halved": Batch(status=known(FAIL, *map(row, (A, B, C, D))), want=(A, B)),
    "of three suspects one goes": Batch(
        asked=(A, B, C), status=known(FAIL, *map(row, (A, B, C))), want=(A,)
    ),
    "suspects come before what is missing": Batch(status=known(FAIL, row(C), row(D)), want=(C,)),
    "half of the suspects may be more than the limit": Batch(
        status=known(FAIL, *map(row, (A, B, C, D))), limit=1, want=(A,)
    ),
    "what is left over from a failed job is not mixed with others": Batch(
        status=known(SUCCESS, row(A, job_id="j0"), row(B, job_id="j0")),
        runtime=CARRIED,
        want=(A, B),
    ),
    "leftovers of two failed jobs are not mixed": Batch(
        asked=(A, B, C),
        status=known(SUCCESS, row(A, job_id="j0"), row(B, job_id="j9"), row(C, job_id="j0")),
        runtime=CARRIED,
        want=(A, C),
    ),
    "leftovers of an older spec are sent together": Batch(
        asked=(A, B),
        status=known(SUCCESS, row(A, job_id="j0"), row(B, job_id="j9"), generation=OLD),
        runtime=CARRIED,
        want=(A, B),
    ),
    "what may pass is not halved at first": Batch(
        asked=(A, B), status=known(FAIL, row(A), row(B)), observation={"retryable": True}, want=()
    ),
    "what failed for now is tried again before anything else is sent": Batch(
        asked=(A, B, C),
        status=known(FAIL, row(A), row(B)),
        observation={"retryable": True},
        want=(),
    ),
    "what failed for now goes first when it is time": Batch(
        asked=(A, B, C),
        status=known(FAIL, row(B, message="failed"), row(C, message="failed")),
        observation={"retryable": True},
        runtime=remembered(retry_at=START),
        want=(B, C),
    ),
    "what a job names as failed for now keeps nothing back": Batch(
        asked=(A, B),
        status=known(FAIL, row(A)),
        observation={"retryable": True},
        runtime=remembered(failed_rows={A: "FAIL"}, batch_peers=BatchPeers(named=True)),
        want=(B,),
    ),
    "what should have passed by now is halved": Batch(
        asked=(A, B),
        status=known(FAIL, row(A), row(B)),
        observation={"retryable": True},
        runtime=remembered(tries=6),
        want=(A,),
    ),
    "where a smaller batch does not help nothing is sent": Batch(
        asked=(A, B), status=known(FAIL, row(A), row(B)), observation={"divisible": False}, want=()
    ),
}


@pytest.mark.parametrize("case", BATCHES.values(), ids=BATCHES.keys())
def test_a_batch_carries(case: Batch) -> None:
    members = {**dict.fromkeys(case.asked, PENDING), **case.members}
    observation = Observation(
        runtime=case.runtime, status=case.status, members=members, batch_limit=case.limit
    )
    observation = replace(observation, **case.observation)  # type: ignore[arg-type]  # names come with the table

    step = planner.next_step(desired(*case.asked), observation, START + SECOND, POLICY)

    assert (step.images if isinstance(step, Submit) else ()) == case.want


@pytest.mark.parametrize("observation", [{"retryable": True}, {}], ids=["soon", "late"])
def test_all_whom_a_failed_job_carried_come_back_at_the_same_time(
    observation: Mapping[str, object],
) -> None:
    def retry_at(job_id: str, jitter: float) -> object:
        failed = known(replace(FAIL, id=job_id), row(job_id=job_id))
        one = Observation(runtime=NOTHING, status=failed, members={A: PENDING}, jitter=jitter)
        one = replace(one, **observation)  # type: ignore[arg-type]  # names come with the table
        step = planner.next_step(desired(), one, START + SECOND, POLICY)
        assert isinstance(step, Report)
        return step.retry_at

    assert retry_at("j1", 0.1) == retry_at("j1", 0.9)
    assert retry_at("j1", 0.1) != retry_at("j2", 0.1)


def test_a_batch_that_is_tried_again_says_so() -> None:
    rows = row(A, message="failed"), row(B, message="failed")
    observation = Observation(
        runtime=remembered(retry_at=START),
        status=known(FAIL, *rows),
        members={A: PENDING, B: PENDING},
    )

    step = planner.next_step(desired(A, B), observation, START, POLICY)

    assert isinstance(step, Submit)
    assert step.retry_group == RetryGroup(job_id="j1", candidate=False, retry=True)


def test_a_batch_tells_which_of_its_images_drifted() -> None:
    observation = Observation(
        runtime=NOTHING, status=known(SUCCESS, row(A, ACCEPTED)), members={A: REJECTED, B: PENDING}
    )

    step = planner.next_step(desired(A, B), observation, START, POLICY)

    assert isinstance(step, Submit)
    assert step.drifted == (A,)


def test_a_resource_that_goes_may_go_when_nothing_is_left_to_reject() -> None:
    going = desired(A, B, decision=Decision.REJECT, being_deleted=True)
    observation = Observation(runtime=NOTHING, status=NEVER_SEEN, members={A: REJECTED, B: ABSENT})

    step = planner.next_step(going, observation, START, POLICY)

    assert isinstance(step, Report)
    assert step.finished


@pytest.mark.parametrize(
    ("other", "finished"), [(REJECTED, True), (ABSENT, True), (PENDING, False)]
)
def test_a_resource_that_goes_needs_no_end_of_a_job_that_is_overdue(
    other: Membership, *, finished: bool
) -> None:
    """The memberships tell that it is done, or that it is not."""
    going = desired(A, B, decision=Decision.REJECT, being_deleted=True)
    stuck = known(replace(RUNNING, decision=Decision.REJECT), row(), row(B))
    observation = Observation(
        runtime=NOTHING, status=stuck, members={A: REJECTED, B: other}, job_asked=True
    )

    step = planner.next_step(going, observation, START + TIMEOUT, POLICY)

    assert isinstance(step, Report)
    assert step.finished is finished
