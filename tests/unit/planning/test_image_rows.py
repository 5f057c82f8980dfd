"""Which job the rows of `status.images` name after a reconcile."""

import pytest

from fakes import IMAGES, START, spec
from image_share_operator.api.types import (
    Decision,
    Desired,
    ImageStatus,
    Job,
    JobState,
    Membership,
    Status,
)
from image_share_operator.planning import image_rows
from image_share_operator.planning.model import Observation

A = IMAGES[0]


@pytest.mark.parametrize(("job_id", "expected"), [("old", None), ("new", "new")])
def test_released_image_keeps_only_a_job_that_was_sent_after_the_read(
    job_id: str, expected: str | None
) -> None:
    known = ImageStatus(id=A, membership=Membership.PENDING, job_id="old")
    observation = Observation(status=Status(images=(known,)), released=frozenset({A}))
    reported = ImageStatus(id=A, membership=Membership.ACCEPTED, job_id=job_id)

    (row,) = image_rows.status_images(Desired.parse(spec((A,)), 1), observation, [reported])

    assert row.job_id == expected


@pytest.mark.parametrize(
    ("decision", "state", "is_released"),
    [
        (Decision.ACCEPT, JobState.RUNNING, False),
        (Decision.ACCEPT, JobState.SUCCESS, False),
        (Decision.ACCEPT, JobState.FAIL, True),
        (Decision.REJECT, JobState.SUCCESS, True),
    ],
)
def test_accepted_image_is_released_when_its_job_can_not_have_accepted_it(
    decision: Decision, state: JobState, *, is_released: bool
) -> None:
    job = Job(id="j1", generation=1, decision=decision, state=state, submitted_at=START)
    known = ImageStatus(id=A, membership=Membership.PENDING, job_id="j1")
    observation = Observation(
        status=Status(job=job, images=(known,)), members={A: Membership.ACCEPTED}
    )

    assert image_rows.released(observation) == ({A} if is_released else set())
