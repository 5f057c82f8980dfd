"""The real things: a control plane, the recorded cloud, the operator. Carries actions out."""

import contextlib
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from chaos import tape
from chaos.model import MARK, Content, Json, Login, Schedule, SecretKind, Target
from chaos.population import BAD_SECRETS
from e2e.conftest import DEPLOY, RESOURCES, SECRETS
from envtest import ACCOUNT, SYSTEM, ControlPlane, Operator, eventually, install_rights
from envtest.processes import Running
from otc_simulator.client import Simulator

PATIENCE_S = 60.0
"""For how long users try again when the API server is away."""
DAYS_S = 7 * 24 * 3600
PAGE = 25
"""Images on a page of a list at most: lists have several pages, and some fail in the middle."""
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/image-share-operator"
MERGE = {"Content-Type": "application/merge-patch+json"}


class RecordedSimulator(Simulator):
    """The simulator with the recorder in front of it."""

    module = "chaos.cloud"

    def tape(self) -> tape.Tape:
        """Everything recorded."""
        return tape.read(self._call("GET", "tape"))

    def token(self, user_id: str, project: str) -> str:
        """A new token, past all faults."""
        return str(self._call("POST", "token", {"user": user_id, "project": project})["token"])


class World(Running):
    """What chaos is made in; a context manager. Nothing of it is shared with other tests."""

    def __init__(self, schedule: Schedule, directory: Path) -> None:
        self._schedule = schedule
        self._directory = directory
        self._ends = contextlib.ExitStack()
        self._thaw: threading.Timer | None = None
        self.logins = {(row.namespace, row.name): row for row in schedule.logins}

    def start(self) -> None:
        """Start everything and plant what the schedule takes for granted."""
        try:
            self.control_plane = self._ends.enter_context(ControlPlane())
            # Of our own: the control plane's is closed when its API server restarts.
            self._http = self._ends.enter_context(self.client())
            self.control_plane.apply_crds(DEPLOY / "crds")
            install_rights(self.control_plane)
            # Runs may be long: the operator's own token must not end before them.
            kubeconfig = self.control_plane.service_account_kubeconfig(SYSTEM, ACCOUNT, DAYS_S)
            self.sim = self._ends.enter_context(RecordedSimulator())
            self._plant()
            self.operators = [
                self._operator(kubeconfig, number)
                for number in range(self._schedule.parameters.replicas)
            ]
            for operator in self.operators:
                self._ends.callback(operator.kill)
                operator.start()
        except BaseException:
            self._ends.close()
            raise

    def stop(self) -> None:
        """Stop everything."""
        self.thaw()
        self._ends.close()

    def _operator(self, kubeconfig: Path, number: int) -> Operator:
        # Shorter than the longest delays of the faults: some answers shall come too late.
        env = {"ISA_REQUEST_TIMEOUT_S": "8"}
        if self._schedule.parameters.replicas > 1:
            env |= {"ISA_LEADER_ELECTION": "true", "ISA_LEASE_NAMESPACE": SYSTEM}
        return Operator(kubeconfig, self._directory / f"operator-{number}.log", **env)

    def _plant(self) -> None:
        logins = self._schedule.logins
        accounts = [
            {
                "name": login.domain,
                "users": [_user(login)],
                "projects": [{"id": project, "name": f"eu-de_{project}"}],
            }
            for login in logins
            for project in login.projects
        ]
        self.sim.seed(accounts=accounts)
        self.sim.settings(max_limit=PAGE)
        for project, images in self._schedule.pools.items():
            self.add_images([(image, "pending") for image in images], project)
        for namespace in sorted({login.namespace for login in logins}):
            body = {"metadata": {"name": namespace}}
            self.call("POST", "/api/v1/namespaces", body)
            for name, content in BAD_SECRETS.items():
                self.write_secret(namespace, name, content)
        for login in logins:
            self.write_secret(login.namespace, login.name, Content.GOOD)

    def client(self) -> httpx.Client:
        """A new client of the API server, as administrator; the caller closes it."""
        token = str(self.control_plane.http.headers["Authorization"]).removeprefix("Bearer ")
        return self.control_plane.client(token)

    @property
    def logs(self) -> list[str]:
        """What the operators said."""
        return [operator.log for operator in self.operators]

    def call(self, method: str, path: str, body: Json | None = None, **headers: str) -> Json | None:
        """Ask the API server, as patient users do; ``None``: there is no such thing.

        Raises:
            TimeoutError: it was away for too long.
        """

        def attempt() -> httpx.Response | None:
            try:
                answer = self._http.request(method, path, json=body, headers=headers)
            except httpx.TransportError:
                return None
            retry = answer.status_code >= 500 or answer.status_code in (401, 403, 429)
            return None if retry else answer

        answer = eventually(attempt, within_s=PATIENCE_S)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code == httpx.codes.CONFLICT and method == "POST":
            return {}  # an earlier attempt got through, its answer did not
        told: Json = answer.raise_for_status().json()
        return told

    def find(self, target: Target) -> Json | None:
        """The object, or ``None`` when it is gone."""
        return self.call("GET", self.path(target))

    def patch(self, target: Target, body: Json) -> Json | None:
        """Merge a change into the object."""
        return self.call("PATCH", self.path(target), body, **MERGE)

    @staticmethod
    def path(target: Target) -> str:
        """Where the object is."""
        return f"{RESOURCES.format(namespace=target.namespace)}/{target.name}"

    def add_images(self, images: Iterable[tuple[str, str | None]], project: str) -> None:
        """Make images, shared as told."""
        new = list(images)
        made = [{"id": image, "owner": self.sim.owner_project_id} for image, _ in new]
        shares = [(image, project, status) for image, status in new if status is not None]
        if made:
            self.sim.seed(images=made, shares=shares)

    def write_secret(self, namespace: str, name: str, content: Content) -> None:
        """Write a Secret with this content, or delete it."""
        path = SECRETS.format(namespace=namespace)
        data = self._data(self.logins.get((namespace, name)), content)
        if data is None:
            self.call("DELETE", f"{path}/{name}")
            return
        body = {"metadata": {"name": name, "namespace": namespace}, "stringData": data}
        self.call("POST", path, body)
        # Replaced as a whole: keys of the former content go.
        self.call("PUT", f"{path}/{name}", body)

    def _data(self, login: Login | None, content: Content) -> dict[str, str] | None:
        known = login is not None and login.kind is SecretKind.TOKEN
        garbage = f"{MARK}-garbage"
        domain = login.domain if login else self.sim.domain
        match content:
            case Content.ABSENT:
                return None
            case Content.MISSING_KEY:
                return {"username": "somebody", "password": f"{MARK}-unused"}
            case Content.GARBAGE:
                return {"token": garbage} if known else {"clouds.yaml": f"{garbage}: ["}
            case Content.UNKNOWN_USER:
                return {"username": "nobody", "password": garbage, "domainName": domain}
            case Content.WRONG_PASSWORD:
                assert login is not None
                if login.kind is SecretKind.ACCESS_KEY:
                    return {"accessKey": login.access_key, "secretKey": f"{MARK}-wrong"}
                return {"userID": login.user_id, "password": f"{MARK}-wrong"}
            case Content.GOOD:
                assert login is not None
                return self._good(login)

    def _good(self, login: Login) -> dict[str, str]:
        match login.kind:
            case SecretKind.TOKEN:
                return {"token": self.sim.token(login.user_id, login.projects[0])}
            case SecretKind.CLOUDS_YAML:
                auth = {
                    "auth_url": "https://elsewhere.invalid/v3",
                    "username": login.user,
                    "password": login.password,
                    "user_domain_name": login.domain,
                }
                return {"clouds.yaml": json.dumps({"clouds": {"otc": {"auth": auth}}})}
            case SecretKind.ACCESS_KEY:
                return {"accessKey": login.access_key, "secretKey": login.password}
            case SecretKind.PASSWORD:
                return {
                    "username": login.user,
                    "password": login.password,
                    "domainName": login.domain,
                }

    def freeze(self, seconds: float) -> None:
        """Let the cloud stand still for so long; returns at once."""
        self.thaw()
        self.sim.freeze()
        self._thaw = threading.Timer(seconds, self.sim.thaw)
        self._thaw.start()

    def thaw(self) -> None:
        """End a freeze."""
        if self._thaw is not None:
            self._thaw.cancel()
            self._thaw.join()
            self._thaw = None
            self.sim.thaw()

    def leader(self) -> Operator:
        """The operator that works."""
        if len(self.operators) == 1:
            return self.operators[0]
        lease: Any = self.call("GET", LEASE) or {}
        holder = lease.get("spec", {}).get("holderIdentity") or "nobody"
        return next(
            (each for each in self.operators if f"leader as {holder}" in each.log),
            self.operators[0],
        )

    def restart_ended(self) -> None:
        """Start operators that ended by themselves, as a kubelet does."""
        for operator in self.operators:
            if operator.exit_code is not None:
                operator.start()


def _user(login: Login) -> Json:
    """The user of a login as a seed of the simulator has it."""
    user: Json = {"id": login.user_id, "name": login.user, "password": login.password}
    if login.kind is SecretKind.ACCESS_KEY:
        user["access_keys"] = [{"id": login.access_key, "secret": login.password}]
    return user
