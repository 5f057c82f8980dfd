"""A cluster that exists already: kubectl with the user's KUBECONFIG, and HTTP through kubectl."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx

from envtest import binaries, eventually
from envtest.processes import Server

LABEL = "image-share-operator.dev/cluster-test"
"""On all namespaces that a run creates, and as an annotation on a node that it cordons."""
SERVES = re.compile(r"Starting to serve on (\S+)")
START_S = 30.0

Json = dict[str, Any]


class KubectlFailedError(Exception):
    """kubectl returned anything but 0; the message is its stderr."""


class Cluster:
    """The cluster of the current context in KUBECONFIG.

    Requests go through ``kubectl proxy``, so that every login works that kubectl knows.

    Args:
        directory: for the log and the kubeconfig of the proxy.
    """

    def __init__(self, directory: Path) -> None:
        self._kubectl = str(binaries.directory() / "kubectl")
        paths = os.environ["KUBECONFIG"].split(os.pathsep)
        self._env = os.environ | {"KUBECONFIG": os.pathsep.join(map(os.path.abspath, paths))}
        self._proxy = Server(
            [self._kubectl, "proxy", "--port=0"],
            directory=directory,
            log=directory / "proxy.log",
            env=self._env,
        )
        address = eventually(lambda: SERVES.search(self._proxy.log.read_text()), within_s=START_S)
        self.url = f"http://{address[1]}"
        self.http = httpx.Client(base_url=self.url, timeout=120.0, trust_env=False)
        self.kubeconfig = directory / "proxy.kubeconfig"
        self.kubeconfig.write_text(json.dumps(self._through_the_proxy()))

    def _through_the_proxy(self) -> Json:
        """A kubeconfig without credentials, for helm."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": ""}}],
            "current-context": "proxy",
        }

    def close(self) -> None:
        self.http.close()
        self._proxy.stop()

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 300) -> str:
        """Run kubectl and return its stdout.

        Raises:
            KubectlFailedError: it returned anything but 0.
        """
        call = subprocess.run(
            [self._kubectl, *arguments],
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if call.returncode != 0:
            raise KubectlFailedError(f"kubectl {' '.join(arguments)}: {call.stderr.strip()}")
        return call.stdout

    def get(self, path: str, **query: str) -> Json:
        body: Json = self.http.get(path, params=query).raise_for_status().json()
        return body

    def find(self, path: str) -> Json | None:
        """The object, or ``None`` if there is none."""
        answer = self.http.get(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        body: Json = answer.raise_for_status().json()
        return body

    def items(self, path: str, **query: str) -> list[Json]:
        rows: list[Json] = self.get(path, **query)["items"]
        return rows

    def version(self) -> str:
        return str(self.get("/version")["gitVersion"])

    def nodes(self) -> list[Json]:
        """The nodes that accept pods without a toleration."""
        return [
            node
            for node in self.items("/api/v1/nodes")
            if not node["spec"].get("unschedulable")
            and not [
                taint
                for taint in node["spec"].get("taints", ())
                if taint["effect"] in ("NoSchedule", "NoExecute")
            ]
        ]

    def create_namespace(self, name: str, *, restricted: bool = False) -> None:
        """Create a namespace of this run.

        Args:
            restricted: its pods must pass the Pod Security Standard "restricted".
        """
        labels = {LABEL: "true"}
        if restricted:
            labels["pod-security.kubernetes.io/enforce"] = "restricted"
        body = {"metadata": {"name": name, "labels": labels}}
        self.http.post("/api/v1/namespaces", json=body).raise_for_status()

    def namespaces(self) -> list[str]:
        """The namespaces that a run of these tests created."""
        rows = self.items("/api/v1/namespaces", labelSelector=LABEL)
        return [row["metadata"]["name"] for row in rows]
