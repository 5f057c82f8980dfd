"""The test side: starts the simulator as a process of its own and speaks to its control API."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import trustme

from envtest.processes import Running, launch
from otc_simulator import defaults

TESTS = Path(__file__).resolve().parent.parent
STOP_SECONDS = 30.0


def tls_arguments(authority: trustme.CA, scratch: Path, *hosts: str) -> tuple[str, ...]:
    """Return the arguments of a `Simulator` behind TLS, with a certificate for ``hosts``."""
    certificate = authority.issue_cert(*hosts)
    certificate.private_key_pem.write_to_path(scratch / "key")
    for part in certificate.cert_chain_pems:
        part.write_to_path(scratch / "cert", append=True)
    return "--tls-cert", str(scratch / "cert"), "--tls-key", str(scratch / "key")


class Simulator(Running):
    """One simulator process; a context manager.

    ``url`` serves IAM and IMS. The default account, user and project are attributes, so that a
    short test needs no seed.
    """

    module = "otc_simulator"
    """What is run."""

    domain = defaults.DOMAIN
    user = defaults.USER
    user_id = defaults.USER_ID
    password = defaults.PASSWORD
    project = defaults.PROJECT
    project_id = defaults.PROJECT_ID
    owner_domain = defaults.OWNER_DOMAIN
    owner_user = defaults.OWNER_USER
    owner_password = defaults.OWNER_PASSWORD
    owner_project_id = defaults.OWNER_PROJECT_ID

    url: str
    control_url: str
    pid: int

    def __init__(self, *arguments: str) -> None:
        """Keep ``arguments`` for the command line, e.g. ``"--job-seconds", "0.1"``."""
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._http: httpx.Client | None = None

    def start(self) -> None:
        """Start the process and wait for its ready line; raises RuntimeError without one."""
        path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
        self._process = launch(
            [sys.executable, "-m", self.module, *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._process.stdout.close()
            raise RuntimeError(f"the simulator ended with code {code} before it was ready")
        ready = json.loads(line)
        self.url, self.control_url, self.pid = ready["url"], ready["control_url"], ready["pid"]
        self._http = httpx.Client(base_url=self.control_url, timeout=120.0, trust_env=False)

    def stop(self) -> None:
        """End the process, frozen or not; state is lost. May be called twice."""
        if self._http is not None:
            self._http.close()
            self._http = None
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def reset(self) -> None:
        """Go back to the state right after the start; online again."""
        self._call("POST", "online")
        self._call("POST", "reset")

    def seed(
        self,
        *,
        accounts: Sequence[Mapping[str, Any]] = (),
        images: Sequence[Mapping[str, Any]] = (),
        shares: Sequence[tuple[str, str, str]] = (),
        vaults: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Plant many things at once; returns the ids in the same shape."""
        body = {"accounts": accounts, "images": images, "shares": shares, "vaults": vaults}
        return self._call("POST", "seed", body)

    def add_project(self, name: str, *, domain: str = domain, region: str | None = None) -> str:
        """Add a project to an account; its users may use it at once."""
        project = {"name": name} | ({"region": region} if region else {})
        told = self.seed(accounts=[{"name": domain, "projects": [project]}])
        return str(told["accounts"][0]["projects"][0]["id"])

    def add_user(self, name: str, password: str, *, domain: str = domain, **user: Any) -> str:
        """Add a user; further keys: programmatic, enabled, policies ({project id: [right]})."""
        raw = {"name": name, "password": password, **user}
        told = self.seed(accounts=[{"name": domain, "users": [raw]}])
        return str(told["accounts"][0]["users"][0]["id"])

    def add_access_key(self, user_id: str, key_id: str, secret: str, **key: Any) -> None:
        """Give a user of the default account a key; further keys: security_token, ttl_seconds."""
        self._call("POST", "access_keys", {"id": key_id, "secret": secret, "user": user_id, **key})

    def change_access_key(self, key_id: str, **changes: Any) -> None:
        """Change enabled or secret; ``end=True`` ends it now, ``unlock=True`` ends a lock."""
        self._call("PATCH", "access_keys", {"id": key_id, **changes})

    def delete_access_key(self, key_id: str) -> None:
        self._call("DELETE", "access_keys", {"id": key_id})

    def add_agency(self, name: str, account: str, *, trusts: str = domain, **agency: Any) -> None:
        """Let another account act for ``account``; further keys: policies ({project: [right]})."""
        raw = {"name": name, "trusts": trusts, **agency}
        self.seed(accounts=[{"name": account, "agencies": [raw]}])

    def add_identity_provider(
        self,
        provider: str,
        *,
        issuer: str,
        audience: str,
        jwks: Mapping[str, Any],
        mappings: Mapping[str, Mapping[str, Any]],
        account: str = domain,
    ) -> None:
        """Add or replace an identity provider; ``mappings``: further keys of users by subject."""
        raw = {
            "id": provider,
            "issuer": issuer,
            "audience": audience,
            "jwks": jwks,
            "mappings": mappings,
        }
        self.seed(accounts=[{"name": account, "identity_providers": [raw]}])

    def add_image(
        self,
        *,
        shared_with: Sequence[str] = (),
        status: str = "pending",
        owner: str = owner_project_id,
        **image: Any,
    ) -> str:
        """Add an image, shared with projects; further keys: id, name, whole, public."""
        (image_id,) = self.seed(images=[{"owner": owner, **image}])["images"]
        if shared_with:
            self.seed(shares=[(image_id, project, status) for project in shared_with])
        return str(image_id)

    def add_images(
        self, count: int, *, shared_with: Sequence[str] = (), status: str = "pending"
    ) -> list[str]:
        """Add many images in two calls."""
        images = self.seed(images=[{"owner": self.owner_project_id}] * count)["images"]
        self.seed(shares=[(image, project, status) for image in images for project in shared_with])
        return [str(image) for image in images]

    def publish(
        self,
        name: str,
        *,
        shared_with: Sequence[str],
        owner: str = owner_project_id,
        created_at: datetime | None = None,
        **image: Any,
    ) -> str:
        """Let an owner build an image and share it, pending.

        Further keys: id, status (of the image, such as ``queued``), os_type, whole, extra, hidden.
        ``hidden=["created_at"]`` leaves that key out of the image's row.
        """
        at = created_at.isoformat() if created_at else None
        row = {"owner": owner, "name": name, "created_at": at, **image}
        image_id = str(self.seed(images=[row])["images"][0])
        self.share(image_id, *shared_with)
        return image_id

    def share(self, image: str, *projects: str) -> None:
        """Let the owner share an image: pending, also after a withdrawal."""
        self._call("POST", "shares", {"image": image, "projects": projects})

    def change_image(self, image: str, **changes: Any) -> None:
        """Let the owner change an image: name, status, os_type, whole, created_at (ISO), extra."""
        self._call("POST", "images", {"image": image, **changes})

    def set_visibility(self, image: str, visibility: str) -> None:
        """Let the owner make an image public, community, shared or private; its members stay."""
        self.change_image(image, visibility=visibility)

    def hide(self, image: str) -> None:
        """Let the owner take an image out of all lists (``os_hidden``)."""
        self.change_image(image, os_hidden=True)

    def rename(self, image: str, name: str) -> None:
        self.change_image(image, name=name)

    def deactivate(self, image: str) -> None:
        """Let the owner deactivate an image: it stays shared and listed, but can't be used."""
        self.change_image(image, status="deactivated")

    def reactivate(self, image: str) -> None:
        self.change_image(image, status="active")

    def add_vault(self, project_id: str, **vault: Any) -> str:
        """Add a vault; further keys: kind (default server_backup), capacity_gb."""
        return str(self.seed(vaults=[{"project": project_id, **vault}])["vaults"][0])

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings (see ``otc_simulator.settings``); returns all of them."""
        return self._call("POST", "settings", changes)

    def fault(
        self,
        route: str,
        *,
        when: Mapping[str, Any] | None = None,
        count: int | None = None,
        images: Sequence[str] = (),
        projects: Sequence[str] = (),
        query: Mapping[str, str | None] | None = None,
        **do: Any,
    ) -> None:
        """Add a fault rule; ``do`` as ``otc_simulator.faults.Effect``, e.g. ``status=503``."""
        rule = {"route": route, "images": list(images), "projects": list(projects), "do": do}
        self._call("POST", "faults", rule | {"when": when, "count": count, "query": query or {}})

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def counters(self) -> dict[str, Any]:
        return self._call("GET", "counters")

    def calls(self, route: str) -> int:
        """Return how often a route was called, e.g. ``PUT /v1/cloudimages/members``."""
        return int(self.counters()["calls"].get(route, 0))

    def journal(self, route: str | None = None) -> list[dict[str, Any]]:
        query = {"route": route} if route else {}
        return list(self._call("GET", "journal", params=query)["calls"])

    def members(self) -> list[dict[str, str]]:
        """Return every membership as it is, lags aside."""
        return list(self._call("GET", "members")["members"])

    def membership(self, image: str, project: str) -> str | None:
        """Return one membership's status as it is, lags aside; None: not shared."""
        query = {"image": image, "project": project}
        rows = self._call("GET", "members", params=query)["members"]
        return str(rows[0]["status"]) if rows else None

    def set_membership(self, image: str, project: str, status: str) -> None:
        """Set a status, as a user of the console does."""
        body = {"image": image, "project": project, "status": status}
        self._call("POST", "members", body)

    def withdraw(self, image: str, project: str) -> None:
        """Let the owner stop sharing."""
        self._call("DELETE", "members", {"image": image, "project": project})

    def delete_image(self, image: str) -> None:
        self._call("DELETE", "images", {"image": image})

    def change_user(self, user_id: str = user_id, **changes: Any) -> None:
        """Change password, enabled, programmatic, policies; ``unlock=True`` ends a lock."""
        self._call("POST", "users", {"id": user_id, **changes})

    def set_password(self, password: str, *, user_id: str = user_id) -> None:
        self.change_user(user_id, password=password)

    def expire_password(self, user_id: str = user_id) -> None:
        self.change_user(user_id, password_expired=True)

    def add_application_credential(
        self, user_id: str, project_id: str, credential_id: str, secret: str, **more: Any
    ) -> None:
        """Give a user a credential for a project; a further key: ttl_seconds."""
        body = {"user": user_id, "project": project_id, "id": credential_id, "secret": secret}
        self._call("POST", "application_credentials", body | more)

    def expire_tokens(self, *tokens: str) -> None:
        """Let these tokens stop working, or every token that is out."""
        self._call("DELETE", "tokens", {"tokens": tokens})

    def finish_jobs(self) -> None:
        """End every job that is under way, in the order in which they would end."""
        self._call("POST", "jobs")

    def advance(self, seconds: float) -> None:
        self._call("POST", "clock", {"advance_seconds": seconds})

    def pause(self, seconds: float | None = None) -> None:
        """Refuse connections, keep the state; until ``resume``, or for so many seconds."""
        self._call("POST", "offline", {"seconds": seconds})

    def resume(self) -> None:
        self._call("POST", "online")

    def freeze(self) -> None:
        """Accept connections but never answer (SIGSTOP), until ``thaw``."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _call(
        self,
        method: str,
        name: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        assert self._http is not None, "the simulator is not running"
        response = self._http.request(method, f"/__sim/{name}", json=body or {}, params=params)
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"{method} /__sim/{name}: {response.text}")
        return dict(response.json())
