"""The real helm against a real API server: install, upgrade, uninstall. Nothing schedules pods."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chart.crd import CRD_FILE, crd, newer_chart, spec_of, without_crd
from chart.objects import exists
from chart.programs import CHART, RELEASE, SYSTEM, Helm, HelmError, Json, value_sets
from e2e.conftest import RESOURCES, create, path_of
from envtest import ControlPlane, eventually

KEEP = "helm.sh/resource-policy"
IMAGE = ("--set", "image.repository=registry.example.com/isa")
WHERE = ("--namespace", SYSTEM, "--create-namespace")
OTHER = ("--set", "crds.install=false,watchNamespaces={team-b}")


@pytest.fixture(scope="module", autouse=True)
def teams(control_plane: ControlPlane) -> None:
    names = ("team-a", "team-b", "monitoring")
    control_plane.apply(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]
    )


@pytest.fixture(autouse=True)
def empty(cluster: Helm, control_plane: ControlPlane) -> Iterator[None]:
    """Leave no release and no CRD behind; the first test begins without, too."""
    yield
    cluster.uninstall_all()
    without_crd(control_plane)


def resource(control_plane: ControlPlane) -> Json:
    """A resource of ours, as soon as the API server takes one."""
    collection = RESOURCES.format(namespace="team-a")
    eventually(lambda: control_plane.http.get(collection).is_success or None)
    return create(control_plane, "team-a")


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_install_upgrade_and_uninstall_with(
    values: Path, cluster: Helm, control_plane: ControlPlane
) -> None:
    chosen = (RELEASE, str(CHART), "--values", str(values))
    cluster("install", *chosen, *WHERE)
    installed = [row for row in yaml.safe_load_all(manifest(cluster)) if row]
    there = [row for row in installed if exists(control_plane, row)]

    cluster("upgrade", *chosen, *WHERE)
    cluster("uninstall", RELEASE, *WHERE[:2])

    assert there == installed
    kept = [row for row in installed if KEEP in row["metadata"].get("annotations", {})]
    eventually(lambda: [row for row in installed if exists(control_plane, row)] == kept or None)
    assert bool(kept) is (values.stem not in ("single-values", "namespaces-values"))


def manifest(cluster: Helm) -> str:
    return cluster("get", "manifest", RELEASE, *WHERE[:2])


def test_crd_and_resources_outlive_the_release(cluster: Helm, control_plane: ControlPlane) -> None:
    cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE)
    made = resource(control_plane)

    cluster("uninstall", RELEASE, *WHERE[:2])

    assert control_plane.http.get(path_of(made)).json()["metadata"]["uid"] == uid(made)


def uid(document: Json) -> str:
    return str(document["metadata"]["uid"])


def test_release_that_comes_back_takes_its_crd_as_it_is(
    cluster: Helm, control_plane: ControlPlane
) -> None:
    cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE)
    made = resource(control_plane)
    cluster("uninstall", RELEASE, *WHERE[:2])

    cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE)

    assert control_plane.http.get(path_of(made)).json()["metadata"]["uid"] == uid(made)


def test_crd_that_shall_not_be_kept_goes_with_the_release(
    cluster: Helm, control_plane: ControlPlane
) -> None:
    cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE, "--set", "crds.keep=false")
    resource(control_plane)

    cluster("uninstall", RELEASE, *WHERE[:2])

    eventually(lambda: crd(control_plane) is None or None)


def test_upgrade_brings_the_new_crd_and_leaves_resources_alone(
    cluster: Helm, control_plane: ControlPlane, tmp_path: Path
) -> None:
    cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE)
    made = resource(control_plane)

    cluster("upgrade", RELEASE, str(newer_chart(tmp_path)), *IMAGE, *WHERE)

    found = crd(control_plane)
    assert found is not None
    assert "hint" in spec_of(found)
    assert control_plane.http.get(path_of(made)).json()["metadata"] == made["metadata"]


def test_rollback_brings_the_old_crd_back(
    cluster: Helm, control_plane: ControlPlane, tmp_path: Path
) -> None:
    cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE)
    cluster("upgrade", RELEASE, str(newer_chart(tmp_path)), *IMAGE, *WHERE)

    cluster("rollback", RELEASE, "1", *WHERE[:2])

    found = crd(control_plane)
    assert found is not None
    assert "hint" not in spec_of(found)


def test_crd_that_was_there_before_is_taken_over_when_told(
    cluster: Helm, control_plane: ControlPlane
) -> None:
    control_plane.apply_crds(CRD_FILE)
    made = resource(control_plane)

    with pytest.raises(HelmError, match="exists and cannot be imported"):
        cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE)
    cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE, "--take-ownership")

    found = crd(control_plane)
    assert found is not None
    assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert control_plane.http.get(path_of(made)).json()["metadata"]["uid"] == uid(made)


def test_crd_that_kubectl_applied_is_upgraded_when_told(
    cluster: Helm, control_plane: ControlPlane, tmp_path: Path
) -> None:
    control_plane.apply_crds(CRD_FILE)
    cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE, "--take-ownership")
    upgrade = ("upgrade", RELEASE, str(newer_chart(tmp_path)), *IMAGE, *WHERE)

    with pytest.raises(HelmError, match='conflict with "kubectl"'):
        cluster(*upgrade)
    cluster(*upgrade, "--force-conflicts")

    found = crd(control_plane)
    assert found is not None
    assert "hint" in spec_of(found)


def test_two_releases_share_a_cluster_when_one_owns_the_crd(cluster: Helm) -> None:
    cluster("install", RELEASE, str(CHART), *IMAGE, *WHERE, "--set", "watchNamespaces={team-a}")

    cluster("install", "second", str(CHART), *IMAGE, *WHERE, *OTHER)

    listed = json.loads(cluster("list", "--namespace", SYSTEM, "--output", "json"))
    assert {row["status"] for row in listed} == {"deployed"}
    assert len(listed) == 2


def test_watched_namespace_that_is_not_there_is_named(cluster: Helm) -> None:
    with pytest.raises(HelmError, match='namespaces "nowhere" not found'):
        cluster(
            *("install", RELEASE, str(CHART), *IMAGE, *WHERE),
            *("--set", "watchNamespaces={nowhere}"),
        )
