"""Batches and lists of IMS: the same tests for the simulator and for a real Glance."""

from typing import Any

import httpx
import pytest

from envtest import eventually
from openstack_cloud.targets import Target

BATCH = "/v1/cloudimages/members"
LIST = "/v2/cloudimages?visibility=shared&__imagetype=shared&member_status="
UNKNOWN = "0" * 32


def send(target: Target, images: list[str], status: str, project: str = "") -> httpx.Response:
    """Send a batch as the recipient."""
    body = {"images": images, "project_id": project or target.project, "status": status}
    return target.send("recipient", "PUT", BATCH, body)


def follow(target: Target, started: httpx.Response) -> dict[str, Any]:
    """Wait until the job has ended; return it."""
    path = f"/v1/{target.project}/jobs/{started.json()['job_id']}"

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = target.send("recipient", "GET", path).json()
        return None if job["status"] in ("INIT", "RUNNING") else job

    return eventually(ended)


def listed(target: Target, status: str, query: str = "") -> list[str]:
    rows = target.send("recipient", "GET", f"{LIST}{status}{query}").json()["images"]
    return [row["id"] for row in rows]


def code_of(refusal: httpx.Response) -> tuple[int, str]:
    return refusal.status_code, refusal.json()["error"]["code"]


def test_batch_sets_all_memberships(target: Target) -> None:
    images = [target.image(), target.image()]
    job = follow(target, send(target, images, "accepted"))
    rows = {row["image_id"]: row["status"].lower() for row in job["entities"]["results"]}

    assert (job["status"], job["error_code"]) == ("SUCCESS", None)
    assert rows == dict.fromkeys(images, "success")
    assert set(images) <= set(listed(target, "accepted"))


def test_image_without_a_share_fails_and_the_other_does_not(target: Target) -> None:
    good, bad = target.image(), "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"
    job = follow(target, send(target, [bad, good], "accepted"))
    failed = [
        row["image_id"] for row in job["entities"]["results"] if row["status"].lower() != "success"
    ]

    assert job["status"] == "FAIL"
    assert failed == [bad]
    assert good in listed(target, "accepted")


def test_each_list_has_one_membership(target: Target) -> None:
    images = {status: target.image() for status in ("pending", "accepted", "rejected")}
    for status in ("accepted", "rejected"):
        follow(target, send(target, [images[status]], status))
    for status, image in images.items():
        assert set(listed(target, status)) & set(images.values()) == {image}


def test_list_has_no_link_to_the_next_page(target: Target) -> None:
    for _ in range(2):
        target.image()
    page = target.send("recipient", "GET", f"{LIST}pending&limit=1").json()

    assert len(page["images"]) == 1
    assert "next" not in page


def test_list_of_an_owner_has_no_image_of_another_one(target: Target) -> None:
    image = target.image()

    assert image in listed(target, "pending", f"&owner={target.owner}")
    assert listed(target, "pending", f"&owner={UNKNOWN}") == []


def test_batch_for_another_project_is_refused(target: Target) -> None:
    assert code_of(send(target, [target.image()], "accepted", UNKNOWN)) == (400, "IMG.0030")


@pytest.mark.parametrize(("project", "code"), [("own", "IMG.0023"), (UNKNOWN, "IMG.0030")])
def test_unknown_job_is_refused(target: Target, project: str, code: str) -> None:
    path = f"/v1/{target.project if project == 'own' else project}/jobs/{UNKNOWN}"

    assert code_of(target.send("recipient", "GET", path)) == (400, code)
