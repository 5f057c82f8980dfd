"""One world for a test: the API server, a real Keystone and Glance, the operator as a process."""

from typing import Any

import httpx

from e2e.conftest import Json
from e2e.live.world import Operator, World
from envtest import ControlPlane
from openstack_cloud import OpenStackCloud
from openstack_cloud.access_log import Request
from openstack_cloud.glance import Glance

PASSWORD = "password-of-the-user"


class OpenStackWorld(World):
    """What a test touches: users apply, Keystone and Glance answer, the status tells."""

    def __init__(
        self,
        control_plane: ControlPlane,
        cloud: OpenStackCloud,
        operator: Operator,
        namespace: str,
    ) -> None:
        self._begin(control_plane, operator, namespace)
        self.cloud = cloud
        self.project = cloud.keystone.project(namespace)
        self.user_id = cloud.keystone.user(f"user-{namespace}", PASSWORD, self.project)
        self._images_from = cloud.image.log.position()
        self._logins_from = cloud.identity.log.position()

    @property
    def glance(self) -> Glance:
        """The owner of the images."""
        return self.cloud.glance

    def image(self, status: str = "pending") -> str:
        assert status == "pending"
        return self.cloud.glance.image(shared_with=[self.project])

    def credentials(self) -> dict[str, str]:
        return {"userID": self.user_id, "password": PASSWORD}

    def place(self, **openstack: object) -> Json:
        """The fields of a spec that name the cloud."""
        return {"openstack": {"authURL": self.cloud.auth_url, **openstack}}

    def requests(self) -> list[Request]:
        """The updates of memberships in our project since the test began."""
        return self.cloud.image.log.since(
            self._images_from, "PUT", rf"/v2/images/[^/]+/members/{self.project}"
        )

    def failed_logins(self) -> int:
        """Logins that Keystone refused since the test began."""
        logins = self.cloud.identity.log.since(self._logins_from, "POST", "/v3/auth/tokens")
        return sum(login.status != httpx.codes.CREATED for login in logins)

    def application_credential(self, project: str | None = None, **options: Any) -> Json:
        """An application credential of the user, by default for our project."""
        return self.cloud.keystone.application_credential(
            self.user_id, PASSWORD, project or self.project, **options
        )

    def cannot_use(self, credential: Json) -> bool:
        """Whether Keystone refuses the application credential."""
        identity = {
            "methods": ["application_credential"],
            "application_credential": {key: credential[key] for key in ("id", "secret")},
        }
        body = {"auth": {"identity": identity}}
        return not self.cloud.keystone.http.post("/auth/tokens", json=body).is_success

    def membership(self, image: str) -> str | None:
        """What Glance has for the image and our project."""
        return self.memberships().get(image)

    def memberships(self) -> dict[str, str]:
        """All memberships of our project."""
        return self.cloud.glance.memberships(self.project)
