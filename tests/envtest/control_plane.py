"""Starts and stops etcd and kube-apiserver, and speaks to the latter as its administrator."""

import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml

from envtest import binaries, credentials, flags
from envtest.failures import ControlPlaneError, KubectlError
from envtest.processes import Running, Server, eventually, reserve_port

START_S = 240.0
"""Ready takes 2-4 s on two idle cores; loaded machines get time."""
STOP_S = 2.0
"""kube-apiserver waits a minute for open watches to end."""

READY_S = 1.0
KUBECTL_S = 240.0
KUBECTL_CACHE = "kubectl-cache"
SELECTABLE_FIELDS_MINOR = 30
"""The first minor version whose CRDs can have selectable fields."""


class ControlPlane(Running):
    """A control plane of its own: `with ControlPlane() as control_plane: ...`.

    RBAC is on; the administrator is in `system:masters`. Tokens of service accounts come from
    the TokenRequest API.

    Args:
        directory: where keys, kubeconfig files, logs and data go. ``None`` is a temporary one
            that goes with `stop`; one of the caller's keeps all but the data.
        audit: write each request's metadata to `audit_log`, one JSON object per line.
        apiserver_args: more flags of kube-apiserver; they win over those set here.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        audit: bool = False,
        apiserver_args: Sequence[str] = (),
    ) -> None:
        self._temporary = directory is None
        self.directory = (directory or Path(tempfile.mkdtemp(prefix="envtest-"))).resolve()
        self._audit = audit
        self._apiserver_args = tuple(apiserver_args)
        self._port: socket.socket | None = None
        self._etcd: Server | None = None
        self._apiserver: Server | None = None
        self._admin_token = secrets.token_urlsafe(32)
        self._http: httpx.Client | None = None

    @property
    def url(self) -> str:
        """The API server's base URL, the same over restarts."""
        if self._port is None:
            raise ControlPlaneError("the control plane is not started")
        return f"https://127.0.0.1:{self._port.getsockname()[1]}"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.directory / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    @property
    def minor(self) -> int:
        """The minor version of Kubernetes."""
        return int(self.http.get("/version").json()["minor"])

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run now."""
        return tuple(server.pid for server in (self._etcd, self._apiserver) if server is not None)

    @property
    def http(self) -> httpx.Client:
        """A client of the API server, as administrator; it raises for no status."""
        if self._http is None:
            self._http = self.client(self._admin_token)
        return self._http

    def client(self, token: str) -> httpx.Client:
        """A new client with this bearer token; the caller closes it."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=self.ca_file),
            trust_env=False,
            timeout=120.0,
        )

    def start(self) -> None:
        """Start both and wait until the API server is ready; ends with nothing left on failure.

        Raises:
            ControlPlaneError: a program can't be built, ends, or is not ready in `START_S`.
        """
        binaries.directory()  # may take minutes, so before anything is to be cleaned up
        try:
            self._write_files()
            self._etcd = self._server("etcd", flags.etcd())
            self.start_apiserver()
        except BaseException as exc:
            self.stop(keep_logs=isinstance(exc, ControlPlaneError))
            raise

    def stop(self, *, keep_logs: bool = False) -> None:
        """Stop both and remove the data. Does nothing the second time."""
        self._close_http()
        for server in (self._apiserver, self._etcd):
            if server is not None:
                server.kill()  # the data is not needed again
        self._apiserver = self._etcd = None
        if self._port is not None:
            self._port.close()
            self._port = None
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)
        if self._temporary and not keep_logs:
            shutil.rmtree(self.directory, ignore_errors=True)

    def start_apiserver(self) -> None:
        """Start kube-apiserver on the data that etcd has, and wait until it is ready."""
        chosen = flags.apiserver(port=httpx.URL(self.url).port, audit=self._audit)
        self._apiserver = self._server("kube-apiserver", [*chosen, *self._apiserver_args])
        self._wait_ready(self._apiserver)

    def stop_apiserver(self) -> None:
        """Stop kube-apiserver alone: connections to `url` are refused until it starts again."""
        self._close_http()
        if self._apiserver is not None:
            self._apiserver.stop(STOP_S)
            self._apiserver = None

    def restart_apiserver(self) -> None:
        """Stop kube-apiserver and start it at the same address; all watches break."""
        self.stop_apiserver()
        self.start_apiserver()

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run
        """Run kubectl as administrator and return its stdout.

        Raises:
            KubectlError: it returned anything but 0.
        """
        call = subprocess.run(
            [str(binaries.directory() / "kubectl"), *args],
            input=input,
            env=self._kubectl_env(),
            capture_output=True,
            text=True,
            timeout=KUBECTL_S,
            check=False,
        )
        if call.returncode != 0:
            raise KubectlError(" ".join(args), call.stderr)
        return call.stdout

    def apply(self, manifest: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Path) -> str:
        """Apply an object, a list of objects, a YAML file or a directory; server-side."""
        if isinstance(manifest, Path):
            return self.kubectl("apply", "--server-side", "-f", str(manifest))
        items = [manifest] if isinstance(manifest, Mapping) else list(manifest)
        listed = {"apiVersion": "v1", "kind": "List", "items": items}
        return self.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(listed))

    def _established(self, path: Path) -> bool | None:
        """Whether the CRDs are established; `kubectl wait` fails while there are no conditions."""
        with suppress(KubectlError):
            self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(path))
            return True
        return None

    def _without_selectable_fields(self, path: Path) -> Path:
        """Write the CRDs without their selectable fields; return the file."""
        crds: list[Any] = []
        for file in [path] if path.is_file() else sorted(path.glob("*.yaml")):
            crds += yaml.safe_load_all(file.read_text())
        for crd in crds:
            for version in crd["spec"]["versions"]:
                version.pop("selectableFields", None)
        written = self.directory / "crds-without-selectable-fields.yaml"
        written.write_text(yaml.safe_dump_all(crds))
        return written

    def apply_crds(self, path: Path) -> None:
        """Apply CRDs from a file or directory and wait until clients can find and explain them.

        As by the chart, they have no selectable fields on a version that does not know them.
        """
        if self.minor < SELECTABLE_FIELDS_MINOR:
            path = self._without_selectable_fields(path)
        self.apply(path)
        eventually(partial(self._established, path), within_s=START_S)
        for name in self.kubectl("get", "-f", str(path), "-o", "name").split():
            plural, _, group = name.partition("/")[2].partition(".")
            eventually(partial(self._discoverable, plural, group), within_s=START_S)
        # What kubectl has read of the API until now goes without the new kinds.
        shutil.rmtree(self.directory / KUBECTL_CACHE, ignore_errors=True)

    def create_namespace(self, prefix: str) -> str:
        """Create a namespace ``<prefix>-<random>`` and return its name."""
        body = {"metadata": {"generateName": f"{prefix}-"}}
        answer = self.http.post("/api/v1/namespaces", json=body).raise_for_status()
        return str(answer.json()["metadata"]["name"])

    def service_account_kubeconfig(
        self, namespace: str, name: str, expiration_s: int = 3600
    ) -> Path:
        """Write a kubeconfig with a new token of the service account, which is made if absent.

        Args:
            expiration_s: lifetime of the token; the API server takes 600 and more.
        """
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        made = self.http.post(accounts, json={"metadata": {"name": name}})
        if made.status_code != httpx.codes.CONFLICT:
            made.raise_for_status()
        request = {"spec": {"expirationSeconds": expiration_s}}
        answer = self.http.post(f"{accounts}/{name}/token", json=request).raise_for_status()
        path = self.directory / f"{namespace}-{name}.kubeconfig"
        token = str(answer.json()["status"]["token"])
        credentials.write_kubeconfig(
            path, url=self.url, ca_file=self.ca_file, user=name, token=token
        )
        return path

    def _close_http(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _kubectl_env(self) -> dict[str, str]:
        return os.environ | {
            "KUBECONFIG": str(self.admin_kubeconfig),
            "KUBECACHEDIR": str(self.directory / KUBECTL_CACHE),
            "KUBERC": "off",
        }

    def _write_files(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for stale in ("etcd", KUBECTL_CACHE):
            shutil.rmtree(self.directory / stale, ignore_errors=True)
        for stale in ("etcd.log", "kube-apiserver.log", "audit.log"):
            (self.directory / stale).unlink(missing_ok=True)
        self._port = reserve_port()
        credentials.write_server_certificate(self.directory)
        credentials.write_signing_key(self.directory / "service-accounts.key")
        credentials.write_private(
            self.directory / "tokens.csv",
            f'{self._admin_token},admin,admin,"{credentials.ADMIN_GROUP}"\n',
        )
        credentials.write_kubeconfig(
            self.admin_kubeconfig,
            url=self.url,
            ca_file=self.ca_file,
            user="admin",
            token=self._admin_token,
        )
        (self.directory / "audit-policy.json").write_text(json.dumps(flags.AUDIT_POLICY))

    def _server(self, name: str, arguments: Sequence[str]) -> Server:
        command = [str(binaries.directory() / name), *arguments]
        return Server(command, directory=self.directory, log=self.directory / f"{name}.log")

    def _wait_ready(self, apiserver: Server) -> None:
        def ready() -> bool | None:
            if self._etcd is not None:
                self._etcd.require_running()
            apiserver.require_running()
            return self._answers_ready() or None

        try:
            eventually(ready, within_s=START_S)
        except TimeoutError as exc:
            raise ControlPlaneError(
                f"the API server is not ready: {exc}\n{apiserver.tail()}"
            ) from exc

    def _answers_ready(self) -> bool:
        try:
            # It listens before it serves: the connection is taken, the answer comes later.
            answer = self.http.get("/readyz", timeout=READY_S)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    def _discoverable(self, plural: str, group: str) -> bool | None:
        """Whether the documents that clients read know the kind; they lag behind Established."""
        kind = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
        wanted = ",".join(kind.format(version) for version in ("v2", "v2beta1"))  # v2: since 1.30
        groups = self.http.get("/apis", headers={"Accept": wanted}).raise_for_status().json()
        versions = [version for row in groups["items"] for version in row["versions"]]
        plurals = {row["resource"] for version in versions for row in version["resources"]}
        schemas = self.http.get("/openapi/v3").raise_for_status().json()["paths"]
        explained = any(name.startswith(f"apis/{group}/") for name in schemas)
        return (plural in plurals and explained) or None
