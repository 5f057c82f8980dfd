"""Memberships of one image: the same tests for a real Glance and for the simulator of IMS."""

import pytest

from openstack_cloud.targets import Target


def member(image: str, project: str) -> str:
    return f"/v2/images/{image}/members/{project}"


def test_recipient_sets_the_membership_and_sees_it(target: Target) -> None:
    path = member(target.image(), target.project)
    before = target.send("recipient", "GET", path).json()["status"]
    answers = [
        target.send("recipient", "PUT", path, {"status": status}).json()["status"]
        for status in ("accepted", "rejected", "accepted")
    ]

    assert (before, answers) == ("pending", ["accepted", "rejected", "accepted"])
    assert target.send("recipient", "GET", path).json()["status"] == "accepted"


def test_same_membership_again_changes_no_time(target: Target) -> None:
    path = member(target.image(), target.project)
    first = target.send("recipient", "PUT", path, {"status": "accepted"}).json()
    again = target.send("recipient", "PUT", path, {"status": "accepted"})

    assert again.status_code == 200
    assert again.json()["updated_at"] == first["updated_at"]


def test_owner_may_not_accept_for_the_recipient(target: Target) -> None:
    path = member(target.image(), target.project)

    assert target.send("owner", "PUT", path, {"status": "accepted"}).status_code == 403
    assert target.send("recipient", "GET", path).json()["status"] == "pending"


def test_membership_of_another_project_is_not_found(target: Target) -> None:
    path = member(target.image(), "0" * 32)

    assert target.send("recipient", "GET", path).status_code == 404
    assert target.send("recipient", "PUT", path, {"status": "accepted"}).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_withdrawn_and_unknown_images_are_not_found(target: Target, method: str) -> None:
    image = target.image()
    target.send("owner", "DELETE", member(image, target.project))
    body = {"status": "accepted"} if method == "PUT" else None
    for one in (image, "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"):
        answer = target.send("recipient", method, member(one, target.project), body)
        assert answer.status_code == 404
        assert answer.json()["title"] == "Not Found"


def test_share_that_exists_is_a_conflict(target: Target) -> None:
    path = f"/v2/images/{target.image()}/members"

    assert target.send("owner", "POST", path, {"member": target.project}).status_code == 409


def test_unknown_status_is_refused(target: Target) -> None:
    path = member(target.image(), target.project)

    assert target.send("recipient", "PUT", path, {"status": "maybe"}).status_code == 400


def test_image_that_all_see_has_no_membership(target: Target) -> None:
    image = target.image()
    target.publish(image)
    path = member(image, target.project)
    answer = target.send("recipient", "PUT", path, {"status": "accepted"})

    assert answer.status_code == 403
    assert "Not allowed to update members" in answer.json()["message"]
    assert target.send("recipient", "GET", path).status_code == 404
