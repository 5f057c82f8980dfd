"""All that the chart makes is what the API server's own schemas allow, to the last field."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chart import schemas
from chart.programs import PROGRAMS, Helm, Json, value_sets
from envtest import ControlPlane, binaries
from envtest.failures import KubectlError

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "deploy/samples").glob("*.yaml"))


@pytest.fixture(scope="module")
def conform(
    helm: Helm, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Conform"]:
    control_plane.apply_crds(ROOT / "deploy/crds")
    yield Conform(helm, control_plane, tmp_path_factory.mktemp("schemas"))
    control_plane.kubectl("delete", "-f", str(ROOT / "deploy/crds"))  # Helm wants to make it


class Conform:
    """kubeconform with the schemas of the control plane."""

    def __init__(self, helm: Helm, control_plane: ControlPlane, home: Path) -> None:
        self._helm = helm
        self._home = home
        rendered = [row for path in value_sets() for row in helm.render(path)]
        ours = [row for path in SAMPLES for row in yaml.safe_load_all(path.read_text())]
        kinds = {(row["apiVersion"], row["kind"]) for row in [*rendered, *ours]}
        self._location = schemas.write(control_plane.http, sorted(kinds), home)

    def __call__(self, documents: list[Json]) -> str:
        """What kubeconform has against these; empty for nothing."""
        path = self._home / "documents.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        call = subprocess.run(
            [
                str(binaries.directory(*PROGRAMS) / "kubeconform"),
                "-strict",
                "-schema-location",
                self._location,
                str(path),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        said = (call.stdout + call.stderr).strip()
        return said if call.returncode else ""


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_kubeconform_finds_nothing_in(values: Path, helm: Helm, conform: Conform) -> None:
    assert conform(helm.render(values)) == ""


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_kubeconform_finds_nothing_in_sample(sample: Path, conform: Conform) -> None:
    assert conform(list(yaml.safe_load_all(sample.read_text()))) == ""


@pytest.mark.parametrize("name", ["accept", "reject", "openstack"])
@pytest.mark.usefixtures("conform")
def test_sample_is_rejected_until_its_placeholders_are_replaced(
    name: str, control_plane: ControlPlane
) -> None:
    sample = (ROOT / f"deploy/samples/{name}.yaml").read_text()
    apply = ("apply", "--dry-run=server", "-n", "default", "-f", "-")

    with pytest.raises(KubectlError) as refused:
        control_plane.kubectl(*apply, input=sample)

    told = str(refused.value)
    assert 'spec.projectID: Invalid value: "PROJECT-ID": must be a project ID' in told
    assert 'spec.images[0]: Invalid value: "IMAGE-ID-1": must be' in told
    image = "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba9"
    edited = sample.replace("PROJECT-ID", "0" * 32).replace("IMAGE-ID-", image)
    edited = edited.replace("AUTH-URL", "https://cloud.example.com/identity")
    control_plane.kubectl(*apply, input=edited)


def test_samples_name_the_decision() -> None:
    texts = [path.read_text() for path in SAMPLES]
    ours = [row for text in texts for row in yaml.safe_load_all(text)]

    specs = [row["spec"] for row in ours if row["kind"] == "ImageShareAcceptance"]
    decisions = [spec.get("decision") for spec in specs]
    assert decisions == ["Accept", "Accept", "Accept", "Reject", "Accept"]


def test_kubeconform_finds_a_field_that_is_not_there(helm: Helm, conform: Conform) -> None:
    documents = helm.render(value_sets()[0])
    for document in documents:
        if document["kind"] == "Deployment":
            document["spec"]["template"]["spec"]["hostnetwork"] = True

    assert "'hostnetwork' not allowed" in conform(documents)


def test_kubeconform_finds_a_resource_of_ours_that_is_wrong(conform: Conform) -> None:
    sample = yaml.safe_load(SAMPLES[0].read_text())
    sample["spec"]["decision"] = "Perhaps"

    assert "/spec/decision" in conform([sample])
