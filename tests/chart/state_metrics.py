"""Records what a real kube-state-metrics exports with the configuration of the chart.

    python -m chart.state_metrics

writes the recording again. It needs `kube-state-metrics` in PATH, which no tool of this repository
installs; `go install k8s.io/kube-state-metrics/v2@v2.20.0` does.
"""

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import yaml

from chart.programs import CHART, ROOT
from envtest import ControlPlane, eventually
from envtest.processes import Server, free_port

CONFIG = CHART / "files/kube-state-metrics.yaml"
RECORDING = Path(__file__).parent / "recordings/kube-state-metrics.txt"
STATES = ROOT / "deploy/argocd/resource_customizations/ims.otc.dev/ImageShareAcceptance/testdata"
"""Resources with the status of real runs of the operator."""
RESOURCES = "/apis/ims.otc.dev/v1alpha1/namespaces/team-a/imageshareacceptances"
MERGE = {"Content-Type": "application/merge-patch+json"}
PREFIX = "kube_imageshareacceptance_"

Json = dict[str, Any]


def states() -> dict[str, Json]:
    """Each resource by the name of its state; a resource that is being deleted is left out."""
    read = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(STATES.glob("*.yaml"))}
    return {
        name: state for name, state in read.items() if "deletionTimestamp" not in state["metadata"]
    }


def config_line() -> str:
    """The first line of a recording, which names the configuration without its comments."""
    config = json.dumps(yaml.safe_load(CONFIG.read_text()))
    return f"# Configuration sha256:{hashlib.sha256(config.encode()).hexdigest()}\n"


def record(program: Path, control_plane: ControlPlane, home: Path) -> str:
    """Return the metrics of all states, after the configuration that made them."""
    port = free_port()
    server = Server(
        [
            str(program),
            f"--kubeconfig={control_plane.admin_kubeconfig}",
            f"--custom-resource-state-config-file={CONFIG}",
            "--custom-resource-state-only",
            "--host=127.0.0.1",
            f"--port={port}",
            "--telemetry-host=127.0.0.1",
            f"--telemetry-port={free_port()}",
        ],
        directory=home,
        log=home / "kube-state-metrics.log",
    )

    def scrape() -> str | None:
        try:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        except httpx.TransportError:
            return None
        return text if text.count(f"{PREFIX}info{{") == len(states()) else None

    try:
        text = eventually(scrape)
    finally:
        server.kill()
    return config_line() + "".join(sorted(text.splitlines(keepends=True), key=_family))


def _family(line: str) -> tuple[str, int, str]:
    """Order by family, HELP and TYPE before the series; the order of the series varies."""
    words = line.split(" ", 3)
    if line.startswith("#"):
        return words[2], ["HELP", "TYPE"].index(words[1]), ""
    return line.partition("{")[0], 2, line


def apply_states(control_plane: ControlPlane) -> None:
    """Create the resources, each with its status, named by the state."""
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}})
    for name, state in states().items():
        body = {**state, "metadata": {"name": name}}
        made = control_plane.http.post(RESOURCES, json=body).raise_for_status().json()
        if "conditions" in state["status"]:
            control_plane.http.patch(
                f"{RESOURCES}/{made['metadata']['name']}/status",
                json={"status": state["status"]},
                headers=MERGE,
            ).raise_for_status()


def main() -> None:
    program = shutil.which("kube-state-metrics")
    if program is None:
        sys.exit("kube-state-metrics is not in PATH")
    with ControlPlane() as control_plane, tempfile.TemporaryDirectory() as home:
        control_plane.apply_crds(ROOT / "deploy/crds")
        apply_states(control_plane)
        RECORDING.write_text(record(Path(program), control_plane, Path(home)))


if __name__ == "__main__":
    main()
