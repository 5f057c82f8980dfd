"""`.status` out and in, and the conditions' transition times."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from drive import IMAGES, START

from image_share_operator.api import status_json
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    Condition,
    ConditionType,
    Decision,
    Endpoints,
    ImageStatus,
    InDoubtBatch,
    Job,
    JobState,
    Membership,
    Status,
)
from image_share_operator.planning import conditions
from image_share_operator.planning.model import Progress, ReadySummary

JOB = Job(
    id="f" * 32,
    generation=3,
    decision=Decision.ACCEPT,
    state=JobState.INIT,
    submitted_at=START + timedelta(milliseconds=123),
)
READY = Condition(
    type=ConditionType.READY,
    status="False",
    reason=Reason.JOB_RUNNING,
    message="Waiting.",
    observed_generation=3,
    last_transition_time=START,
)
STATUS = Status(
    observed_generation=3,
    conditions=(READY,),
    job=replace(JOB, type="t", begin_time="04-Jun-2015 18:11:06:586", error_code="IMG.0001"),
    unanswered=InDoubtBatch(
        decision=Decision.REJECT,
        images=IMAGES[:2],
        since=START + timedelta(milliseconds=7),
        until=START + timedelta(minutes=1),
    ),
    images=(
        ImageStatus(id=IMAGES[0], membership=Membership.PENDING, job_id=JOB.id),
        ImageStatus(id=IMAGES[1], membership=Membership.NOT_SHARED, message="why"),
    ),
    summary="0/2",
    credentials_accepted_by=Endpoints(iam="https://iam.example.com", ims="https://ims.example.com"),
)


def test_status_comes_back_as_it_was_written() -> None:
    assert status_json.read(json.loads(json.dumps(status_json.write(STATUS)))) == STATUS


def test_statuses_share_what_they_say_alike() -> None:
    """Ten thousand of them say the same of the same jobs."""
    text = json.dumps(status_json.write(STATUS))
    one, other = (status_json.read(json.loads(text)) for _ in range(2))

    assert one.job is not None
    assert other.job is not None
    assert one.job.id is other.job.id is one.images[0].job_id is other.images[0].job_id
    assert one.job.type is other.job.type
    assert one.summary is other.summary
    assert one.conditions[0].message is other.conditions[0].message
    assert one.images[1].message is other.images[1].message


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(None, id="absent"),
        pytest.param({}, id="empty"),
        pytest.param({"conditions": "no list"}, id="text"),
        pytest.param({"conditions": [{"type": "Ready"}]}, id="half a condition"),
        pytest.param({"job": {"id": "1", "status": "DANCING"}}, id="odd job"),
        pytest.param({"images": [{"id": 1}]}, id="odd image"),
        pytest.param({"unanswered": {"decision": "Accept"}}, id="half a batch"),
        pytest.param({"observedGeneration": "many"}, id="odd number"),
    ],
)
def test_status_that_can_not_be_read_counts_as_never_written(raw: dict[str, Any] | None) -> None:
    assert status_json.read(raw) == Status()


@pytest.mark.parametrize(
    ("status", "expected"),
    [("False", START), ("True", START + timedelta(hours=1))],
    ids=["same status keeps the time", "a flip moves the time"],
)
def test_merge_moves_the_transition_time_on_a_flip_only(status: str, expected: object) -> None:
    later = START + timedelta(hours=1)
    new = replace(READY, status=status, message="other", last_transition_time=later)

    assert conditions.merge(READY, new).last_transition_time == expected


@pytest.mark.parametrize(
    ("progress", "types"),
    [
        (Progress.SETTLED, ["Ready"]),
        (Progress.RECONCILING, ["Ready", "Reconciling"]),
        (Progress.STALLED, ["Ready", "Stalled"]),
    ],
    ids=["settled", "moving", "stalled"],
)
def test_render_writes_abnormal_conditions_only_when_true(
    progress: Progress, types: list[str]
) -> None:
    ready_summary = ReadySummary(
        ready="False", reason=Reason.NOT_SHARED, message="m", progress=progress
    )

    status = conditions.render(
        ready_summary, old=STATUS, job=None, images=(), desired=None, generation=4, now=START
    )

    assert [row.type.value for row in status.conditions] == types
    assert {row.observed_generation for row in status.conditions} == {4}


@pytest.mark.parametrize(
    ("new", "age", "expected"),
    [
        (STATUS, 0, False),
        (replace(STATUS, job=replace(STATUS.job or JOB, state=JobState.RUNNING)), 1, False),
        (replace(STATUS, job=replace(STATUS.job or JOB, state=JobState.RUNNING)), 11, True),
        (replace(STATUS, job=replace(STATUS.job or JOB, id="e" * 32)), 1, True),
        (replace(STATUS, job=None), 1, True),
        (replace(STATUS, summary="1/2"), 1, True),
        (replace(STATUS, credentials_accepted_by=None), 1, False),
    ],
    ids=[
        "nothing changed",
        "a young job started to run",
        "an old job started to run",
        "another job",
        "the job is gone",
        "something else changed",
        "the accepted endpoints only",
    ],
)
def test_is_worth_a_write_is_quiet_about_the_first_steps_of_a_job(
    new: Status, age: int, *, expected: bool
) -> None:
    now = START + timedelta(seconds=age)

    assert conditions.is_worth_a_write(new, STATUS, now) is expected
