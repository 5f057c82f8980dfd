"""Fault modes of jobs: the reference's last section."""

from typing import Any

import pytest

from contract.caller import MEMBERS, Caller, code_of, memberships
from otc_simulator.client import Simulator

PUT = f"PUT {MEMBERS}"
JOB = "GET /v1/{project_id}/jobs/{job_id}"
MEMBER = "GET /v2/images/{image_id}/members/{member_id}"
LIST = "GET /v2/cloudimages"


def rows_of(job: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["image_id"], row["status"]) for row in job["entities"]["results"]]


def test_partial_a_is_a_success_with_a_failed_row(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    sim.fault(PUT, job={"fail": images[1:2], "partial": "A", "row_failure": "FAIL"})
    job = recipient.settled(recipient.submit(images))

    assert (job["status"], job["error_code"]) == ("SUCCESS", None)
    assert [status for _, status in rows_of(job)] == ["success", "FAIL", "success"]
    assert memberships(sim, images) == ["accepted", "pending", "accepted"]


def test_partial_b_is_a_fail_with_mixed_rows(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    fault = {"fail": images[:1], "partial": "B", "error_code": "IMG.0112", "fail_reason": "why"}
    sim.fault(PUT, job=fault)
    job = recipient.settled(recipient.submit(images))

    assert (job["status"], job["error_code"], job["fail_reason"]) == ("FAIL", "IMG.0112", "why")
    assert [status for _, status in rows_of(job)] == ["failed", "success", "success"]
    assert memberships(sim, images) == ["pending", "accepted", "accepted"]


@pytest.mark.parametrize(
    ("partial", "entities"),
    [("C", {"error_code": "IMG.0061", "error": "unknown system error"}), ("C-empty", {})],
)
def test_partial_c_is_a_fail_that_names_no_image(
    recipient: Caller, sim: Simulator, images: list[str], partial: str, entities: dict[str, str]
) -> None:
    sim.fault(PUT, job={"fail": images[:1], "partial": partial})
    job = recipient.settled(recipient.submit(images))

    assert (job["status"], job["entities"]) == ("FAIL", entities)
    assert memberships(sim, images) == ["pending", "accepted", "accepted"]


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ("empty", ()),
        ("short", (0, 1)),
        ("duplicate", (0, 0, 1, 1, 2, 2)),
        ("unordered", (2, 1, 0)),
    ],
)
def test_partial_d_misreports_its_rows(
    recipient: Caller, sim: Simulator, images: list[str], shape: str, order: tuple[int, ...]
) -> None:
    sim.fault(PUT, job={"rows": shape})
    job = recipient.settled(recipient.submit(images))

    assert job["status"] == "SUCCESS"
    assert rows_of(job) == [(images[index], "success") for index in order]
    assert memberships(sim, images) == ["accepted"] * 3


def test_partial_d_may_leave_the_rows_out_or_add_a_foreign_one(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    sim.fault(PUT, when={"nth": 1}, job={"rows": "missing"})
    sim.fault(PUT, when={"nth": 2}, job={"rows": "extra"})
    missing = recipient.settled(recipient.submit(images))
    extra = recipient.settled(recipient.submit(images))

    assert missing["entities"] == {}
    assert len(rows_of(extra)) == 4
    assert rows_of(extra)[-1][0] not in images


def test_a_job_may_lie_about_success(recipient: Caller, sim: Simulator, images: list[str]) -> None:
    sim.fault(PUT, job={"apply": "nothing"})

    assert recipient.settled(recipient.submit(images))["status"] == "SUCCESS"
    assert memberships(sim, images) == ["pending"] * 3


def test_a_job_may_lie_about_failure(recipient: Caller, sim: Simulator, images: list[str]) -> None:
    sim.fault(PUT, job={"fail": ["*"], "apply": "everything"})

    assert recipient.settled(recipient.submit(images))["status"] == "FAIL"
    assert memberships(sim, images) == ["accepted"] * 3


@pytest.mark.parametrize("state", ["INIT", "RUNNING"])
def test_a_job_may_be_stuck(
    recipient: Caller, sim: Simulator, images: list[str], state: str
) -> None:
    sim.fault(PUT, job={"stuck": state})
    job = recipient.settled(recipient.submit(images), 86_000)

    assert (job["status"], job["end_time"], job["entities"]) == (state, None, {})
    assert memberships(sim, images) == ["pending"] * 3


@pytest.mark.parametrize("word", ["PENDING", "UNKNOWN", "success", "failed"])
def test_a_job_may_have_an_odd_status(
    recipient: Caller, sim: Simulator, images: list[str], word: str
) -> None:
    sim.fault(PUT, job={"status": word})

    assert recipient.settled(recipient.submit(images))["status"] == word


@pytest.mark.parametrize(
    ("times", "length"), [("legacy", len("04-Jun-2015 18:11:06:586")), ("empty", 0)]
)
def test_a_job_may_have_odd_times(
    recipient: Caller, sim: Simulator, images: list[str], times: str, length: int
) -> None:
    sim.fault(PUT, job={"times": times})
    job = recipient.settled(recipient.submit(images))

    assert (len(job["begin_time"]), len(job["end_time"])) == (length, length)


def test_a_job_may_have_no_times(recipient: Caller, sim: Simulator, images: list[str]) -> None:
    sim.fault(PUT, job={"times": "null"})
    job = recipient.settled(recipient.submit(images))

    assert (job["begin_time"], job["end_time"]) == (None, None)


def test_a_job_record_may_expire(recipient: Caller, sim: Simulator, images: list[str]) -> None:
    sim.fault(PUT, job={"expires_after_seconds": 10})
    job_id = recipient.submit(images)

    assert recipient.settled(job_id)["status"] == "SUCCESS"
    sim.advance(10)
    assert code_of(recipient.job(job_id)) == (400, "IMG.0023")


def test_a_job_may_take_its_own_time(recipient: Caller, sim: Simulator, images: list[str]) -> None:
    sim.fault(PUT, job={"seconds": 500})
    job_id = recipient.submit(images)

    assert recipient.settled(job_id, 499)["status"] == "RUNNING"
    assert recipient.settled(job_id, 2)["status"] == "SUCCESS"
