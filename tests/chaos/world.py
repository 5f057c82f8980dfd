"""The real things: a control plane, the recorded cloud, the operator. Carries actions out."""

import contextlib
import itertools
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from chaos.model import (
    AUDIENCE,
    KEYS,
    MARK,
    Content,
    Json,
    Login,
    Schedule,
    SecretKind,
    Spec,
    Target,
    provider_of,
)
from chaos.population import BAD_SECRETS
from chaos.region import Region
from e2e.conftest import DEPLOY, RESOURCES, SECRETS
from envtest import ACCOUNT, SYSTEM, ControlPlane, Operator, eventually, install_rights
from envtest.processes import Running
from otc_simulator.client import Simulator

PATIENCE_S = 60.0
"""For how long users try again when the API server is away."""
DAYS_S = 7 * 24 * 3600
PAGE = 150
"""Images on a page of a list at most: long lists have several pages, and some fail in the middle.

With many pages, most lists of a run would fail."""
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/image-share-operator"
RBAC = "rbac.authorization.k8s.io"
MERGE = {"Content-Type": "application/merge-patch+json"}


class RecordedSimulator(Simulator):
    """The simulator with the recorder in front of it."""

    module = "chaos.cloud"

    def recording(self) -> Json:
        """Everything recorded, as `chaos.tape.read` reads it."""
        return self._call("GET", "tape")

    def token(self, user_id: str, project: str) -> str:
        """A new token, past all faults."""
        return str(self._call("POST", "token", {"user": user_id, "project": project})["token"])

    def temporary_key(self, login: Login, key_id: str) -> dict[str, str]:
        """A new temporary key, as a Secret has it."""
        session = f"{MARK}-{key_id}-session"
        self.add_access_key(login.user_id, key_id, login.password, security_token=session)
        return {"accessKey": key_id, "secretKey": login.password, "securityToken": session}


class World(Running):
    """What chaos is made in; a context manager. Nothing of it is shared with other tests."""

    def __init__(self, schedule: Schedule, directory: Path) -> None:
        self._schedule = schedule
        self._directory = directory
        self._ends = contextlib.ExitStack()
        self._thaw: threading.Timer | None = None
        self._temporary_keys: list[str] = []
        self._key_numbers = itertools.count()
        self.logins = {(row.namespace, row.name): row for row in schedule.logins}

    def start(self) -> None:
        """Start everything and plant what the schedule takes for granted."""
        try:
            self.control_plane = self._ends.enter_context(ControlPlane())
            # Of our own: the control plane's is closed when its API server restarts.
            self._http = self._ends.enter_context(self.client())
            self.control_plane.apply_crds(DEPLOY / "crds")
            install_rights(self.control_plane)
            self._allow_account_tokens()
            # Runs may be long: the operator's own token must not end before them.
            kubeconfig = self.control_plane.service_account_kubeconfig(SYSTEM, ACCOUNT, DAYS_S)
            self.sim = self._ends.enter_context(RecordedSimulator())
            self._region = self._ends.enter_context(Region(self.sim.url, self._directory))
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
        env = {"ISA_REQUEST_TIMEOUT_S": "8", **self._region.env}
        if self._schedule.parameters.replicas > 1:
            env |= {"ISA_LEADER_ELECTION": "true", "ISA_LEASE_NAMESPACE": SYSTEM}
        return Operator(kubeconfig, self._directory / f"operator-{number}.log", **env)

    def _plant(self) -> None:
        logins = self._schedule.logins
        homes = [{"name": login.home, "users": [_user(login)]} for login in logins]
        accounts = [
            {
                "name": login.domain,
                "projects": [{"id": each, "name": f"eu-de_{each}"} for each in login.projects],
                "agencies": _agencies(login),
            }
            for login in logins
        ]
        self.sim.seed(accounts=[*homes, *accounts])
        self._plant_providers()
        self.sim.settings(max_limit=PAGE)
        for project, images in self._schedule.pools.items():
            self.add_images([(image, "pending") for image in images], project)
        for namespace in sorted({login.namespace for login in logins}):
            body = {"metadata": {"name": namespace}}
            self.call("POST", "/api/v1/namespaces", body)
            for name, content in BAD_SECRETS.items():
                self.write_credentials(namespace, name, content)
        for login in logins:
            self.write_credentials(login.namespace, login.name, Content.GOOD)

    def _plant_providers(self) -> None:
        """Tell each account the keys of the API server, and which accounts to map to users."""
        keys = self.call("GET", "/openid/v1/jwks") or {}
        accounts = [row for row in self._schedule.logins if row.kind is SecretKind.SERVICE_ACCOUNT]
        for domain in {login.domain for login in accounts}:
            self.sim.add_identity_provider(
                provider_of(domain),
                issuer="https://kubernetes.default.svc",
                audience=AUDIENCE,
                jwks=keys,
                mappings={login.principal: {} for login in accounts if login.domain == domain},
                account=domain,
            )

    def _allow_account_tokens(self) -> None:
        """Grant what the chart grants with rbac.serviceAccountTokens."""
        head: Json = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": "chaos-request-tokens"},
        }
        rules = [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}]
        role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": head["metadata"]["name"]}
        account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}
        self.control_plane.apply(
            [
                {**head, "kind": "ClusterRole", "rules": rules},
                {**head, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [account]},
            ]
        )

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

    def manifest(self, target: Target, spec: Spec) -> Json:
        """The spec as the user of the object writes it."""
        login = self.logins.get((target.namespace, spec.secret))
        if login is not None:
            return spec.manifest(login.manifest(self.sim.url), self.sim.owner_project_id)
        access = {
            "credentialsSecretRef": {"name": spec.secret},
            "endpoints": {"iam": self.sim.url, "ims": self.sim.url},
        }
        return spec.manifest(access, self.sim.owner_project_id)

    def write_credentials(self, namespace: str, name: str, content: Content) -> None:
        """Write a Secret with this content, or delete it; or a ServiceAccount."""
        login = self.logins.get((namespace, name))
        if login is not None and login.kind is SecretKind.SERVICE_ACCOUNT:
            self._write_account(login, content)
        else:
            self._write_secret(namespace, name, content)

    def _write_account(self, login: Login, content: Content) -> None:
        path = f"/api/v1/namespaces/{login.namespace}/serviceaccounts"
        if content is Content.ABSENT:
            self.call("DELETE", f"{path}/{login.name}")
        else:
            self.call("POST", path, {"metadata": {"name": login.name}})

    def end_keys(self) -> None:
        """Let all temporary keys end."""
        for key_id in self._temporary_keys:
            self.sim.change_access_key(key_id, end=True)
        self._temporary_keys.clear()

    def _write_secret(self, namespace: str, name: str, content: Content) -> None:
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
        domain = login.home if login else self.sim.domain
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
                if login.kind in KEYS:
                    return self._good(login) | {"secretKey": f"{MARK}-wrong"}
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
            case SecretKind.ACCESS_KEY | SecretKind.AGENCY_KEY:
                return {"accessKey": login.access_key, "secretKey": login.password}
            case SecretKind.TEMPORARY_KEY:
                key_id = f"{login.access_key}-{next(self._key_numbers)}"
                self._temporary_keys.append(key_id)
                return self.sim.temporary_key(login, key_id)
            case SecretKind.PASSWORD | SecretKind.AGENCY | SecretKind.SERVICE_ACCOUNT:
                return {
                    "username": login.user,
                    "password": login.password,
                    "domainName": login.home,
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
    if login.kind in (SecretKind.ACCESS_KEY, SecretKind.AGENCY_KEY):
        user["access_keys"] = [{"id": login.access_key, "secret": login.password}]
    if login.agency is not None:
        user["agent_operator"] = True
    return user


def _agencies(login: Login) -> list[Json]:
    """The agency of a login as a seed of the simulator has it."""
    return [] if login.agency is None else [{"name": login.agency, "trusts": login.home}]
