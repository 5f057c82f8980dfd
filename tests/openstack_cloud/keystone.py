"""What the administrator of Keystone does: projects, users, credentials, the service catalog."""

import itertools
from typing import Any

import httpx

from openstack_cloud.installation import ADMIN_PASSWORD, REGION

Json = dict[str, Any]
DOMAIN = "default"
LOCKOUT_ATTEMPTS = 5
"""Failed logins that lock a user, as `keystone.conf` says."""
MEMBER = "member"
"""The role that Keystone and Glance need for images of a project."""


def password_login(user: Json, project_id: str | None) -> Json:
    """The body of a login with a password; ``user`` is as Keystone documents it."""
    auth: Json = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if project_id is not None:
        auth["scope"] = {"project": {"id": project_id}}
    return {"auth": auth}


class Keystone:
    """The administrator at the API of Keystone."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=f"{url}/v3", timeout=60, trust_env=False)
        self._numbers = itertools.count(1)
        self._roles: dict[str, str] = {}

    def close(self) -> None:
        self.http.close()

    def log_in(self) -> None:
        """Log in as the administrator; all later calls use this token."""
        user = {"name": "admin", "password": ADMIN_PASSWORD, "domain": {"id": DOMAIN}}
        body = password_login(user, None)
        body["auth"]["scope"] = {"project": {"name": "admin", "domain": {"id": DOMAIN}}}
        answer = self.http.post("/auth/tokens", json=body).raise_for_status()
        self.http.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        roles = self._get("/roles")["roles"]
        self._roles = {row["name"]: row["id"] for row in roles}

    def domain(self, name: str) -> str:
        """Create a domain; return its ID."""
        return str(self._post("/domains", "domain", name=name)["id"])

    def project(self, name: str = "", domain_id: str = DOMAIN) -> str:
        """Create a project; return its ID."""
        name = name or f"project-{next(self._numbers)}"
        return str(self._post("/projects", "project", name=name, domain_id=domain_id)["id"])

    def user(
        self, name: str, password: str, project_id: str | None, domain_id: str = DOMAIN
    ) -> str:
        """Create a user with a role in the project; return its ID."""
        made = self._post("/users", "user", name=name, password=password, domain_id=domain_id)
        if project_id is not None:
            self.grant(made["id"], project_id)
        return str(made["id"])

    def lock(self, user_id: str) -> None:
        """Lock a user by failed logins."""
        for _ in range(LOCKOUT_ATTEMPTS):
            body = password_login({"id": user_id, "password": "wrong"}, None)
            assert not self.http.post("/auth/tokens", json=body).is_success

    def grant(self, user_id: str, project_id: str, role: str = MEMBER) -> None:
        self._send("PUT", f"/projects/{project_id}/users/{user_id}/roles/{self._roles[role]}")

    def revoke_role(self, user_id: str, project_id: str, role: str = MEMBER) -> None:
        self._send("DELETE", f"/projects/{project_id}/users/{user_id}/roles/{self._roles[role]}")

    def change_user(self, user_id: str, **changes: object) -> None:
        self._send("PATCH", f"/users/{user_id}", {"user": changes})

    def application_credential(
        self,
        user_id: str,
        password: str,
        project_id: str,
        *,
        roles: tuple[str, ...] = (),
        access_rules: tuple[Json, ...] = (),
    ) -> Json:
        """Create an application credential as its user; return it with ``id`` and ``secret``.

        Args:
            roles: a part of the roles of the user; empty for all of them.
            access_rules: the requests that are allowed; empty for all of them.
        """
        body: Json = {"name": f"credential-{next(self._numbers)}"}
        if roles:
            body["roles"] = [{"name": role} for role in roles]
        if access_rules:
            body["access_rules"] = list(access_rules)
        token = self.token({"id": user_id, "password": password}, project_id)
        answer = self.http.post(
            f"/users/{user_id}/application_credentials",
            json={"application_credential": body},
            headers={"X-Auth-Token": token},
        )
        made: Json = answer.raise_for_status().json()["application_credential"]
        return made

    def delete_application_credential(self, user_id: str, credential_id: str) -> None:
        self._send("DELETE", f"/users/{user_id}/application_credentials/{credential_id}")

    def token(self, user: Json, project_id: str | None) -> str:
        """Log in and return the token."""
        answer = self.http.post("/auth/tokens", json=password_login(user, project_id))
        return str(answer.raise_for_status().headers["X-Subject-Token"])

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        headers = {"X-Subject-Token": token}
        self.http.delete("/auth/tokens", headers=headers).raise_for_status()

    def image_service(self, *urls: str, region: str = REGION, interface: str = "public") -> str:
        """Add an image service with these endpoints to the catalog; return its ID."""
        made = self._post("/services", "service", type="image", name="glance")
        for url in urls:
            self.endpoint(made["id"], url, region=region, interface=interface)
        return str(made["id"])

    def endpoint(
        self, service_id: str, url: str, *, region: str = REGION, interface: str = "public"
    ) -> str:
        """Add an endpoint to the catalog; return its ID."""
        more = {"service_id": service_id, "region_id": region, "interface": interface, "url": url}
        return str(self._post("/endpoints", "endpoint", **more)["id"])

    def endpoints(self, service_id: str) -> list[str]:
        """The IDs of the endpoints of a service."""
        rows = self._get(f"/endpoints?service_id={service_id}")["endpoints"]
        return [str(row["id"]) for row in rows]

    def region(self, name: str) -> None:
        self._post("/regions", "region", id=name)

    def delete_endpoint(self, endpoint_id: str) -> None:
        self._send("DELETE", f"/endpoints/{endpoint_id}")

    def _post(self, path: str, kind: str, **fields: object) -> Json:
        made: Json = self._send("POST", path, {kind: fields})[kind]
        return made

    def _get(self, path: str) -> Json:
        return self._send("GET", path)

    def _send(self, method: str, path: str, body: Json | None = None) -> Json:
        answer = self.http.request(method, path, json=body)
        if not answer.is_success:
            raise AssertionError(f"{method} {path}: HTTP {answer.status_code}: {answer.text}")
        read: Json = answer.json() if answer.content else {}
        return read
