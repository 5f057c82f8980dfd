"""The planner, row by row: the facts, and the state or the step that follows from them."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import timedelta

import pytest
from drive import IMAGES, PROJECT, START

from image_share_operator.api.errors import ImagesRefusedError
from image_share_operator.api.jobs import BatchPeers, RetryGroup
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
    SecretRef,
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
        credentials=SecretRef(name="otc"),
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
    return replace(RuntimeState(batch_peers=BatchPeers(shared=False)), **facts)  # type: ignore[arg-type]  # field names come with the table


NOTHING = remembered()
REFUSED = ImagesRefusedError("IMG.0027")
BATCH = InDoubtBatch(decision=Decision.ACCEPT, images=(A,), since=START, until=START + POLICY.lag)
INIT, RUNNING = job(JobState.INIT), job(JobState.RUNNING)
SUCCESS, FAIL = job(JobState.SUCCESS), job(JobState.FAIL)
OLD, NEVER_SEEN = GENERATION - 1, Status()
OLD_RUNNING, OLD_FAIL = replace(RUNNING, generation=OLD), replace(FAIL, generation=OLD)
REJECTING = replace(RUNNING, decision=Decision.REJECT)
OPPOSITE = replace(SUCCESS, decision=Decision.REJECT, generation=OLD)
"""The job of an older spec that wanted the other decision."""
LATE = POLICY.lag + SECOND
CARRIED = remembered(settled_at=START)
RETRY_IS_DUE = remembered(retry_at=START)
NAMED = remembered(failed_rows={A: "FAIL"})
SHARED_JOB = remembered(batch_peers=BatchPeers())
DELETED = desired(decision=Decision.REJECT, being_deleted=True)
DONE, FAILED, TO_SUBMIT = ImageState.DONE, ImageState.FAILED, ImageState.TO_SUBMIT
SETTLING, CANDIDATE = ImageState.SETTLING, ImageState.CANDIDATE
NOT_SHARED, UNREADABLE = ImageState.NOT_SHARED, ImageState.UNREADABLE
TIMEOUT = desired().timeout
TICK = timedelta(microseconds=1)
Facts = Mapping[str, object]
"""Fields of an `Observation`."""
NO_FACTS: Facts = {}
IS_REFUSED: Facts = {"refused": {A: REFUSED}}
IS_UNREADABLE: Facts = {"members": {}, "unreadable": {A: REFUSED}}
JOB_UNKNOWN: Facts = {"job_unknown": True}
TRANSIENT: Facts = {"retryable": True}


def observe(status: Status, runtime: RuntimeState, *facts: Facts, **members: object) -> Observation:
    observation = Observation(runtime=runtime, status=status)
    for more in (members, *facts):
        observation = replace(observation, **more)  # type: ignore[arg-type]  # names come with the table
    return observation


@dataclass(frozen=True)
class Case:
    """The state of one image; by default, it is pending, and no client changed it."""

    want: ImageState
    status: Status = NEVER_SEEN
    runtime: RuntimeState = NOTHING
    _: KW_ONLY
    member: Membership = PENDING
    facts: Facts = field(default_factory=dict[str, object])
    asked: Desired = field(default_factory=desired)
    after: timedelta = SECOND


IN_DOUBT = replace(known(None, row(job_id=None)), unanswered=BATCH)
OPPOSED = replace(BATCH, decision=Decision.REJECT)
WAS_UNREADABLE = row(membership=UNKNOWN, message="unreadable")
WAS_ACCEPTED, HAS_FAILED = row(membership=ACCEPTED), row(message="failed")
FAILED_BEFORE = row(message="failed", job_id="j0")
OF_OLD_SPEC = known(OLD_FAIL, FAILED_BEFORE, generation=OLD)
NEVER_SENT = replace(WAS_UNREADABLE, job_id=None)
NAMED_OTHERS = remembered(batch_peers=BatchPeers(shared=True, named=True))
ODD_ROW = remembered(settled_at=START, retry_at=START, failed_rows={A: "odd"})
OF_SPEC_BEFORE = known(replace(SUCCESS, generation=OLD), row(), generation=OLD)
PAST_TIMEOUT = row(message="job j0 did not end within spec.timeout of 10m", job_id="j0")
JUDGED = {
    # unreadable
    "unreadable": Case(UNREADABLE, member=UNKNOWN, facts=IS_UNREADABLE),
    "unreadable, in doubt": Case(
        ImageState.IN_DOUBT, IN_DOUBT, member=UNKNOWN, facts=IS_UNREADABLE
    ),
    "unreadable, no longer in doubt": Case(
        UNREADABLE, IN_DOUBT, member=UNKNOWN, facts=IS_UNREADABLE, after=LATE
    ),
    "was unreadable, settling": Case(
        SETTLING, known(SUCCESS, WAS_UNREADABLE), remembered(settled_at=START, retry_at=START)
    ),
    "was unreadable, never sent": Case(TO_SUBMIT, known(None, NEVER_SENT)),
    # a batch with unknown outcome
    "in doubt": Case(ImageState.IN_DOUBT, IN_DOUBT),
    "in doubt, accepted": Case(DONE, IN_DOUBT, member=ACCEPTED),
    "in doubt, too late": Case(TO_SUBMIT, IN_DOUBT, after=LATE),
    "in doubt, opposite, new": Case(ImageState.IN_DOUBT, replace(NEVER_SEEN, unanswered=OPPOSED)),
    "in doubt, opposite, as before": Case(
        ImageState.IN_DOUBT,
        replace(known(None, row(membership=REJECTED)), unanswered=OPPOSED),
        member=REJECTED,
    ),
    "in doubt, opposite, took effect": Case(
        TO_SUBMIT, replace(known(None, row(job_id=None)), unanswered=OPPOSED), member=REJECTED
    ),
    # memberships
    "accepted": Case(DONE, member=ACCEPTED),
    "not shared": Case(NOT_SHARED, member=ABSENT),
    "pending": Case(TO_SUBMIT),
    "rejected": Case(TO_SUBMIT, member=REJECTED),
    "not shared, being deleted": Case(DONE, member=ABSENT, asked=DELETED),
    "not shared before refused": Case(NOT_SHARED, member=ABSENT, facts=IS_REFUSED),
    "not shared before the opposite": Case(
        NOT_SHARED, known(replace(SUCCESS, decision=Decision.REJECT), row()), member=ABSENT
    ),
    # the opposite decision
    "opposite": Case(TO_SUBMIT, known(OPPOSITE, row()), member=ACCEPTED),
    "opposite, within the lag": Case(
        TO_SUBMIT, known(OPPOSITE, row()), CARRIED, member=ACCEPTED, after=POLICY.lag - SECOND
    ),
    "opposite, after the lag": Case(
        DONE, known(OPPOSITE, row()), CARRIED, member=ACCEPTED, after=LATE
    ),
    "opposite, stuck": Case(
        TO_SUBMIT, known(replace(REJECTING, generation=OLD), row()), member=ACCEPTED, after=LATE
    ),
    "opposite of another job": Case(
        DONE, known(replace(SUCCESS, decision=Decision.REJECT), row(job_id="j0")), member=ACCEPTED
    ),
    # refused
    "refused": Case(FAILED, facts=IS_REFUSED),
    "refused but accepted": Case(DONE, member=ACCEPTED, facts=IS_REFUSED),
    "refused before drift": Case(
        FAILED, known(SUCCESS, WAS_ACCEPTED), member=REJECTED, facts=IS_REFUSED
    ),
    "refused opposite": Case(FAILED, known(OPPOSITE, row()), member=ACCEPTED, facts=IS_REFUSED),
    "refused before a due retry": Case(FAILED, NEVER_SEEN, RETRY_IS_DUE, facts=IS_REFUSED),
    # drift
    "drift": Case(ImageState.DRIFTED, known(SUCCESS, WAS_ACCEPTED), member=REJECTED),
    "drift before an older failure": Case(
        ImageState.DRIFTED, known(FAIL, replace(WAS_ACCEPTED, message="failed")), member=REJECTED
    ),
    "withdrawn and shared again": Case(
        TO_SUBMIT, known(SUCCESS, row(membership=ABSENT, message="no")), CARRIED, after=LATE
    ),
    # failed before
    "failed": Case(FAILED, known(FAIL, FAILED_BEFORE)),
    "failed for an older spec": Case(TO_SUBMIT, OF_OLD_SPEC),
    "retry due": Case(TO_SUBMIT, known(FAIL, HAS_FAILED), remembered(retry_at=START + SECOND)),
    "retry not due": Case(FAILED, known(FAIL, HAS_FAILED), remembered(retry_at=START + 2 * SECOND)),
    # the latest job
    "not in the job": Case(TO_SUBMIT, known(SUCCESS, row(job_id="j0")), CARRIED),
    "stuck job of an older spec": Case(TO_SUBMIT, known(OLD_RUNNING, row())),
    "settling before a due retry": Case(
        SETTLING, known(SUCCESS, row()), remembered(settled_at=START, retry_at=START)
    ),
    "named by a successful job, retry due": Case(TO_SUBMIT, known(SUCCESS, row()), ODD_ROW),
    "failed before a restart": Case(FAILED, known(SUCCESS, HAS_FAILED), CARRIED),
    "settling": Case(SETTLING, known(SUCCESS, row()), CARRIED),
    "settling to the end": Case(SETTLING, known(SUCCESS, row()), CARRIED, after=POLICY.lag - TICK),
    "never visible": Case(FAILED, known(SUCCESS, row()), CARRIED, after=POLICY.lag),
    "never visible, older spec": Case(TO_SUBMIT, OF_SPEC_BEFORE, CARRIED, after=LATE),
    "named by a successful job": Case(
        FAILED, known(SUCCESS, row()), replace(NAMED, settled_at=START)
    ),
    "named by a failed job": Case(FAILED, known(FAIL, row()), NAMED),
    "failed job names others": Case(TO_SUBMIT, known(FAIL, row()), NAMED_OTHERS),
    "alone in a failed job": Case(FAILED, known(FAIL, row())),
    "in a shared failed job": Case(CANDIDATE, known(FAIL, row()), SHARED_JOB),
    "in a shared job, transient": Case(
        FAILED, known(FAIL, row()), replace(SHARED_JOB, tries=5), facts=TRANSIENT
    ),
    "in a shared job, transient for long": Case(
        CANDIDATE, known(FAIL, row()), replace(SHARED_JOB, tries=6), facts=TRANSIENT
    ),
    "failed job of an older spec": Case(TO_SUBMIT, known(OLD_FAIL, row(), generation=OLD)),
    "accepted although the job failed": Case(DONE, known(FAIL, row()), member=ACCEPTED),
    # a job past its timeout
    "job past its timeout": Case(ImageState.OVERDUE, known(RUNNING, row()), after=TIMEOUT),
    "job past its timeout, retry due": Case(
        ImageState.OVERDUE, known(RUNNING, row()), RETRY_IS_DUE, after=TIMEOUT
    ),
    "older job past its timeout": Case(ImageState.OVERDUE, known(SUCCESS, PAST_TIMEOUT)),
    "older job past its timeout, retry due": Case(
        ImageState.OVERDUE, known(SUCCESS, PAST_TIMEOUT), RETRY_IS_DUE
    ),
    "older job past its timeout, accepted": Case(
        DONE, known(SUCCESS, PAST_TIMEOUT), member=ACCEPTED
    ),
    "older job past its timeout of an older spec": Case(
        TO_SUBMIT, known(SUCCESS, PAST_TIMEOUT, generation=OLD)
    ),
    "the cloud names a timeout of another job": Case(
        FAILED, known(SUCCESS, replace(PAST_TIMEOUT, job_id="j9"))
    ),
    # a job that IMS does not know
    "unknown job": Case(FAILED, known(RUNNING, row()), facts=JOB_UNKNOWN),
    "unknown job of an older spec": Case(
        TO_SUBMIT, known(OLD_RUNNING, row(), generation=OLD), facts=JOB_UNKNOWN
    ),
    "not in the unknown job": Case(TO_SUBMIT, known(RUNNING, row(job_id="j0")), facts=JOB_UNKNOWN),
}


@pytest.mark.parametrize("case", JUDGED.values(), ids=JUDGED.keys())
def test_image_verdict_follows_from_the_facts(case: Case) -> None:
    observation = observe(case.status, case.runtime, case.facts, members={A: case.member})

    (verdict,) = planner.image_verdicts(case.asked, observation, START + case.after, POLICY)

    assert (verdict.state, verdict.membership) == (case.want, case.member)


def test_image_verdicts_have_the_order_of_the_spec() -> None:
    observation = observe(NEVER_SEEN, NOTHING, members={A: PENDING, B: ACCEPTED})

    verdicts = planner.image_verdicts(desired(C, A, B), observation, START, POLICY)

    assert [(v.image, v.state) for v in verdicts] == [
        (C, NOT_SHARED),  # it was not read
        (A, TO_SUBMIT),
        (B, DONE),
    ]


@pytest.mark.parametrize(("divisible", "state"), [(True, CANDIDATE), (False, FAILED)])
def test_images_of_a_failed_job_that_names_none_are_candidates_when_divisible(
    *, divisible: bool, state: ImageState
) -> None:
    members = {A: PENDING, B: PENDING}
    observation = observe(
        known(FAIL, row(A), row(B)), NOTHING, members=members, divisible=divisible
    )

    verdicts = planner.image_verdicts(desired(A, B), observation, START, POLICY)

    assert [v.state for v in verdicts] == [state, state]


def test_image_verdict_has_the_message_of_the_failed_job() -> None:
    failed = known(replace(FAIL, error_code="IMG.0098", fail_reason="broken"), row())

    (verdict,) = planner.image_verdicts(
        desired(), observe(failed, NAMED, members={A: PENDING}), START, POLICY
    )

    assert verdict.message == "job j1 failed: IMG.0098 broken FAIL"


@dataclass(frozen=True)
class Next:
    """Facts and the step that they lead to."""

    want: Step | Reason
    status: Status = NEVER_SEEN
    facts: Facts = field(default_factory=dict[str, object])
    _: KW_ONLY
    runtime: RuntimeState = NOTHING
    asked: Desired = field(default_factory=desired)
    after: timedelta = SECOND


SEEN: Facts = {"members": {A: PENDING}}
SEEN_ACCEPTED: Facts = {"members": {A: ACCEPTED}}
ASKED: Facts = {"job_asked": True}
READ, SUBMIT = ReadMemberships((A,)), Submit(desired=desired(), images=(A,), verdicts=())
RUNS, RUNS_OLD = known(RUNNING, row()), known(OLD_RUNNING, row(), generation=OLD)
SUCCEEDED, HAS_JOB_FAILED = known(SUCCESS, row()), known(FAIL, row())
BOTH_PENDING: Facts = {"members": {A: PENDING, B: PENDING}}
STEPS = {
    "suspended": Next(Reason.JOB_RUNNING, RUNS, asked=desired(suspend=True)),
    "suspended, as wanted, no job": Next(
        Reason.ACCEPTED, known(None, row(membership=ACCEPTED)), asked=desired(suspend=True)
    ),
    "running job": Next(PollJob(RUNNING), RUNS),
    "job before memberships": Next(PollJob(INIT), known(INIT, row()), SEEN),
    "running job of an older spec": Next(PollJob(OLD_RUNNING), RUNS_OLD),
    "job after its timeout": Next(PollJob(RUNNING), RUNS, after=2 * TIMEOUT),
    "settled job": Next(READ, SUCCEEDED),
    "polled job": Next(Reason.JOB_RUNNING, RUNS, ASKED),
    "polled job of an older spec": Next(Reason.JOB_RUNNING, RUNS_OLD, {**ASKED, **SEEN}),
    "polled job, end of the timeout": Next(Reason.JOB_RUNNING, RUNS, ASKED, after=TIMEOUT - TICK),
    "overdue job, not read": Next(READ, RUNS, ASKED, after=TIMEOUT),
    "overdue job": Next(Reason.JOB_TIMEOUT, RUNS, {**ASKED, **SEEN}, after=TIMEOUT),
    "overdue job, another image": Next(
        replace(SUBMIT, images=(B,)),
        RUNS,
        {**ASKED, **BOTH_PENDING},
        asked=desired(A, B),
        after=TIMEOUT,
    ),
    "overdue job before a newer one": Next(
        Reason.JOB_TIMEOUT,
        known(SUCCESS, PAST_TIMEOUT, row(B, ACCEPTED)),
        {"members": {A: PENDING, B: ACCEPTED}},
        asked=desired(A, B),
        after=TIMEOUT,
    ),
    "overdue job before a newer one, failed": Next(
        Reason.PARTIALLY_FAILED,
        known(FAIL, PAST_TIMEOUT, row(B)),
        BOTH_PENDING,
        asked=desired(A, B),
        after=TIMEOUT,
    ),
    "overdue job, accepted": Next(Reason.ACCEPTED, RUNS, {**ASKED, **SEEN_ACCEPTED}, after=TIMEOUT),
    "overdue job, being deleted": Next(
        Reason.JOB_TIMEOUT,
        known(REJECTING, row()),
        {**ASKED, **SEEN},
        asked=DELETED,
        after=TIMEOUT,
    ),
    "overdue job of an older spec": Next(SUBMIT, RUNS_OLD, {**ASKED, **SEEN}, after=TIMEOUT),
    "unknown job": Next(READ, RUNS, JOB_UNKNOWN),
    "nothing read": Next(READ),
    "pending": Next(SUBMIT, NEVER_SEEN, SEEN),
    "accepted": Next(Reason.ACCEPTED, NEVER_SEEN, SEEN_ACCEPTED),
    "rejected": Next(
        Reason.REJECTED,
        NEVER_SEEN,
        {"members": {A: REJECTED}},
        asked=desired(decision=Decision.REJECT),
    ),
    "not shared": Next(Reason.NOT_SHARED, NEVER_SEEN, {"members": {A: ABSENT}}),
    "settling": Next(Reason.JOB_RUNNING, SUCCEEDED, SEEN, runtime=CARRIED),
    "in doubt": Next(Reason.JOB_RUNNING, IN_DOUBT, SEEN),
    "one set, one to go": Next(
        Reason.PROGRESSING,
        NEVER_SEEN,
        {"members": {A: ACCEPTED, B: PENDING}, "set_without_job": True},
        asked=desired(A, B),
    ),
    "failed": Next(Reason.INVALID_REQUEST, HAS_JOB_FAILED, SEEN),
    "failed, transient": Next(Reason.CLOUD_UNAVAILABLE, HAS_JOB_FAILED, {**SEEN, **TRANSIENT}),
    "failed in part": Next(
        Reason.PARTIALLY_FAILED,
        HAS_JOB_FAILED,
        {"members": {A: PENDING, B: ACCEPTED}},
        asked=desired(A, B),
    ),
    "failed before not shared": Next(
        Reason.PARTIALLY_FAILED,
        HAS_JOB_FAILED,
        {"members": {A: PENDING, B: ABSENT}},
        asked=desired(A, B),
    ),
    "settling before failed": Next(
        Reason.JOB_RUNNING,
        known(SUCCESS, row(), row(B, message="failed", job_id="j0")),
        BOTH_PENDING,
        runtime=CARRIED,
        asked=desired(A, B),
    ),
}


@pytest.mark.parametrize("case", STEPS.values(), ids=STEPS.keys())
def test_next_step_follows_from_the_facts(case: Next) -> None:
    observation = observe(case.status, case.runtime, case.facts)

    step = planner.next_step(case.asked, observation, START + case.after, POLICY)

    match step:
        case Report():
            assert step.ready_summary.reason is case.want
            runs = observation.job is not None and not observation.job.state.settled
            if observation.members is not None and not runs:
                assert tuple(row.id for row in step.images or ()) == case.asked.images
        case Submit():
            assert isinstance(case.want, Submit)
            assert step.images == case.want.images
        case _:
            assert step == case.want


@dataclass(frozen=True)
class Batch:
    """Memberships, rows and what the next PUT carries of them."""

    want: tuple[str, ...]
    asked: tuple[str, ...] = (A, B, C, D)
    status: Status = NEVER_SEEN
    runtime: RuntimeState = NOTHING
    _: KW_ONLY
    members: Mapping[str, Membership] = field(default_factory=dict[str, Membership])
    facts: Facts = field(default_factory=dict[str, object])


def of_job(*images: str, job_id: str = "j1", message: str | None = None) -> list[ImageStatus]:
    return [row(image, job_id=job_id, message=message) for image in images]


TWO_FAILED = known(FAIL, *of_job(A, B))
TWO_JOBS = (*of_job(A, job_id="j0"), *of_job(B, job_id="j9"))
DRIFT_BEFORE = remembered(settled_at=START - LATE)
NAMED_A = replace(NAMED, batch_peers=BatchPeers(named=True))
BATCHES = {
    "order of the spec": Batch((C, A, B), (C, A, B)),
    "without the accepted": Batch((A, C, D), members={B: ACCEPTED}),
    "without the not shared": Batch((B, C, D), members={A: ABSENT}),
    "up to the limit": Batch((A, B, C), facts={"batch_limit": 3}),
    "drifted with pending": Batch(
        (A, B, C, D),
        status=known(SUCCESS, WAS_ACCEPTED),
        runtime=DRIFT_BEFORE,
        members={A: REJECTED},
    ),
    "without the failed": Batch((B, C, D), status=known(FAIL, FAILED_BEFORE)),
    "nothing while settling": Batch((), status=SUCCEEDED, runtime=CARRIED),
    "half of the candidates": Batch((A, B), status=known(FAIL, *of_job(A, B, C, D))),
    "one of three candidates": Batch((A,), (A, B, C), known(FAIL, *of_job(A, B, C))),
    "candidates before pending": Batch((C,), status=known(FAIL, *of_job(C, D))),
    "half of the candidates, up to the limit": Batch(
        (A,), status=known(FAIL, *of_job(A, B, C, D)), facts={"batch_limit": 1}
    ),
    "rest of a failed job": Batch(
        (A, B), status=known(SUCCESS, *of_job(A, B, job_id="j0")), runtime=CARRIED
    ),
    "rest of one of two failed jobs": Batch(
        (A, C), (A, B, C), known(SUCCESS, *TWO_JOBS, *of_job(C, job_id="j0")), CARRIED
    ),
    "rest of an older spec": Batch(
        (A, B), (A, B), known(SUCCESS, *TWO_JOBS, generation=OLD), CARRIED
    ),
    "transient, not divided": Batch((), (A, B), TWO_FAILED, facts=TRANSIENT),
    "transient before pending": Batch((), (A, B, C), TWO_FAILED, facts=TRANSIENT),
    "transient, retry due": Batch(
        (B, C),
        (A, B, C),
        known(FAIL, *of_job(B, C, message="failed")),
        RETRY_IS_DUE,
        facts=TRANSIENT,
    ),
    "transient, named": Batch((B,), (A, B), HAS_JOB_FAILED, NAMED_A, facts=TRANSIENT),
    "transient for long": Batch((A,), (A, B), TWO_FAILED, remembered(tries=6), facts=TRANSIENT),
    "not divisible": Batch((), (A, B), TWO_FAILED, facts={"divisible": False}),
}


@pytest.mark.parametrize("case", BATCHES.values(), ids=BATCHES.keys())
def test_batch_carries_the_images_that_belong_together(case: Batch) -> None:
    members = {**dict.fromkeys(case.asked, PENDING), **case.members}
    observation = observe(case.status, case.runtime, case.facts, members=members, batch_limit=50)

    step = planner.next_step(desired(*case.asked), observation, START + SECOND, POLICY)

    assert (step.images if isinstance(step, Submit) else ()) == case.want


@pytest.mark.parametrize("facts", [TRANSIENT, NO_FACTS], ids=["soon", "late"])
def test_images_of_a_failed_job_are_retried_at_the_same_time(facts: Facts) -> None:
    def retry_at(job_id: str, jitter: float) -> object:
        failed = known(replace(FAIL, id=job_id), row(job_id=job_id))
        observation = observe(failed, NOTHING, facts, SEEN, jitter=jitter)
        step = planner.next_step(desired(), observation, START + SECOND, POLICY)
        assert isinstance(step, Report)
        return step.retry_at

    assert retry_at("j1", 0.1) == retry_at("j1", 0.9)
    assert retry_at("j1", 0.1) != retry_at("j2", 0.1)


def test_batch_has_its_retry_group() -> None:
    failed = known(FAIL, *of_job(A, B, message="failed"))

    step = planner.next_step(
        desired(A, B), observe(failed, RETRY_IS_DUE, BOTH_PENDING), START, POLICY
    )

    assert isinstance(step, Submit)
    assert step.retry_group == RetryGroup(job_id="j1", candidate=False, retry=True)


def test_batch_has_its_drifted_images() -> None:
    observation = observe(known(SUCCESS, WAS_ACCEPTED), NOTHING, members={A: REJECTED, B: PENDING})

    step = planner.next_step(desired(A, B), observation, START, POLICY)

    assert isinstance(step, Submit)
    assert step.drifted == (A,)


STUCK = known(REJECTING, row(), row(B))


@pytest.mark.parametrize(
    ("other", "status", "finished"),
    [
        (ABSENT, NEVER_SEEN, True),
        (REJECTED, STUCK, True),
        (ABSENT, STUCK, True),
        (PENDING, STUCK, False),
    ],
)
def test_deletion_finishes_when_no_image_is_left_to_reject(
    other: Membership, status: Status, *, finished: bool
) -> None:
    """Also while its job is overdue."""
    deleted = desired(A, B, decision=Decision.REJECT, being_deleted=True)
    observation = observe(status, NOTHING, ASKED, members={A: REJECTED, B: other})

    step = planner.next_step(deleted, observation, START + TIMEOUT, POLICY)

    assert isinstance(step, Report)
    assert step.finished is finished
