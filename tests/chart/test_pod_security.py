"""The pod passes Pod Security "restricted": the API server's own admission says so."""

from pathlib import Path

import httpx
import pytest

from chart.objects import of_kind, pod_of
from chart.programs import Helm, value_sets
from envtest import ControlPlane

IMAGE = {"repository": "registry.example.com/isa"}
ENFORCE = "pod-security.kubernetes.io/enforce"


@pytest.fixture(scope="module")
def restricted(control_plane: ControlPlane) -> str:
    """A namespace that takes such pods only."""
    name = control_plane.create_namespace("restricted")
    label = {"metadata": {"labels": {ENFORCE: "restricted"}}}
    control_plane.http.patch(
        f"/api/v1/namespaces/{name}",
        headers={"Content-Type": "application/merge-patch+json"},
        json=label,
    ).raise_for_status()
    return name


def admit(control_plane: ControlPlane, namespace: str, pod: dict[str, object]) -> httpx.Response:
    body = {**pod, "metadata": {"generateName": "operator-"}}
    return control_plane.http.post(f"/api/v1/namespaces/{namespace}/pods", json=body)


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_pod_of_each_value_set_is_admitted(
    values: Path, helm: Helm, control_plane: ControlPlane, restricted: str
) -> None:
    documents = helm.render(values)
    for pod in (pod_of(documents), *of_kind(documents, "Pod")):
        answer = admit(control_plane, restricted, pod)

        assert answer.status_code == httpx.codes.CREATED, answer.text
        assert "Warning" not in answer.headers


@pytest.mark.parametrize(
    ("of_pod", "field"),
    [
        (True, "runAsNonRoot"),
        (True, "seccompProfile"),
        (False, "allowPrivilegeEscalation"),
        (False, "capabilities"),
    ],
)
def test_pod_without_a_required_field_is_refused(
    of_pod: bool, field: str, helm: Helm, control_plane: ControlPlane, restricted: str
) -> None:
    pod = pod_of(helm.render({"image": IMAGE}))
    spec = pod["spec"]
    del (spec if of_pod else spec["containers"][0])["securityContext"][field]

    answer = admit(control_plane, restricted, pod)

    assert answer.status_code == httpx.codes.FORBIDDEN
    assert field in answer.json()["message"]
