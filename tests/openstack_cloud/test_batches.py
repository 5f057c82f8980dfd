"""Batches and lists of IMS: the same tests for the simulator and for a real Glance.

`suite.py` explains the clouds.
"""

from typing import Any

import httpx
import pytest

from envtest import eventually
from openstack_cloud.conftest import of_ims
from openstack_cloud.suite import Caller, Cloud

BATCH = "/v1/cloudimages/members"
LIST = "/v2/cloudimages?visibility=shared&__imagetype=shared&member_status="
UNKNOWN = "0" * 32
pytestmark = of_ims


def send(recipient: Caller, images: list[str], status: str, project: str = "") -> httpx.Response:
    """Send a batch as the recipient."""
    body = {"images": images, "project_id": project or recipient.cloud.project, "status": status}
    return recipient.send("PUT", BATCH, body)


def follow(recipient: Caller, started: httpx.Response) -> dict[str, Any]:
    """Wait until the job has ended; return it."""
    path = f"/v1/{recipient.cloud.project}/jobs/{started.json()['job_id']}"

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = recipient.send("GET", path).json()
        return None if job["status"] in ("INIT", "RUNNING") else job

    return eventually(ended)


def listed(recipient: Caller, status: str, query: str = "") -> list[str]:
    rows = recipient.send("GET", f"{LIST}{status}{query}").json()["images"]
    return [row["id"] for row in rows]


def code_of(refusal: httpx.Response) -> tuple[int, str]:
    return refusal.status_code, refusal.json()["error"]["code"]


def test_batch_sets_all_memberships(cloud: Cloud, recipient: Caller) -> None:
    images = [cloud.image(), cloud.image()]
    job = follow(recipient, send(recipient, images, "accepted"))
    rows = {row["image_id"]: row["status"].lower() for row in job["entities"]["results"]}

    assert (job["status"], job["error_code"]) == ("SUCCESS", None)
    assert rows == dict.fromkeys(images, "success")
    assert set(images) <= set(listed(recipient, "accepted"))


def test_image_without_a_share_fails_and_the_other_does_not(
    cloud: Cloud, recipient: Caller
) -> None:
    good, bad = cloud.image(), "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"
    job = follow(recipient, send(recipient, [bad, good], "accepted"))
    failed = [
        row["image_id"] for row in job["entities"]["results"] if row["status"].lower() != "success"
    ]

    assert job["status"] == "FAIL"
    assert failed == [bad]
    assert good in listed(recipient, "accepted")


def test_each_list_has_one_membership(cloud: Cloud, recipient: Caller) -> None:
    images = {status: cloud.image() for status in ("pending", "accepted", "rejected")}
    for status in ("accepted", "rejected"):
        follow(recipient, send(recipient, [images[status]], status))
    for status, image in images.items():
        assert set(listed(recipient, status)) & set(images.values()) == {image}


def test_list_has_no_link_to_the_next_page(cloud: Cloud, recipient: Caller) -> None:
    for _ in range(2):
        cloud.image()
    page = recipient.send("GET", f"{LIST}pending&limit=1").json()

    assert len(page["images"]) == 1
    assert "next" not in page


def test_list_of_an_owner_has_no_image_of_another_one(cloud: Cloud, recipient: Caller) -> None:
    image = cloud.image()

    assert image in listed(recipient, "pending", f"&owner={cloud.owner}")
    assert listed(recipient, "pending", f"&owner={UNKNOWN}") == []


def test_batch_for_another_project_is_refused(cloud: Cloud, recipient: Caller) -> None:
    assert code_of(send(recipient, [cloud.image()], "accepted", UNKNOWN)) == (400, "IMG.0030")


@pytest.mark.parametrize(("project", "code"), [("own", "IMG.0023"), (UNKNOWN, "IMG.0030")])
def test_unknown_job_is_refused(cloud: Cloud, recipient: Caller, project: str, code: str) -> None:
    path = f"/v1/{cloud.project if project == 'own' else project}/jobs/{UNKNOWN}"

    assert code_of(recipient.send("GET", path)) == (400, code)
