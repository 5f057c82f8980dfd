"""Memberships of one image: the same tests for all clouds of `suite.py`."""

import pytest

from openstack_cloud.suite import Caller, Cloud


def member(image: str, project: str) -> str:
    return f"/v2/images/{image}/members/{project}"


def test_recipient_sets_the_membership_and_sees_it(cloud: Cloud, recipient: Caller) -> None:
    path = member(cloud.image(), cloud.project)
    before = recipient.send("GET", path).json()["status"]
    answers = [
        recipient.send("PUT", path, {"status": status}).json()["status"]
        for status in ("accepted", "rejected", "accepted")
    ]

    assert (before, answers) == ("pending", ["accepted", "rejected", "accepted"])
    assert recipient.send("GET", path).json()["status"] == "accepted"


def test_same_membership_again_changes_no_time(cloud: Cloud, recipient: Caller) -> None:
    path = member(cloud.image(), cloud.project)
    first = recipient.send("PUT", path, {"status": "accepted"}).json()
    again = recipient.send("PUT", path, {"status": "accepted"})

    assert again.status_code == 200
    assert again.json()["updated_at"] == first["updated_at"]


def test_owner_may_not_accept_for_the_recipient(
    cloud: Cloud, recipient: Caller, owner: Caller
) -> None:
    path = member(cloud.image(), cloud.project)

    assert owner.send("PUT", path, {"status": "accepted"}).status_code == 403
    assert recipient.send("GET", path).json()["status"] == "pending"


def test_membership_of_another_project_is_not_found(cloud: Cloud, recipient: Caller) -> None:
    path = member(cloud.image(), "0" * 32)

    assert recipient.send("GET", path).status_code == 404
    assert recipient.send("PUT", path, {"status": "accepted"}).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_withdrawn_and_unknown_images_are_not_found(
    cloud: Cloud, recipient: Caller, owner: Caller, method: str
) -> None:
    image = cloud.image()
    owner.send("DELETE", member(image, cloud.project))
    body = {"status": "accepted"} if method == "PUT" else None
    for one in (image, "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"):
        answer = recipient.send(method, member(one, cloud.project), body)
        assert answer.status_code == 404
        assert answer.json()["title"] == "Not Found"


def test_share_that_exists_is_a_conflict(cloud: Cloud, owner: Caller) -> None:
    path = f"/v2/images/{cloud.image()}/members"

    assert owner.send("POST", path, {"member": cloud.project}).status_code == 409


def test_unknown_status_is_refused(cloud: Cloud, recipient: Caller) -> None:
    path = member(cloud.image(), cloud.project)

    assert recipient.send("PUT", path, {"status": "maybe"}).status_code == 400


def test_image_that_all_see_has_no_membership(cloud: Cloud, recipient: Caller) -> None:
    image = cloud.image()
    cloud.set_visibility(image, "community")
    path = member(image, cloud.project)
    answer = recipient.send("PUT", path, {"status": "accepted"})

    assert answer.status_code == 403
    assert "Not allowed to update members" in answer.json()["message"]
    assert recipient.send("GET", path).status_code == 404
