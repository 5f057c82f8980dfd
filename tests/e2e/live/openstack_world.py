"""One world for a test: the API server, a real Keystone and Glance, the operator as a process."""

import itertools
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import httpx

from e2e.conftest import Json
from e2e.live.world import Operator, World, eventually
from envtest import ControlPlane
from envtest.processes import PATIENCE_S
from openstack_cloud import OpenStackCloud
from openstack_cloud.access_log import Request
from openstack_cloud.glance import Glance
from openstack_cloud.ims import ImsOnGlance

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
        self._numbers = itertools.count(1)
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

    def client_env(self) -> dict[str, str]:
        """The environment of the OpenStack client for our user and our project."""
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return env | {
            "OS_AUTH_TYPE": "v3password",
            "OS_AUTH_URL": self.cloud.auth_url,
            "OS_USER_ID": self.user_id,
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_ID": self.project,
            "OS_IDENTITY_API_VERSION": "3",
        }

    def place(self, **openstack: object) -> Json:
        """The fields of a spec that name the cloud."""
        return {"openstack": {"authURL": self.cloud.auth_url, **openstack}}

    def select(
        self, pattern: str = "ubuntu-*", policy: Json | None = None, **changes: object
    ) -> str:
        """Create a resource that selects images of the owner by their names."""
        terms = [{"owner": self.glance.owner, "name": pattern}]
        fields: Json = {"imageSelectorTerms": terms, "imageSelectionPolicy": policy}
        return self.apply(None, **{**fields, **changes})

    def check(self, name: str = "web") -> Json:
        """Ask for a reconcile; return the status after it."""
        asked = f"check-{next(self._numbers)}"
        self.annotate(name, **{"ims.otc.dev/reconcile-at": asked})

        def handled() -> Json | None:
            status = self.status(name)
            return status if status.get("lastHandledReconcileAt") == asked else None

        return eventually(handled)

    def statuses_until(self, reason: str, images: Sequence[str]) -> list[Json]:
        """Apply a resource; return each status that is written until Ready has this reason."""
        listed = self._http.get(self.resources).raise_for_status().json()
        version = listed["metadata"]["resourceVersion"]
        self.apply(images)
        written: list[Json] = []
        ends = time.monotonic() + PATIENCE_S
        while (left_s := ends - time.monotonic()) > 0:
            for body in self._changes("web", version, left_s):
                version = body["metadata"]["resourceVersion"]
                status: Json = body["status"]
                conditions = status.get("conditions", ())
                if conditions and status not in written[-1:]:
                    written.append(status)
                if any(row["reason"] == reason for row in conditions):
                    return written
        raise AssertionError(f"not {reason}: {written}")

    def wait_for_summary(self, summary: str) -> Json:
        """Wait for this count of images that are as wanted; return the status."""

        def found() -> Json | None:
            status = self.status()
            return status if status.get("summary") == summary else None

        return eventually(found)

    def wait_for_membership(self, image: str, status: str) -> None:
        eventually(lambda: self.membership(image) == status or None)

    def set_member(self, image: str, status: str) -> None:
        """Set a membership as another client of our project."""
        self.glance.set_member(image, self.project, status, self.token())

    def token(self) -> str:
        """A token of our user for our project."""
        user = {"id": self.user_id, "password": PASSWORD}
        return self.cloud.keystone.token(user, self.project)

    def share_as_another_owner(self, name: str) -> str:
        """Let another project share an image with ours."""
        with closing(self.cloud.owner(f"owner-{self.namespace}")) as owner:
            return owner.image(name, shared_with=[self.project])

    def share_own_image(self, name: str) -> str:
        """Share an image of our project with another one."""
        other = self.cloud.keystone.project(f"recipient-{self.namespace}")
        with closing(self.cloud.glance_of(self.project, self.token())) as own:
            return own.image(name, shared_with=[other])

    def publish(self, name: str) -> str:
        """Let the owner share an image with this name."""
        return self.glance.image(name, shared_with=[self.project])

    def requests(self) -> list[Request]:
        """The updates of memberships in our project since the test began."""
        return self.cloud.image.log.since(
            self._images_from, "PUT", rf"/v2/images/[^/]+/members/{self.project}"
        )

    def wait_for_puts(self, count: int) -> None:
        """Wait until Glance has handled so many updates of memberships."""
        eventually(lambda: len(self.requests()) >= count or None)

    def puts_per_image(self) -> Counter[str]:
        """How often Glance got the membership of each image."""
        return Counter(request.path.split("/")[3] for request in self.requests())

    def failed_logins(self) -> int:
        """Logins that Keystone refused since the test began."""
        return sum(login.status != httpx.codes.CREATED for login in self._logins())

    def logins(self) -> int:
        """Logins that Keystone accepted since the test began, also those of Glance."""
        return sum(login.status == httpx.codes.CREATED for login in self._logins())

    def _logins(self) -> list[Request]:
        return self.cloud.identity.log.since(self._logins_from, "POST", "/v3/auth/tokens")

    def application_credential(self, project: str | None = None, **options: Any) -> Json:
        """An application credential of the user, by default for our project."""
        return self.cloud.keystone.application_credential(
            self.user_id, PASSWORD, project or self.project, **options
        )

    def other_project(self) -> str:
        """Create another project in which our user has the same role."""
        project = self.cloud.keystone.project(f"other-{self.namespace}")
        self.cloud.keystone.grant(self.user_id, project)
        return project

    def membership(self, image: str) -> str | None:
        """What Glance has for the image and our project."""
        return self.memberships().get(image)

    def memberships(self) -> dict[str, str]:
        """All memberships of our project."""
        return self.cloud.glance.memberships(self.project)


class ImsOnGlanceWorld(OpenStackWorld):
    """The same cloud through the routes of the Open Telekom Cloud."""

    ims: ImsOnGlance

    def credentials(self) -> dict[str, str]:
        return {
            "username": f"user-{self.namespace}",
            "password": PASSWORD,
            "domainName": "Default",
        }

    def place(self, **_: object) -> Json:
        return {"endpoints": {"iam": self.ims.url, "ims": self.ims.url}}

    def batches(self) -> list[tuple[str, set[str]]]:
        """What each batch of our project asked for, oldest first."""
        return [(job.status, set(job.images)) for job in self.ims.batches(self.project)]
