"""No right is overlooked when they are counted; the Lease's are for this one alone."""

import pytest

from chart.objects import environment, the
from chart.programs import Helm, Json
from chart.rights import granted
from image_share_operator.settings import Settings

LEAST: Json = {"image": {"repository": "registry.example.com/isa"}}
BINDING: Json = {
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "mine"},
    "roleRef": {"kind": "ClusterRole", "name": "mine"},
}


def test_role_from_elsewhere_is_not_overlooked() -> None:
    elsewhere = {**BINDING, "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}}

    with pytest.raises(AssertionError, match="cluster-admin"):
        granted([elsewhere])


def test_role_of_another_namespace_is_not_taken_for_the_one_that_is_bound() -> None:
    role = {"kind": "Role", "metadata": {"name": "mine", "namespace": "a"}, "rules": []}
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": "mine", "namespace": "b"},
        "roleRef": {"kind": "Role", "name": "mine"},
    }

    with pytest.raises(AssertionError, match="'b'"):
        granted([role, binding])


def test_address_that_is_no_resource_counts_as_a_right() -> None:
    rules = [{"nonResourceURLs": ["/debug/*"], "verbs": ["get"]}]

    role = {"kind": "ClusterRole", "metadata": {"name": "mine"}, "rules": rules}

    assert granted([BINDING, role]) == {("get", "/debug/*")}


@pytest.mark.parametrize("shard", ["0/1", "0/3", "2/3"])
def test_role_names_the_lease_that_the_operator_takes(shard: str, helm: Helm) -> None:
    documents = helm.render({**LEAST, "settings": {"shard": shard}})
    settings = Settings.from_env(environment(documents))

    rules = the(documents, "Role")["rules"]

    assert [rule.get("resourceNames") for rule in rules] == [
        None,
        [settings.shard.name(settings.lease_name)],
    ]
