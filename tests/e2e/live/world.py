"""One world for a test: the API server, the simulated cloud, and the operator as a process."""

import base64
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import httpx

from e2e.conftest import RESOURCES, SECRETS, Json
from envtest import ACCOUNT, ControlPlane, Operator, eventually, install_rights
from envtest.processes import LONGEST_PAUSE_S, PATIENCE_S
from otc_simulator.client import Simulator

__all__ = ["ACCOUNT", "Operator", "World", "eventually", "install_rights"]

PUT = "PUT /v1/cloudimages/members"
LOGIN = "POST /v3/auth/tokens"
JOB = "GET /v1/{project_id}/jobs/{job_id}"
MEMBER = "GET /v2/images/{image_id}/members/{member_id}"
SECRET = "otc-credentials"
REQUEST_S = 60.0
JOB_S = 0.4
HELD_JOB_S = 3600.0


class World:
    """What a test touches: users apply, the cloud answers, the status tells."""

    def __init__(
        self, control_plane: ControlPlane, sim: Simulator, operator: Operator, namespace: str
    ) -> None:
        self._begin(control_plane, operator, namespace)
        self.sim = sim
        # Of the test's own: what the operator remembers of an identity touches no other test.
        self.user, self.password = f"user-{namespace}", f"password-of-{namespace}"
        self.project = sim.add_project(f"eu-de_{namespace}")
        self.user_id = sim.add_user(self.user, self.password)
        self._began = time.monotonic()

    def _begin(self, control_plane: ControlPlane, operator: Operator, namespace: str) -> None:
        """Set what does not depend on the cloud."""
        self.control_plane = control_plane
        self.operator = operator
        self.namespace = namespace
        self.resources = RESOURCES.format(namespace=namespace)
        self.manifest: Json = {}
        self._secrets = SECRETS.format(namespace=namespace)

    def credentials(self) -> dict[str, str]:
        """The keys of a Secret that logs in."""
        return {
            "username": self.user,
            "password": self.password,
            "domainName": self.sim.domain,
        }

    def place(self) -> Json:
        """The fields of a spec that name the cloud."""
        return {"endpoints": {"iam": self.sim.url, "ims": self.sim.url}}

    def image(self, status: str = "pending") -> str:
        """An image that its owner shares with our project."""
        return self.sim.add_image(shared_with=(self.project,), status=status)

    def secret(self, name: str = SECRET, **data: str) -> None:
        """Make or replace a Secret; by default with the right credentials."""
        chosen = data or self.credentials()
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in chosen.items()}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": encoded,
        }
        made = self._http.post(self._secrets, json=body)
        if made.status_code == httpx.codes.CONFLICT:
            made = self._http.put(f"{self._secrets}/{name}", json=body)
        made.raise_for_status()

    def delete_secret(self, name: str = SECRET) -> None:
        self._http.delete(f"{self._secrets}/{name}").raise_for_status()

    def apply(
        self,
        images: Sequence[str] | None,
        name: str = "web",
        *,
        finalizers: Sequence[str] = (),
        **changes: object,
    ) -> str:
        """Create a resource; ``None`` in ``changes`` takes a field of the spec out."""
        spec: Json = {
            "images": None if images is None else list(images),
            "projectID": self.project,
            "credentialsSecretRef": {"name": SECRET},
            **self.place(),
            **changes,
        }
        body = {
            "apiVersion": "ims.otc.dev/v1alpha1",
            "kind": "ImageShareAcceptance",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                **({"finalizers": list(finalizers)} if finalizers else {}),
            },
            "spec": {field: value for field, value in spec.items() if value is not None},
        }
        self._http.post(self.resources, json=body).raise_for_status()
        self.manifest = body
        return name

    def accept(self, **changes: Any) -> str:
        """Apply a resource with a new image; return the image when it is accepted."""
        image = self.image()
        self.apply([image], **changes)
        self.wait_for("Accepted")
        return image

    def annotate(self, name: str = "web", **annotations: str) -> None:
        """Set annotations, as `kubectl annotate --overwrite` does."""
        self._merge(name, {"metadata": {"annotations": annotations}})

    def release(self, name: str = "web") -> None:
        """Take all finalizers off."""
        self._merge(name, {"metadata": {"finalizers": None}})

    def delete(self, name: str = "web") -> None:
        self._http.delete(f"{self.resources}/{name}").raise_for_status()

    def find(self, name: str = "web") -> Json | None:
        """The resource, or ``None`` when it is gone."""
        answer = self._http.get(f"{self.resources}/{name}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        body: Json = answer.raise_for_status().json()
        return body

    def edit(self, name: str = "web", **changes: object) -> None:
        """Change fields of the spec."""
        self._merge(name, {"spec": changes})

    def _merge(self, name: str, body: Json) -> None:
        self._http.patch(
            f"{self.resources}/{name}",
            headers={"Content-Type": "application/merge-patch+json"},
            json=body,
        ).raise_for_status()

    def get(self, name: str = "web") -> Json:
        body: Json = self._http.get(f"{self.resources}/{name}").raise_for_status().json()
        return body

    def status(self, name: str = "web") -> Json:
        status: Json = self.get(name)["status"]
        return status

    def statuses(self) -> Json:
        """The statuses of all resources by name, or why they can't be read."""
        try:
            rows = self._http.get(self.resources).raise_for_status().json()["items"]
        except httpx.HTTPError as exc:
            return {"error": str(exc)}
        return {row["metadata"]["name"]: row["status"] for row in rows}

    def condition(self, kind: str, name: str = "web") -> Json | None:
        rows = self.status(name).get("conditions", ())
        return next((row for row in rows if row["type"] == kind), None)

    def wait_for(self, reason: str, name: str = "web", *, within_s: float = PATIENCE_S) -> Json:
        """Wait until Ready has this reason for the present spec; return that condition.

        It watches, so that it also sees a reason that is soon replaced.
        """
        for body in self._versions(name, within_s):
            generation = body["metadata"]["generation"]
            for row in body["status"].get("conditions", ()):
                if (row["type"], row["reason"]) != ("Ready", reason):
                    continue
                if row["observedGeneration"] == generation:
                    return dict(row)
        raise AssertionError(
            f"{name} is not {reason} within {within_s:g} s: {self.status(name)}\n"
            f"{self.operator.tail()}"
        )

    def _versions(self, name: str, within_s: float) -> Iterator[Json]:
        """The resource as it is, then each change of it until the time is over."""
        ends = time.monotonic() + within_s
        while (left_s := ends - time.monotonic()) > 0:
            body = self.get(name)
            yield body
            with suppress(httpx.TransportError):  # as a restart of the API server ends a watch
                yield from self._changes(name, body["metadata"]["resourceVersion"], left_s)

    def _changes(self, name: str, version: str, within_s: float) -> Iterator[Json]:
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": str(math.ceil(within_s)),
        }
        reads = httpx.Timeout(REQUEST_S, read=within_s + REQUEST_S)
        with self._http.stream("GET", self.resources, params=query, timeout=reads) as answer:
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:  # the CRD has just changed
                time.sleep(LONGEST_PAUSE_S)
                return
            for line in answer.raise_for_status().iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":  # the version is too old
                    return
                yield event["object"]

    def events(self, name: str = "web") -> list[str]:
        """The reasons of the object's Events, oldest first."""
        rows = self._http.get(
            f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        ).raise_for_status()
        mine = [row for row in rows.json()["items"] if row["regarding"]["name"] == name]
        return [row["reason"] for row in sorted(mine, key=lambda row: str(row["eventTime"]))]

    def calls(self, route: str) -> int:
        """How often the route served this test's project since the test began, heard or unheard.

        What earlier tests left may still be rejected meanwhile. Calls that never got as far as
        having a project count as ours.
        """
        return sum(
            row["at_monotonic_s"] >= self._began and row["project"] in (None, self.project)
            for row in self.sim.journal(route)
        )

    def hold_jobs(self) -> None:
        """Let later jobs run until `finish_jobs`."""
        self.sim.settings(job_seconds=HELD_JOB_S)

    def finish_jobs(self) -> None:
        """End the jobs that run; later ones take their usual time."""
        self.sim.settings(job_seconds=JOB_S)
        self.sim.finish_jobs()

    def puts(self) -> list[dict[str, Any]]:
        """The batches of this test's project."""
        return [row for row in self.sim.journal(PUT) if row["project"] == self.project]

    def sent(self) -> list[str]:
        """The images of all batches of this test's project, sorted; doubles stay."""
        return sorted(image for put in self.puts() for image in put["images"])

    def membership(self, image: str) -> str | None:
        """What the cloud holds for the image and our project."""
        return self.sim.membership(image, self.project)

    @property
    def _http(self) -> httpx.Client:
        return self.control_plane.http
