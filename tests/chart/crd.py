"""Our CRD in the cluster and in the chart."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from chart.programs import CHART, ROOT, Json
from e2e.conftest import empty
from envtest import ControlPlane, eventually

CRD = "imageshareacceptances.ims.otc.dev"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RESOURCES = "/apis/ims.otc.dev/v1alpha1/imageshareacceptances"
CRD_FILE = ROOT / f"deploy/crds/{CRD}.yaml"


def crd(control_plane: ControlPlane) -> Json | None:
    answer = control_plane.http.get(f"{CRDS}/{CRD}")
    return None if answer.status_code == 404 else answer.raise_for_status().json()


def without_crd(control_plane: ControlPlane) -> None:
    """Delete the CRD, and with it all resources; wait until it is gone.

    Raises:
        TimeoutError: it stays; with its conditions and the resources that are left.
    """
    answer = control_plane.http.delete(f"{CRDS}/{CRD}")
    try:
        eventually(lambda: crd(control_plane) is None or None)
    except TimeoutError as exc:
        left = control_plane.http.get(RESOURCES)
        exc.add_note(f"DELETE returned {answer.status_code}; now: {crd(control_plane)}")
        exc.add_note(f"resources: {left.status_code} {left.text}")
        raise


def without_resources(control_plane: ControlPlane) -> None:
    """Delete all resources without an operator, whatever finalizers they have."""
    answer = control_plane.http.get(RESOURCES)
    rows = answer.json()["items"] if answer.is_success else []
    for namespace in {row["metadata"]["namespace"] for row in rows}:
        empty(control_plane, namespace)


def newer_chart(directory: Path) -> Path:
    """The chart with one more field in the CRD."""
    newer = directory / "chart"
    shutil.copytree(CHART, newer)
    path = newer / "files/crds" / CRD_FILE.name
    document = yaml.safe_load(path.read_text())
    spec_of(document)["hint"] = {"type": "string"}
    path.write_text(yaml.safe_dump(document))
    chart = yaml.safe_load((newer / "Chart.yaml").read_text())
    (newer / "Chart.yaml").write_text(yaml.safe_dump({**chart, "version": "0.2.0"}))
    return newer


def spec_of(definition: Json) -> dict[str, Any]:
    """The fields that the CRD knows in a spec."""
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields: dict[str, Any] = schema["properties"]["spec"]["properties"]
    return fields
