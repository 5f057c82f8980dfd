"""The batch calls: the reference's 2 and 6."""

from typing import Any

import pytest

from contract.caller import MEMBERS, Caller, code_of
from otc_simulator.client import Simulator

UNKNOWN = "11111111-2222-4333-8444-555555555555"


def test_a_batch_answers_200_and_a_job_id_and_changes_nothing_yet(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    response = recipient.answer([image])

    assert response.status_code == 200
    assert list(response.json()) == ["job_id"]
    assert len(response.json()["job_id"]) == 32
    assert sim.membership(image, sim.project_id) == "pending"


@pytest.mark.parametrize(("first", "second"), [("accepted", "rejected"), ("rejected", "accepted")])
def test_an_answer_can_be_changed(
    recipient: Caller, sim: Simulator, image: str, first: str, second: str
) -> None:
    for status in (first, second):
        recipient.settled(recipient.submit([image], status))
        assert sim.membership(image, sim.project_id) == status


def test_the_same_answer_twice_is_no_error(recipient: Caller, sim: Simulator, image: str) -> None:
    for _ in range(2):
        assert recipient.settled(recipient.submit([image]))["status"] == "SUCCESS"

    assert sim.membership(image, sim.project_id) == "accepted"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"images": None}, (400, "IMG.0001"), id="no images"),
        pytest.param({"images": []}, (400, "IMG.0001"), id="empty images"),
        pytest.param({"images": ["not-a-uuid"]}, (400, "IMG.0066"), id="not a UUID"),
        pytest.param({"images": [7]}, (400, "IMG.0066"), id="a number for an image"),
        pytest.param({"status": "pending"}, (400, "IMG.0001"), id="pending is no answer"),
        pytest.param({"status": None}, (400, "IMG.0001"), id="no status"),
        pytest.param({"project_id": None}, (400, "IMG.0001"), id="no project"),
        pytest.param({"project_id": "short"}, (400, "IMG.0067"), id="malformed project"),
        pytest.param(
            {"project_id": Simulator.owner_project_id}, (400, "IMG.0030"), id="foreign project"
        ),
    ],
)
def test_a_batch_is_refused_for(
    recipient: Caller, image: str, change: dict[str, Any], told: tuple[int, str]
) -> None:
    body = {"images": [image], "project_id": recipient.project_id, "status": "accepted"} | change
    sent = {name: value for name, value in body.items() if value is not None}

    assert code_of(recipient.send("PUT", MEMBERS, json=sent)) == told


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "IMG.0007"), (b"{", "IMG.0001"), (b"[]", "IMG.0001"), (b"null", "IMG.0001")],
)
def test_a_body_that_is_no_object_is_refused(recipient: Caller, content: bytes, code: str) -> None:
    assert code_of(recipient.send("PUT", MEMBERS, content=content)) == (400, code)


def test_a_put_for_a_foreign_project_is_counted(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    recipient.answer([image], project_id=sim.owner_project_id)

    assert sim.counters()["foreign_project_puts"] == 1


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        *((code, (400, code)) for code in ("IMG.0027", "IMG.0086", "IMG.0144", "IMG.0106")),
        ("404", (404, "IMG.0144")),
    ],
)
def test_an_unshared_image_may_refuse_the_whole_batch(
    recipient: Caller, sim: Simulator, image: str, choice: str, told: tuple[int, str]
) -> None:
    sim.settings(not_shared=choice)
    response = recipient.answer([image, UNKNOWN])
    sim.advance(5)

    assert code_of(response) == told
    assert UNKNOWN not in response.text
    assert sim.membership(image, sim.project_id) == "pending"


@pytest.mark.parametrize(
    ("vault", "told"),
    [
        pytest.param(None, (400, "IMG.0184"), id="none"),
        pytest.param({"kind": "disk_backup"}, (400, "IMG.0193"), id="not for servers"),
        pytest.param({"capacity_gb": 10}, (400, "IMG.0182"), id="too small"),
    ],
)
def test_a_full_ecs_image_refuses_the_vault(
    recipient: Caller, sim: Simulator, vault: dict[str, Any] | None, told: tuple[int, str]
) -> None:
    image = sim.add_image(shared_with=[sim.project_id], whole=True)
    more = {} if vault is None else {"vault_id": sim.add_vault(sim.project_id, **vault)}

    assert code_of(recipient.answer([image], **more)) == told


def test_another_project_s_vault_is_none(recipient: Caller, sim: Simulator) -> None:
    image = sim.add_image(shared_with=[sim.project_id], whole=True)
    vault = sim.add_vault(sim.owner_project_id)

    assert code_of(recipient.answer([image], vault_id=vault)) == (400, "IMG.0184")


def test_a_full_ecs_image_is_accepted_with_a_vault_and_rejected_without(
    recipient: Caller, sim: Simulator
) -> None:
    image = sim.add_image(shared_with=[sim.project_id], whole=True)
    vault = sim.add_vault(sim.project_id)
    accepted = recipient.settled(recipient.submit([image], vault_id=vault))
    rejected = recipient.settled(recipient.submit([image], "rejected"))

    assert [accepted["status"], rejected["status"]] == ["SUCCESS", "SUCCESS"]


def test_a_full_ecs_image_without_vault_may_fail_in_the_job(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    sim.settings(full_ecs="job")
    whole = sim.add_image(shared_with=[sim.project_id], whole=True)
    job = recipient.settled(recipient.submit([whole, image]))

    assert job["error_code"] == "IMG.0184"
    assert sim.membership(image, sim.project_id) == "accepted"


def test_a_batch_above_the_chosen_size_is_413(recipient: Caller, sim: Simulator) -> None:
    sim.settings(max_batch=2)
    images = sim.add_images(3, shared_with=[sim.project_id])

    assert recipient.answer(images).status_code == 413
    assert recipient.answer(images[:2]).status_code == 200


def test_an_owner_shares_and_withdraws_by_batch(owner: Caller, sim: Simulator) -> None:
    image = sim.add_image()
    body = {"images": [image], "projects": [sim.project_id]}
    shared = owner.settled(owner.send("POST", MEMBERS, json=body).json()["job_id"])
    status = sim.membership(image, sim.project_id)
    withdrawn = owner.settled(owner.send("DELETE", MEMBERS, json=body).json()["job_id"])

    assert (shared["job_type"], status) == ("imsAddImageMembersJob", "pending")
    assert shared["entities"]["results"] == [{"image_id": image, "status": "success"}]
    assert withdrawn["job_type"] == "imsDelImageMembersJob"
    assert (withdrawn["status"], withdrawn["entities"]["results"]) == ("SUCCESS", [])
    assert sim.membership(image, sim.project_id) is None


@pytest.mark.parametrize(
    ("image_is", "shared_with", "code"),
    [
        ({"public": True}, Simulator.project_id, "IMG.0089"),
        ({"encrypted": True}, Simulator.project_id, "IMG.0098"),
        ({"status": "queued"}, Simulator.project_id, "IMG.0046"),
        ({"owner": Simulator.project_id}, Simulator.project_id, "IMG.0106"),
        ({}, Simulator.owner_project_id, "IMG.0076"),
        ({}, "0" * 32, "IMG.0108"),
        ({}, "malformed", "IMG.0067"),
    ],
)
def test_sharing_is_refused_for(
    owner: Caller, sim: Simulator, image_is: dict[str, Any], shared_with: str, code: str
) -> None:
    image = {"owner": sim.owner_project_id} | image_is
    (image_id,) = sim.seed(images=[image])["images"]
    body = {"images": [image_id], "projects": [shared_with]}

    assert code_of(owner.send("POST", MEMBERS, json=body)) == (400, code)


def test_a_full_ecs_image_has_at_most_ten_members(owner: Caller, sim: Simulator) -> None:
    image = sim.add_image(whole=True, shared_with=[f"{number:032x}" for number in range(10)])
    body = {"images": [image], "projects": [sim.project_id]}

    assert code_of(owner.send("POST", MEMBERS, json=body)) == (400, "IMG.0088")


def test_the_quota_counts_own_images(owner: Caller, sim: Simulator) -> None:
    sim.add_image()
    (resource,) = owner.get("/v1/cloudimages/quota").json()["quotas"]["resources"]

    assert (resource["type"], resource["used"]) == ("image", 1)


def test_counters_tell_batches_and_overlapping_jobs(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    other = sim.add_image(shared_with=[sim.project_id])
    recipient.submit([image, other])
    recipient.submit([image])
    sim.advance(5)
    recipient.submit([image])
    counters = sim.counters()

    assert counters["images_per_put"] == [2, 1, 1]
    assert counters["max_inflight_per_image"] == 2
    assert counters["calls"]["PUT /v1/cloudimages/members"] == 3
    assert counters["tokens_issued"] == 1
