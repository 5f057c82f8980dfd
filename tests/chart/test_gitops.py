"""What docs and `deploy/argocd` give to flux and Argo CD is what their CRDs take, to each field."""

import re

import pytest
import yaml

from chart.programs import ROOT, Json
from envtest import ControlPlane
from envtest.failures import KubectlError

APPLICATIONS = list(yaml.safe_load_all((ROOT / "deploy/argocd/application.yaml").read_text()))
UNKNOWN = "HelmRelease"
"""Its CRD could not be had where this was written."""


def of_flux() -> list[Json]:
    """The objects of flux in docs/install.md."""
    page = (ROOT / "docs/install.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    documents = [row for block in blocks for row in yaml.safe_load_all(block)]
    return [row for row in documents if ".toolkit.fluxcd.io/" in row["apiVersion"]]


def name(document: Json) -> str:
    return f"{document['kind']}-{document['metadata']['name']}"


@pytest.fixture(scope="module", autouse=True)
def namespaces(control_plane: ControlPlane) -> None:
    names = ("argocd", "flux-system", "image-share-system", "my-team")
    control_plane.apply(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]
    )


def dry_run(control_plane: ControlPlane, document: Json) -> None:
    command = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
    control_plane.kubectl(*command, input=yaml.safe_dump(document))


@pytest.mark.parametrize("document", [*APPLICATIONS, *of_flux()], ids=name)
def test_api_server_takes(document: Json, control_plane: ControlPlane) -> None:
    if document["kind"] == UNKNOWN:
        pytest.skip("there is no CRD of it here")

    dry_run(control_plane, document)


def test_api_server_refuses_a_field_that_is_not_there(control_plane: ControlPlane) -> None:
    wrong = {**APPLICATIONS[0], "spec": {**APPLICATIONS[0]["spec"], "sorce": {}}}

    with pytest.raises(KubectlError, match=r"spec\.sorce"):
        dry_run(control_plane, wrong)


def test_what_the_objects_of_flux_depend_on_is_among_them() -> None:
    documents = of_flux()
    there = {(row["kind"], row["metadata"]["name"]) for row in documents}
    sources = [row["spec"].get("sourceRef") for row in documents if row["kind"] == "Kustomization"]
    before = [row for one in documents for row in one["spec"].get("dependsOn", ())]

    assert {(row["kind"], row["name"]) for row in sources if row} <= there
    assert {("Kustomization", row["name"]) for row in before} <= there
    assert len(before) == 1


def test_both_applications_make_their_namespace() -> None:
    options = [row["spec"]["syncPolicy"]["syncOptions"] for row in APPLICATIONS]

    assert ["CreateNamespace=true" in row for row in options] == [True, True]
