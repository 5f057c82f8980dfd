"""The simulated cloud as a pod of the cluster, without an image and a network of its own.

It runs in the image of the operator, which has Python and aiohttp. A ConfigMap holds the sources as
a zip file, which Python imports from.
"""

import base64
import io
import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import httpx

from envtest import eventually
from otc_simulator.client import Simulator
from real_cluster.cluster import Cluster, Json

NAME = "otc-simulator"
PORT = 8080
PACKAGES = ("otc_simulator", "jwt")
"""`jwt` verifies tokens of ServiceAccounts; the image of the operator does not contain it."""
START_S = 300.0
"""The node may have to pull the image first."""


class SimulatorPod(Simulator):
    """One pod. Its address is the pod's, so that it needs no Service and no DNS."""

    def __init__(self, cluster: Cluster, namespace: str, image: str) -> None:
        super().__init__("--host", "0.0.0.0", "--port", str(PORT), "--job-seconds", "1")
        self._cluster = cluster
        self._namespace = namespace
        self._image = image

    def start(self) -> None:
        """Create the pod and wait until it serves."""
        objects = {"apiVersion": "v1", "kind": "List", "items": [self._sources(), self._pod()]}
        self._cluster.kubectl("apply", "--filename", "-", stdin=json.dumps(objects))
        path = f"/api/v1/namespaces/{self._namespace}/pods/{NAME}"

        def ready() -> Json | None:
            status: Json = self._cluster.get(path)["status"]
            rows = status.get("conditions", ())
            met = [row for row in rows if (row["type"], row["status"]) == ("Ready", "True")]
            return status if met else None

        self.url = f"http://{eventually(ready, within_s=START_S)['podIP']}:{PORT}"
        # The API server forwards to the pod.
        through = f"{self._cluster.url}{path}:{PORT}/proxy"
        self._http = httpx.Client(base_url=through, timeout=120.0, trust_env=False)

    def _sources(self) -> Json:
        packed = base64.b64encode(archive()).decode()
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": self._namespace},
            "binaryData": {f"{NAME}.zip": packed},
        }

    def _pod(self) -> Json:
        container = {
            "name": NAME,
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-m", "otc_simulator", *self._arguments],
            "env": [{"name": "PYTHONPATH", "value": f"/sources/{NAME}.zip"}],
            "readinessProbe": {
                "httpGet": {"path": "/__sim/settings", "port": PORT},
                "periodSeconds": 1,
            },
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": "sources", "mountPath": "/sources"}],
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "namespace": self._namespace, "labels": {"app": NAME}},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": [{"name": "sources", "configMap": {"name": NAME}}],
            },
        }


def archive() -> bytes:
    """Return the sources of the simulator as a zip file; up to 1 MB fit into a ConfigMap."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name in PACKAGES:
            package = directory(name)
            for source in sorted(package.rglob("*.py")):
                file.write(source, source.relative_to(package.parent))
    return packed.getvalue()


def directory(package: str) -> Path:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
