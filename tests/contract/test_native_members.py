"""The native member API: the reference's section 4."""

import re

import pytest

from contract.caller import Caller, code_of
from otc_simulator.client import Simulator


def member_path(image: str, project_id: str) -> str:
    return f"/v2/images/{image}/members/{project_id}"


def test_a_recipient_accepts_at_once_without_a_job(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    path = member_path(image, sim.project_id)
    response = recipient.send("PUT", path, json={"status": "accepted"})

    assert response.status_code == 200
    assert response.json()["status"] == "accepted"
    assert sim.membership(image, sim.project_id) == "accepted"


def test_a_member_has_the_documented_keys(recipient: Caller, sim: Simulator, image: str) -> None:
    member = recipient.get(member_path(image, sim.project_id)).json()

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", member.pop("created_at"))
    assert member.pop("updated_at")
    assert member == {
        "status": "pending",
        "image_id": image,
        "member_id": sim.project_id,
        "schema": "/v2/schemas/member",
    }


def test_the_owner_cannot_accept_for_the_recipient(
    owner: Caller, sim: Simulator, image: str
) -> None:
    path = member_path(image, sim.project_id)
    response = owner.send("PUT", path, json={"status": "accepted"})

    assert code_of(response) == (403, "403 Forbidden")
    assert sim.membership(image, sim.project_id) == "pending"


def test_a_member_cannot_answer_or_see_for_another(
    recipient: Caller, sim: Simulator, image: str
) -> None:
    other = sim.add_project("eu-de_other")
    sim.set_membership(image, other, "pending")
    path = member_path(image, other)

    assert recipient.send("PUT", path, json={"status": "accepted"}).status_code == 404
    assert recipient.get(path).status_code == 404
    assert sim.membership(image, other) == "pending"


def test_an_image_that_is_not_shared_is_not_found(recipient: Caller, sim: Simulator) -> None:
    image = sim.add_image()
    path = member_path(image, sim.project_id)

    assert recipient.get(f"/v2/images/{image}").status_code == 404
    assert recipient.get(path).status_code == 404
    assert recipient.send("PUT", path, json={"status": "accepted"}).status_code == 404


@pytest.mark.parametrize("body", ['{"status": "pending"}', '{"status": "maybe"}', "{}", "[]", "{"])
def test_a_bad_status_is_a_400(recipient: Caller, sim: Simulator, image: str, body: str) -> None:
    response = recipient.send("PUT", member_path(image, sim.project_id), content=body)

    assert response.status_code == 400


def test_the_owner_sees_all_members_a_member_only_itself(
    recipient: Caller, owner: Caller, sim: Simulator, image: str
) -> None:
    other = sim.add_project("eu-de_other")
    sim.set_membership(image, other, "pending")
    path = f"/v2/images/{image}/members"
    seen_by_owner = {row["member_id"] for row in owner.get(path).json()["members"]}
    seen_by_member = {row["member_id"] for row in recipient.get(path).json()["members"]}

    assert seen_by_owner == {sim.project_id, other}
    assert seen_by_member == {sim.project_id}
    assert owner.get(member_path(image, other)).status_code == 200


def test_sharing_makes_a_pending_member_and_twice_is_a_conflict(
    owner: Caller, sim: Simulator
) -> None:
    image = sim.add_image()
    path = f"/v2/images/{image}/members"
    first = owner.send("POST", path, json={"member": sim.project_id})
    second = owner.send("POST", path, json={"member": sim.project_id})

    assert (first.status_code, first.json()["status"]) == (200, "pending")
    assert code_of(second) == (409, "409 Conflict")


def test_only_the_owner_shares_and_withdraws(recipient: Caller, sim: Simulator, image: str) -> None:
    share = recipient.send("POST", f"/v2/images/{image}/members", json={"member": "0" * 32})
    withdraw = recipient.send("DELETE", member_path(image, sim.project_id))

    assert (share.status_code, withdraw.status_code) == (403, 403)
    assert sim.membership(image, sim.project_id) == "pending"


def test_a_withdrawn_share_is_gone_for_the_recipient(
    recipient: Caller, owner: Caller, sim: Simulator, image: str
) -> None:
    path = member_path(image, sim.project_id)

    assert owner.send("DELETE", path).status_code == 204
    assert owner.send("DELETE", path).status_code == 404
    assert recipient.get(path).status_code == 404
    assert recipient.get(f"/v2/images/{image}").status_code == 404


@pytest.mark.parametrize("status", ["pending", "accepted", "rejected"])
def test_an_image_is_found_by_id_whatever_the_answer(
    recipient: Caller, sim: Simulator, image: str, status: str
) -> None:
    sim.set_membership(image, sim.project_id, status)

    assert recipient.get(f"/v2/images/{image}").json()["id"] == image


def test_a_full_ecs_image_needs_a_vault_here_too(recipient: Caller, sim: Simulator) -> None:
    image = sim.add_image(shared_with=[sim.project_id], whole=True)
    path = member_path(image, sim.project_id)
    without = recipient.send("PUT", path, json={"status": "accepted"})
    body = {"status": "accepted", "vault_id": sim.add_vault(sim.project_id)}

    assert code_of(without) == (400, "IMG.0184")
    assert recipient.send("PUT", path, json=body).status_code == 200


def test_errors_are_html_for_those_who_do_not_ask_for_json(recipient: Caller, image: str) -> None:
    path = member_path(image, "0" * 32)
    response = recipient.send("GET", path, headers={"Accept": "*/*"})

    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")
    assert recipient.get(path).json()["title"] == "Not Found"


def test_a_new_share_may_be_invisible_for_a_while(
    recipient: Caller, owner: Caller, sim: Simulator
) -> None:
    sim.settings(share_lag_seconds=30)
    image = sim.add_image()
    owner.send("POST", f"/v2/images/{image}/members", json={"member": sim.project_id})
    path = member_path(image, sim.project_id)

    assert recipient.get(path).status_code == 404
    sim.advance(31)
    assert recipient.get(path).json()["status"] == "pending"


def test_a_new_status_may_be_seen_late(recipient: Caller, sim: Simulator, image: str) -> None:
    sim.settings(visibility_lag_seconds=30)
    recipient.settled(recipient.submit([image]))
    path = member_path(image, sim.project_id)
    before = recipient.get(path).json()["status"]
    listed_before = recipient.listed(member_status="accepted")
    sim.advance(31)

    assert (before, listed_before) == ("pending", [])
    assert recipient.get(path).json()["status"] == "accepted"
    assert recipient.listed(member_status="accepted") == [image]


def test_schemas_tell_the_statuses(recipient: Caller) -> None:
    member = recipient.get("/v2/schemas/member").json()
    members = recipient.get("/v2/schemas/members").json()

    assert member["properties"]["status"]["enum"] == ["pending", "accepted", "rejected"]
    assert members["properties"]["members"]["items"] == member
