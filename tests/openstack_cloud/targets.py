"""The clouds that the same tests run against: a real Glance, and the simulator of IMS."""

from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from contract.caller import Caller
from openstack_cloud.cloud import OpenStackCloud
from openstack_cloud.ims import ImsOnGlance
from otc_simulator.client import Simulator

JSON = {"Accept": "application/json"}
PASSWORD = "password"
OF_IMS = ("/v1/", "/v2/cloudimages")
"""Routes that Glance does not have."""


class Target(Protocol):
    """A cloud with an owner of images and a recipient of shares.

    Attributes:
        project: of the recipient.
        owner: the project of the owner.
    """

    @property
    def project(self) -> str: ...
    @property
    def owner(self) -> str: ...

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
    """A real Glance, with the routes of IMS on top of it; a project and a user of its own."""

    cloud: OpenStackCloud
    ims: ImsOnGlance

    def __post_init__(self) -> None:
        keystone = self.cloud.keystone
        self.project = keystone.project()
        self.owner = self.cloud.glance.owner
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
        base = self.ims.url if path.startswith(OF_IMS) else self.cloud.image_url
        url = f"{base}{path}"
        return httpx.request(method, url, json=body, headers=headers, timeout=60)


@dataclass
class Simulated:
    """The simulator of IMS, with its default projects."""

    sim: Simulator

    def __post_init__(self) -> None:
        sim = self.sim
        self.project = sim.project_id
        self.owner = sim.owner_project_id
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
