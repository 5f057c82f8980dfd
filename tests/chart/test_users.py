"""What people may do with our kind, by the cluster's own roles view and edit."""

from collections.abc import Iterator

import pytest

from chart.objects import of_kind
from chart.programs import CHART, RELEASE, SYSTEM, Helm, Json
from envtest import ControlPlane

RBAC = "rbac.authorization.k8s.io"
LEAST = {"image": {"repository": "registry.example.com/isa"}}
READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")


@pytest.fixture(scope="module", autouse=True)
def people(cluster: Helm, control_plane: ControlPlane) -> Iterator[None]:
    """A reader and an editor of the namespace default, by the roles that Helm made."""
    cluster(
        *("install", RELEASE, str(CHART), "--namespace", SYSTEM, "--create-namespace"),
        *("--set", "image.repository=registry.example.com/isa"),
    )
    control_plane.apply([bound("reader", "view"), bound("editor", "view"), bound("editor", "edit")])
    yield
    cluster("uninstall", RELEASE, "--namespace", SYSTEM)


def bound(user: str, role: str) -> Json:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{user}-{role}", "namespace": "default"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": f"{RELEASE}-{role}"},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }


@pytest.mark.parametrize("verb", [*READ, *WRITE])
@pytest.mark.parametrize("user", ["reader", "editor"])
def test_reader_reads_and_editor_writes(user: str, verb: str, control_plane: ControlPlane) -> None:
    assert allowed(control_plane, user, verb) is (user == "editor" or verb in READ)


@pytest.mark.parametrize("verb", ["update", "patch"])
def test_only_the_operator_writes_the_status(verb: str, control_plane: ControlPlane) -> None:
    assert not allowed(control_plane, "editor", verb, subresource="status")


def allowed(control_plane: ControlPlane, user: str, verb: str, *, subresource: str = "") -> bool:
    attributes = {
        "namespace": "default",
        "group": "ims.otc.dev",
        "resource": "imageshareacceptances",
        "subresource": subresource,
        "verb": verb,
    }
    answer = control_plane.http.post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        json={"spec": {"user": user, "resourceAttributes": attributes}},
    )
    return bool(answer.raise_for_status().json()["status"]["allowed"])


def test_roles_of_people_are_added_to_those_of_the_cluster(helm: Helm) -> None:
    """A controller adds them up; none runs here, so the labels must do."""
    roles = {row["metadata"]["name"]: row for row in of_kind(helm.render(LEAST), "ClusterRole")}

    assert aggregated(roles[f"{RELEASE}-view"]) == {"view", "edit", "admin"}
    assert aggregated(roles[f"{RELEASE}-edit"]) == {"edit", "admin"}
    assert aggregated(roles[RELEASE]) == set()


def aggregated(role: Json) -> set[str]:
    mark = f"{RBAC}/aggregate-to-"
    return {
        name.removeprefix(mark)
        for name, value in role["metadata"]["labels"].items()
        if name.startswith(mark) and value == "true"
    }


@pytest.mark.parametrize("values", [{"rbac": {"aggregate": False}}, {"watchNamespaces": ["a"]}])
def test_no_roles_for_people_when_not_wanted(values: Json, helm: Helm) -> None:
    names = {
        row["metadata"]["name"] for row in of_kind(helm.render({**LEAST, **values}), "ClusterRole")
    }

    assert names <= {RELEASE}
