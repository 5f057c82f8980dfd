"""`helm test`: its pod, and the script that the pod runs."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from chart.objects import of_kind, the
from chart.programs import CHART, RELEASE, SYSTEM, Helm, HelmError, Json
from envtest import ControlPlane, eventually
from envtest.processes import free_port

LEAST: dict[str, Any] = {"image": {"repository": "registry.example.com/isa"}}
POD = f"/api/v1/namespaces/{SYSTEM}/pods/{RELEASE}-test"
MERGE = {"Content-Type": "application/merge-patch+json"}


class Replica(BaseHTTPRequestHandler):
    """Returns the next status of the server, and the last one for ever."""

    server: "Replicas"

    def do_GET(self) -> None:
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class Replicas(ThreadingHTTPServer):
    statuses: list[int]


@pytest.fixture
def replicas() -> Iterator[Replicas]:
    server = Replicas(("127.0.0.1", 0), Replica)
    serving = Thread(target=server.serve_forever)
    serving.start()
    yield server
    server.shutdown()
    serving.join()
    server.server_close()


def run(pod: Json, port: int, timeout_s: str) -> subprocess.CompletedProcess[str]:
    """Run the command of the pod on this machine."""
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["python3", "-c"]
    script, url, timeout = container["args"]
    assert (url, timeout) == (f"http://{RELEASE}-metrics:8080/readyz", "60")
    local = url.replace(f"{RELEASE}-metrics:8080", f"127.0.0.1:{port}")
    return subprocess.run(
        [sys.executable, "-c", script, local, timeout_s],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("statuses", [[200], [503, 200]], ids=["ready", "ready after a second"])
def test_pod_succeeds_when_a_replica_is_ready(
    statuses: list[int], helm: Helm, replicas: Replicas
) -> None:
    replicas.statuses = statuses

    ended = run(the(helm.render(LEAST), "Pod"), replicas.server_port, "60")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_pod_fails_when_no_replica_is_ready_in_time(helm: Helm, replicas: Replicas) -> None:
    replicas.statuses = [503]

    ended = run(the(helm.render(LEAST), "Pod"), replicas.server_port, "0")

    assert ended.returncode == 1
    assert "is not ready after 0 s: HTTP Error 503" in ended.stderr


def test_pod_fails_without_a_server(helm: Helm) -> None:
    ended = run(the(helm.render(LEAST), "Pod"), free_port(), "0")

    assert ended.returncode == 1
    assert "Connection refused" in ended.stderr


def test_no_selector_of_the_release_matches_the_pod(helm: Helm) -> None:
    documents = helm.render(CHART / "ci/everything-values.yaml")
    labels = the(documents, "Pod")["metadata"]["labels"]

    selectors = [
        the(documents, "Deployment")["spec"]["selector"]["matchLabels"],
        the(documents, "Service")["spec"]["selector"],
        the(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]

    assert [row for row in selectors if row.items() <= labels.items()] == []


def test_network_policy_allows_the_pod(helm: Helm) -> None:
    documents = helm.render(CHART / "ci/everything-values.yaml")
    labels = the(documents, "Pod")["metadata"]["labels"]

    peers = the(documents, "NetworkPolicy")["spec"]["ingress"][0]["from"]

    selectors = [row["podSelector"]["matchLabels"] for row in peers if "podSelector" in row]
    assert [row.items() <= labels.items() for row in selectors] == [True]


def test_without_metrics_there_is_no_pod(helm: Helm) -> None:
    assert of_kind(helm.render({**LEAST, "metrics": {"enabled": False}}), "Pod") == []


def test_helm_test_reports_what_the_pod_returned(
    cluster: Helm, control_plane: ControlPlane
) -> None:
    where = ("--namespace", SYSTEM)
    cluster(
        *("install", RELEASE, str(CHART), *where, "--create-namespace"),
        *("--set", "image.repository=registry.example.com/isa"),
    )

    def end(phase: str) -> str:
        """Set the phase of the pod, as a kubelet does when its container ends."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            testing = pool.submit(cluster, "test", RELEASE, *where, "--timeout", "50s")

            def created() -> bool | None:
                pod = control_plane.http.get(POD)
                return (pod.status_code == 200 and "phase" in pod.json()["status"]) or None

            eventually(created)
            status = {"status": {"phase": phase}}
            control_plane.http.patch(f"{POD}/status", json=status, headers=MERGE)
            return testing.result()

    assert "Phase:          Succeeded" in end("Succeeded")
    assert control_plane.http.get(POD).status_code == 404
    with pytest.raises(HelmError, match=f"{RELEASE}-test"):
        end("Failed")
