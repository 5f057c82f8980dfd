"""What the operator may expect of kubectl; no operator runs."""

import json
from collections.abc import Iterator

import pytest
import yaml

from argocd.scripts import ARGOCD, Json
from e2e.conftest import apply_status, create, patch_spec, read
from envtest import ControlPlane, KubectlError

STALE = {
    "type": "Ready",
    "status": "True",
    "reason": "Accepted",
    "message": "Of the first generation.",
    "lastTransitionTime": "2026-05-04T03:02:01Z",
}


@pytest.mark.parametrize(
    ("status", "met"),
    [
        pytest.param({"observedGeneration": 2, "conditions": [STALE]}, True, id="all is renewed"),
        pytest.param({"observedGeneration": 1, "conditions": [STALE]}, False, id="all is older"),
        pytest.param(
            {"observedGeneration": 2, "conditions": [{**STALE, "observedGeneration": 1}]},
            False,
            id="the condition is older",
        ),
        pytest.param(
            {"observedGeneration": 1, "conditions": [{**STALE, "observedGeneration": 2}]},
            True,
            id="the condition has the last word",
        ),
    ],
)
def test_wait_reads_the_generation_that_a_condition_speaks_about(
    control_plane: ControlPlane, namespace: str, status: Json, met: bool
) -> None:
    made = create(control_plane, namespace)
    patch_spec(control_plane, made, timeout="5m").raise_for_status()
    apply_status(control_plane, made, status).raise_for_status()
    assert read(control_plane, made)["metadata"]["generation"] == 2

    name = f"isa/{made['metadata']['name']}"
    enough = "30s" if met else "1s"
    arguments = ("wait", name, "-n", namespace, "--for=condition=Ready", f"--timeout={enough}")
    try:
        ended = "condition met" in control_plane.kubectl(*arguments)
    except KubectlError:
        ended = False

    assert ended is met


@pytest.fixture
def argocd_cm(control_plane: ControlPlane) -> Iterator[Json]:
    """Someone's `argocd-cm`, where Argo CD has it; what was in it before ours."""
    theirs = {"url": "https://argocd.example.com"}
    metadata = {"name": "argocd-cm", "namespace": "argocd"}
    control_plane.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": theirs},
        ]
    )
    yield theirs
    control_plane.kubectl("delete", "configmap", "argocd-cm", "-n", "argocd")


@pytest.mark.parametrize("file", ["argocd-cm.yaml", "argocd-cm-applications.yaml"])
def test_patch_of_argocd_cm_keeps_what_others_configured(
    control_plane: ControlPlane, argocd_cm: Json, file: str
) -> None:
    """The command of docs/argocd.md."""
    where = ("configmap", "argocd-cm", "-n", "argocd")
    patch = ARGOCD / file

    control_plane.kubectl("patch", *where, "--type", "merge", "--patch-file", str(patch))

    stored = json.loads(control_plane.kubectl("get", *where, "-o", "json"))["data"]
    assert stored == argocd_cm | yaml.safe_load(patch.read_text())["data"]
