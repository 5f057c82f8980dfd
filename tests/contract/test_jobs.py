"""Membership jobs at both endpoints: the reference's 3."""

import pytest

from contract.caller import Caller, code_of
from otc_simulator.client import Simulator

UNKNOWN = "11111111-2222-4333-8444-555555555555"


def test_a_job_goes_from_init_over_running_to_success(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    sim.settings(job_seconds=60)
    job_id = recipient.submit([image])
    init = recipient.job(job_id).json()
    running = recipient.settled(job_id, 30)
    during = sim.membership(image, sim.project_id)
    success = recipient.settled(job_id, 31)

    assert [init["status"], running["status"], success["status"]] == ["INIT", "RUNNING", "SUCCESS"]
    assert (running["end_time"], during) == (None, "pending")
    assert sim.membership(image, sim.project_id) == "accepted"


def test_a_settled_update_job_has_the_documented_shape(recipient: Caller, image: str) -> None:
    job = recipient.settled(recipient.submit([image]))

    begin, end = job.pop("begin_time"), job.pop("end_time")
    assert begin < end
    assert len(end) == len("2024-11-06T07:24:22.925Z")
    del job["job_id"]
    assert job == {
        "job_type": "imsUpdateImageMembersJob",
        "status": "SUCCESS",
        "error_code": None,
        "fail_reason": None,
        "entities": {"results": [{"image_id": image, "status": "success"}]},
    }


def test_results_may_carry_the_project(recipient: Caller, sim: Simulator, image: str) -> None:
    sim.settings(result_project_id=True)
    (row,) = recipient.settled(recipient.submit([image]))["entities"]["results"]

    assert row["project_id"] == sim.project_id


def test_an_image_named_twice_has_one_row(recipient: Caller, image: str) -> None:
    job = recipient.settled(recipient.submit([image, image]))

    assert len(job["entities"]["results"]) == 1


def test_the_progress_endpoint_tells_no_image(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    job_id = recipient.submit([image])
    sim.advance(2)
    job = recipient.progress(job_id).json()

    assert job["status"] == "SUCCESS"
    assert job["entities"] == {"process_percent": 1, "current_task": ""}


def test_an_unshared_image_fails_alone_in_its_job(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    job = recipient.settled(recipient.submit([UNKNOWN, image]))

    assert (job["status"], job["error_code"]) == ("FAIL", "IMG.0144")
    assert job["fail_reason"]
    assert job["entities"]["results"] == [
        {"image_id": UNKNOWN, "status": "failed"},
        {"image_id": image, "status": "success"},
    ]
    assert sim.membership(image, sim.project_id) == "accepted"
    assert sim.membership(UNKNOWN, sim.project_id) is None


def test_a_share_withdrawn_mid_flight_fails_its_image(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    job_id = recipient.submit([image])
    sim.withdraw(image, sim.project_id)

    assert recipient.settled(job_id)["status"] == "FAIL"


def test_an_image_deleted_mid_flight_fails(recipient: Caller, sim: Simulator, image: str) -> None:
    job_id = recipient.submit([image])
    sim.delete_image(image)

    assert recipient.settled(job_id)["status"] == "FAIL"
    assert recipient.get(f"/v2/images/{image}").status_code == 404


def test_an_inactive_image_fails(recipient: Caller, sim: Simulator) -> None:
    image = sim.add_image(shared_with=[sim.project_id], status="pending")
    sim.seed(images=[{"id": image, "owner": sim.owner_project_id, "status": "killed"}])

    assert recipient.settled(recipient.submit([image]))["error_code"] == "IMG.0046"
    assert sim.membership(image, sim.project_id) == "pending"


@pytest.mark.parametrize(
    ("choice", "told"), [("IMG.0023", (400, "IMG.0023")), ("404", (404, "IMG.0023"))]
)
def test_unknown_job_is_reported_as_configured(
    recipient: Caller, sim: Simulator, choice: str, told: tuple[int, str]
) -> None:
    sim.settings(unknown_job=choice)

    assert code_of(recipient.job("0" * 32)) == told
    assert code_of(recipient.progress("0" * 32)) == told


@pytest.mark.parametrize(
    ("choice", "told"), [("IMG.0030", (400, "IMG.0030")), ("403", (403, "IMG.0026"))]
)
def test_a_job_of_another_project_is_not_shown(
    recipient: Caller, owner: Caller, image: str, choice: str, told: tuple[int, str]
) -> None:
    owner.sim.settings(foreign_job=choice)
    job_id = recipient.submit([image])

    assert code_of(owner.job(job_id)) == told
    assert code_of(owner.progress(job_id)) == told


def test_a_job_asked_for_under_another_project_does_not_match(
    recipient: Caller, owner: Caller, image: str
) -> None:
    owner.sim.settings(foreign_job="403")
    job_id = recipient.submit([image])

    assert code_of(owner.get(f"/v1/{recipient.project_id}/jobs/{job_id}")) == (400, "IMG.0030")


def test_job_records_are_kept_as_long_as_chosen(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    sim.settings(job_retention_seconds=100)
    job_id = recipient.submit([image])

    assert recipient.settled(job_id)["status"] == "SUCCESS"
    sim.advance(100)
    assert code_of(recipient.job(job_id)) == (400, "IMG.0023")
    assert sim.membership(image, sim.project_id) == "accepted"
