"""Memberships of one image: the same tests for a real Glance and for the simulator of IMS."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import pytest

from contract.caller import Caller
from openstack_cloud import OpenStackCloud
from otc_simulator.client import Simulator

JSON = {"Accept": "application/json"}
PASSWORD = "password"


class Target(Protocol):
    """A cloud with an owner of images and a recipient of shares."""

    project: str

    def image(self) -> str:
        """An image that is shared with the recipient."""
        ...

    def publish(self, image: str) -> None:
        """Make the image visible to all projects."""
        ...

    def send(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request as the ``owner`` or the ``recipient``."""
        ...


@dataclass
class Glance:
    """A real Glance, with a project and a user of the test's own."""

    cloud: OpenStackCloud

    def __post_init__(self) -> None:
        keystone = self.cloud.keystone
        self.project = keystone.project()
        user = keystone.user(f"user-of-{self.project}", PASSWORD, self.project)
        token = keystone.token({"id": user, "password": PASSWORD}, self.project)
        self._tokens = {"recipient": token}

    def image(self) -> str:
        return self.cloud.glance.image(shared_with=[self.project])

    def publish(self, image: str) -> None:
        self.cloud.glance.change(image, visibility="community")

    def send(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        owner = str(self.cloud.glance.http.headers["X-Auth-Token"])
        headers = {**JSON, "X-Auth-Token": self._tokens.get(who, owner)}
        url = f"{self.cloud.image_url}{path}"
        return httpx.request(method, url, json=body, headers=headers, timeout=60)


@dataclass
class Simulated:
    """The simulator of IMS, with its default projects."""

    sim: Simulator

    def __post_init__(self) -> None:
        sim = self.sim
        self.project = sim.project_id
        owner = (sim.owner_user, sim.owner_password, sim.owner_domain)
        self.callers = {
            "recipient": Caller(sim),
            "owner": Caller(sim, sim.owner_project_id, owner),
        }

    def image(self) -> str:
        return self.sim.add_image(shared_with=[self.project])

    def publish(self, image: str) -> None:
        self.sim.add_image(id=image, public=True)

    def send(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.callers[who].send(method, path, json=body)


@pytest.fixture(scope="module", params=["glance", "simulator"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    if request.param == "glance":
        yield Glance(request.getfixturevalue("openstack"))
        return
    with Simulator() as sim:
        made = Simulated(sim)
        yield made
        for caller in made.callers.values():
            caller.close()


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
