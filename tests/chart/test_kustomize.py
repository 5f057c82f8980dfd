"""`kubectl apply -k deploy`, and a kustomization of a user on top of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chart.objects import exists, object_path, of_kind, pod_of, the
from chart.programs import RELEASE, ROOT, SYSTEM, Json
from envtest import ControlPlane

DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def applied(control_plane: ControlPlane) -> Iterator[list[Json]]:
    """What `kubectl apply -k deploy` made."""
    control_plane.kubectl("apply", "-k", str(DEPLOY))
    documents = built(control_plane, DEPLOY)
    yield documents
    # No controller would end the namespace, and the other tests need it.
    others = [row for row in documents if row["kind"] != "Namespace"]
    control_plane.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(others))


def built(control_plane: ControlPlane, directory: Path) -> list[Json]:
    return list(yaml.safe_load_all(control_plane.kubectl("kustomize", str(directory))))


def test_everything_is_there(control_plane: ControlPlane, applied: list[Json]) -> None:
    assert [row for row in applied if not exists(control_plane, row)] == []
    assert {row["kind"] for row in applied} >= {"CustomResourceDefinition", "Namespace"}


def test_applying_again_changes_nothing(control_plane: ControlPlane, applied: list[Json]) -> None:
    before = [version(control_plane, row) for row in applied]

    control_plane.kubectl("apply", "-k", str(DEPLOY))

    assert [version(control_plane, row) for row in applied] == before


def version(control_plane: ControlPlane, document: Json) -> int:
    """The generation where there is one: status is not ours."""
    metadata = control_plane.http.get(object_path(document)).raise_for_status().json()["metadata"]
    return int(metadata.get("generation", metadata["resourceVersion"]))


def test_namespace_takes_the_pod_by_pod_security_restricted(
    control_plane: ControlPlane, applied: list[Json]
) -> None:
    body = {**pod_of(applied), "metadata": {"generateName": "operator-"}}

    answer = control_plane.http.post(f"/api/v1/namespaces/{SYSTEM}/pods", json=body)

    assert answer.status_code == 201, answer.text


def test_nothing_of_helms_is_left(applied: list[Json]) -> None:
    text = yaml.safe_dump_all(applied)

    assert "helm" not in text.lower()


def test_own_kustomization_changes_image_and_namespace(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Other kustomizations may lie above it, by a relative path."""
    below = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "shares",
        "resources": [relative(DEPLOY, tmp_path)],
        "images": [
            {"name": RELEASE, "newName": "registry.example.com/isa", "digest": "sha256:" + "a" * 64}
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(below))

    documents = built(control_plane, tmp_path)

    image = pod_of(documents)["spec"]["containers"][0]["image"]
    assert image == "registry.example.com/isa@sha256:" + "a" * 64
    assert the(documents, "Namespace")["metadata"]["name"] == "shares"
    bindings = of_kind(documents, "ClusterRoleBinding") + of_kind(documents, "RoleBinding")
    assert {row["namespace"] for one in bindings for row in one["subjects"]} == {"shares"}


GENERATED: Json = {
    "apiVersion": "kustomize.config.k8s.io/v1beta1",
    "kind": "Kustomization",
    "namePrefix": "team-a-",
    "nameSuffix": "-prod",
    "resources": ["resource.yaml"],
    "secretGenerator": [{"name": "otc-credentials", "literals": ["token=t"]}],
}


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    """A kustomization of a team: a resource and a generated Secret, both with other names."""
    directory = tmp_path / "team"
    directory.mkdir()
    resource = {
        "apiVersion": "ims.otc.dev/v1alpha1",
        "kind": "ImageShareAcceptance",
        "metadata": {"name": "web"},
        "spec": {"credentialsSecretRef": {"name": "otc-credentials"}},
    }
    (directory / "resource.yaml").write_text(yaml.safe_dump(resource))
    components = [relative(DEPLOY / "kustomize/name-reference", directory)]
    kustomization = {**GENERATED, "components": components}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return directory


def secret_and_reference(documents: list[Json]) -> tuple[str, str]:
    resource = the(documents, "ImageShareAcceptance")
    reference = resource["spec"]["credentialsSecretRef"]["name"]
    return the(documents, "Secret")["metadata"]["name"], reference


def test_component_rewrites_the_name_of_a_generated_secret(
    control_plane: ControlPlane, generated: Path
) -> None:
    secret, reference = secret_and_reference(built(control_plane, generated))

    assert reference == secret
    assert secret.startswith("team-a-otc-credentials-prod-")


def test_component_of_a_base_holds_for_its_overlays(
    control_plane: ControlPlane, generated: Path, tmp_path: Path
) -> None:
    overlay = {key: GENERATED[key] for key in ("apiVersion", "kind")}
    overlay |= {"nameSuffix": "-eu", "resources": [generated.name]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))

    secret, reference = secret_and_reference(built(control_plane, tmp_path))

    assert reference == secret
    assert "-prod-eu-" in secret


def relative(target: Path, start: Path) -> str:
    return str(Path(*[".."] * len(start.resolve().parts[1:])) / target.resolve().relative_to("/"))
