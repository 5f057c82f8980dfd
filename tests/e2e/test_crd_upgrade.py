"""What the current CRD makes of objects that were stored before it; no operator runs."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import yaml

from e2e.conftest import DEPLOY, IMAGE, Json, document
from envtest import ControlPlane, eventually

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "upgrade.example.com"
"""Not the group of the other tests, which need the CRD as it is."""
CRD = f"imageshareacceptances.{GROUP}"
RESOURCES = f"/apis/{GROUP}/v1alpha1/namespaces/{{namespace}}/imageshareacceptances"
NEW_FIELDS = ("imageSelectorTerms", "imageSelectionPolicy", "removalPolicy", "dryRun")
FIELD_OF_RULE = "self.imageSelect"


def current() -> Json:
    (path,) = (DEPLOY / "crds").glob("*.yaml")
    crd: Json = yaml.safe_load(path.read_text())
    crd["metadata"]["name"] = CRD
    crd["spec"]["group"] = GROUP
    crd["spec"]["names"] = {"kind": "Upgraded", "plural": "imageshareacceptances"}
    del crd["spec"]["versions"][0]["selectableFields"]  # Kubernetes 1.28 rejects them
    return crd


def before_selectors() -> Json:
    """The CRD of the releases that had no selectors."""
    crd = current()
    spec: Json = schema_of(crd)["spec"]
    for field in NEW_FIELDS:
        del spec["properties"][field]
    spec["required"].append("images")
    rules = spec["x-kubernetes-validations"]
    spec["x-kubernetes-validations"] = [row for row in rules if FIELD_OF_RULE not in row["rule"]]
    return crd


def schema_of(crd: Json) -> dict[str, Any]:
    (version,) = crd["spec"]["versions"]
    properties: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]
    return properties


@pytest.fixture
def stored(control_plane: ControlPlane, namespace: str) -> Iterator[Json]:
    """An object of the old CRD, as it was then; the CRD is the current one."""
    http, resources = control_plane.http, RESOURCES.format(namespace=namespace)
    try:
        control_plane.apply(before_selectors())
        body = {**document(), "apiVersion": f"{GROUP}/v1alpha1", "kind": "Upgraded"}
        made = eventually(partial(_created, control_plane, resources, body))
        control_plane.apply(current())
        path = f"{resources}/{made['metadata']['name']}"
        eventually(lambda: "dryRun" in http.get(path).json()["spec"] or None)
        yield made
    finally:
        http.delete(f"{CRDS}/{CRD}")
        eventually(lambda: http.get(f"{CRDS}/{CRD}").status_code == 404 or None)


def _created(control_plane: ControlPlane, resources: str, body: Json) -> Json | None:
    answer = control_plane.http.post(resources, json=body)
    return answer.json() if answer.is_success else None


def test_stored_object_keeps_its_generation(
    control_plane: ControlPlane, namespace: str, stored: Json
) -> None:
    path = f"{RESOURCES.format(namespace=namespace)}/{stored['metadata']['name']}"
    merge = {"Content-Type": "application/merge-patch+json"}

    status = control_plane.http.patch(
        f"{path}/status", headers=merge, json={"status": {"summary": "1/1"}}
    ).json()
    annotated = control_plane.http.patch(
        path, headers=merge, json={"metadata": {"annotations": {"note": "a"}}}
    ).json()

    assert stored["spec"].keys().isdisjoint(NEW_FIELDS)
    assert (stored["metadata"]["generation"], stored["spec"]["images"]) == (1, [IMAGE])
    for written in (status, annotated):
        assert written["metadata"]["generation"] == 1
        assert written["spec"] == {**stored["spec"], "removalPolicy": "Retain", "dryRun": False}
