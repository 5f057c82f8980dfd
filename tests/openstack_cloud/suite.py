"""The clouds that one suite of tests runs against.

    servers             a real Keystone and a real Glance, with the batch routes of IMS on top
    as OpenStack        the simulator with the settings of OpenStack
    as IMS              the simulator as it is by default: IAM and IMS of the Open Telekom Cloud

The first two must answer the same. A test says what the third one answers only where the
documentation of the Open Telekom Cloud differs. Batches are of the first and the third one.
"""

import itertools
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from contract.caller import tls_context
from openstack_cloud.cloud import TOKEN_CACHE_S, OpenStackCloud
from openstack_cloud.ims import ImsOnGlance
from openstack_cloud.keystone import password_login
from otc_simulator.client import Simulator

Json = dict[str, Any]
PASSWORD = "password"
OF_IMS = ("/v1/", "/v2/cloudimages")
"""Routes that Glance does not have."""


class Cloud(Protocol):
    """A cloud with a project that images are shared with, and a user of that project.

    Attributes:
        has_ims: whether it is IMS, and not Glance.
        owner: the project that shares the images.
        project: which images are shared with.
        other_project: a project in which users have no role unless `user` gives them one.
        user_id: of the user of the project.
    """

    @property
    def has_ims(self) -> bool: ...
    @property
    def owner(self) -> str: ...
    @property
    def project(self) -> str: ...
    @property
    def other_project(self) -> str: ...
    @property
    def user_id(self) -> str: ...

    def user(self, *projects: str) -> str:
        """Create a user with a role in these projects; return its ID."""
        ...

    def disable(self, user_id: str) -> None: ...
    def expire_password(self, user_id: str) -> None: ...

    def application_credential(self, *, expired: bool = False) -> Json:
        """Create an application credential of the user; return ``id`` and ``secret``."""
        ...

    def log_in(self, body: Json) -> httpx.Response: ...

    def owner_token(self) -> str:
        """A token of the owner of the images."""
        ...

    def revoke(self, token: str) -> None: ...

    def is_within_cache_time(self, since: float) -> bool:
        """Whether Glance still uses a token that it accepted at this monotonic time or later."""
        ...

    def wait_for_cache(self) -> None:
        """Wait until Glance asks Keystone about a token again."""
        ...

    def image(self, *, shared: bool = True) -> str:
        """Create an image; return its ID."""
        ...

    def set_visibility(self, image: str, visibility: str) -> None: ...
    def hide(self, image: str) -> None: ...

    def send(self, method: str, path: str, token: str | None, body: Any = None) -> httpx.Response:
        """Send a request to Glance or IMS."""
        ...


def login_body(user_id: str, project: str | None, password: str = PASSWORD) -> Json:
    return password_login({"id": user_id, "password": password}, project)


def token_of(cloud: Cloud, user_id: str, project: str | None) -> str:
    """Log in; return the token."""
    answer = cloud.log_in(login_body(user_id, project))
    return str(answer.raise_for_status().headers["X-Subject-Token"])


@dataclass(frozen=True, slots=True)
class Caller:
    """Sends requests to Glance or IMS with one token."""

    cloud: Cloud
    token: str

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.cloud.send(method, path, self.token, body)


class Client:
    """Sends requests to one base URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.Client(timeout=60, trust_env=False, verify=tls_context())

    def close(self) -> None:
        self._http.close()

    def send(self, method: str, path: str, token: str | None, body: Any) -> httpx.Response:
        headers = {"Accept": "application/json"} | ({"X-Auth-Token": token} if token else {})
        return self._http.request(method, f"{self._url}{path}", json=body, headers=headers)


@dataclass
class Servers:
    """A real Keystone and a real Glance, with the routes of IMS on top of it."""

    cloud: OpenStackCloud
    ims: ImsOnGlance
    has_ims: bool = False

    def __post_init__(self) -> None:
        self.identity = Client(self.cloud.auth_url)
        self.image_service = Client(self.cloud.image_url)
        self.batches = Client(self.ims.url)
        self.owner = self.cloud.glance.owner
        keystone = self.cloud.keystone
        self.project, self.other_project = keystone.project(), keystone.project()
        self.user_id = self.user(self.project)

    def user(self, *projects: str) -> str:
        keystone = self.cloud.keystone
        made = keystone.user(f"user-{uuid.uuid4()}", PASSWORD, None)
        for project in projects:
            keystone.grant(made, project)
        return made

    def disable(self, user_id: str) -> None:
        self.cloud.keystone.change_user(user_id, enabled=False)

    def expire_password(self, user_id: str) -> None:
        self.cloud.expire_password(user_id)

    def application_credential(self, *, expired: bool = False) -> Json:
        keystone = self.cloud.keystone
        made = keystone.application_credential(self.user_id, PASSWORD, self.project)
        if expired:
            self.cloud.expire_application_credential(made["id"])
        return {"id": made["id"], "secret": made["secret"]}

    def log_in(self, body: Json) -> httpx.Response:
        return self.identity.send("POST", "/v3/auth/tokens", None, body)

    def owner_token(self) -> str:
        return str(self.cloud.glance.http.headers["X-Auth-Token"])

    def revoke(self, token: str) -> None:
        self.cloud.keystone.revoke(token)

    def is_within_cache_time(self, since: float) -> bool:
        return time.monotonic() - since < TOKEN_CACHE_S

    def wait_for_cache(self) -> None:
        time.sleep(TOKEN_CACHE_S)

    def image(self, *, shared: bool = True) -> str:
        return self.cloud.glance.image(shared_with=[self.project] if shared else [])

    def set_visibility(self, image: str, visibility: str) -> None:
        self.cloud.glance.change(image, visibility=visibility)

    def hide(self, image: str) -> None:
        self.cloud.glance.change(image, os_hidden=True)

    def send(self, method: str, path: str, token: str | None, body: Any = None) -> httpx.Response:
        client = self.batches if path.startswith(OF_IMS) else self.image_service
        return client.send(method, path, token, body)

    def close(self) -> None:
        for client in (self.identity, self.image_service, self.batches):
            client.close()


@dataclass
class Simulated:
    """The simulator, with the settings of OpenStack or of IMS."""

    sim: Simulator
    has_ims: bool
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.client = Client(self.sim.url)
        self.project = self.sim.project_id
        self.owner = self.sim.owner_project_id
        self.other_project = self.sim.add_project("other")
        self.user_id = self.user(self.project)

    def user(self, *projects: str) -> str:
        rights = {project: ["share", "get", "list"] for project in projects}
        return self.sim.add_user(f"user-{next(self._numbers)}", PASSWORD, policies=rights)

    def disable(self, user_id: str) -> None:
        self.sim.change_user(user_id, enabled=False)

    def expire_password(self, user_id: str) -> None:
        self.sim.expire_password(user_id)

    def application_credential(self, *, expired: bool = False) -> Json:
        made = {"id": f"credential-{next(self._numbers)}", "secret": "secret"}
        more = {"ttl_seconds": 0} if expired else {}
        self.sim.add_application_credential(
            self.user_id, self.project, made["id"], made["secret"], **more
        )
        return made

    def log_in(self, body: Json) -> httpx.Response:
        return self.send("POST", "/v3/auth/tokens", None, body)

    def owner_token(self) -> str:
        domain = {"name": self.sim.owner_domain}
        user = {"name": self.sim.owner_user, "password": self.sim.owner_password, "domain": domain}
        answer = self.log_in(password_login(user, self.owner))
        return str(answer.raise_for_status().headers["X-Subject-Token"])

    def revoke(self, token: str) -> None:
        self.sim.expire_tokens(token)

    def is_within_cache_time(self, since: float) -> bool:
        del since
        return True  # its clock is advanced by `wait_for_cache` alone

    def wait_for_cache(self) -> None:
        self.sim.advance(301)

    def image(self, *, shared: bool = True) -> str:
        self.sim.advance(1)  # images of one second have no order
        return self.sim.add_image(shared_with=[self.project] if shared else [])

    def set_visibility(self, image: str, visibility: str) -> None:
        self.sim.set_visibility(image, visibility)

    def hide(self, image: str) -> None:
        self.sim.hide(image)

    def send(self, method: str, path: str, token: str | None, body: Any = None) -> httpx.Response:
        return self.client.send(method, path, token, body)

    def close(self) -> None:
        self.client.close()
