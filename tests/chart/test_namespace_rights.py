"""With `watchNamespaces` the operator has Roles and nothing that is cluster-wide."""

from collections.abc import Iterator

import pytest

from chart import audit, teams
from chart.programs import RELEASE, Helm
from chart.teams import SYSTEM, TEAMS
from envtest import ControlPlane

RIGHTS = [
    ("list", "ims.otc.dev", "imageshareacceptances"),
    ("patch", "ims.otc.dev", "imageshareacceptances"),
    ("get", "", "secrets"),
    ("get", "", "namespaces"),
    ("create", "events.k8s.io", "events"),
    ("patch", "events.k8s.io", "events"),
]


@pytest.fixture(scope="module", autouse=True)
def release(cluster: Helm, control_plane: ControlPlane) -> Iterator[None]:
    with teams.installed(cluster, control_plane):
        yield


@pytest.mark.parametrize(("verb", "group", "resource"), RIGHTS)
@pytest.mark.parametrize("namespace", [*TEAMS, "default", ""])
def test_rights_end_at_the_watched_namespaces(
    verb: str, group: str, resource: str, namespace: str, control_plane: ControlPlane
) -> None:
    attributes = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
    user = audit.account_of(SYSTEM, RELEASE)

    answer = control_plane.http.post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        json={"spec": {"user": user, "resourceAttributes": attributes}},
    ).raise_for_status()

    assert answer.json()["status"]["allowed"] is (namespace in TEAMS)
