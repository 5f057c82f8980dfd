"""What the chart makes of its values; needs nothing but helm."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.objects import environment, of_kind, pod_of, the
from chart.programs import CHART, ROOT, Helm, Json, value_sets
from image_share_operator.settings import LEASE, Settings, SettingsError, variables
from image_share_operator.telemetry.metrics import REGISTRY, StateCollector, Views

IMAGE: dict[str, Any] = {"repository": "registry.example.com/isa"}
LEAST: dict[str, Any] = {"image": IMAGE}
SETTINGS: dict[str, Json] = json.loads((CHART / "values.schema.json").read_text())["properties"][
    "settings"
]["properties"]
NAMES = {one.name for one in variables().values() if not one.is_common}
NUMBERS = [name for name, schema in SETTINGS.items() if "minimum" in schema]


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_lint_finds_nothing_in(values: Path, helm: Helm) -> None:
    said = helm("lint", "--strict", str(CHART), "--values", str(values))

    assert "0 chart(s) failed" in said
    assert "WARNING" not in said


def test_without_values_only_the_image_is_missing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_values_are_those_of_the_operator_when_nothing_is_set(helm: Helm) -> None:
    told = Settings.from_env(environment(helm.render(LEAST)))

    own = Settings.from_env(
        {
            "ISA_LEADER_ELECTION": "true",
            "ISA_LOG_FORMAT": "json",
            "ISA_LEASE_NAME": LEASE,
            "ISA_METRICS_PORT": "8080",
        }
    )
    assert told == own


def test_each_setting_of_the_operator_can_be_set(helm: Helm) -> None:
    told = environment(helm.render(CHART / "ci/everything-values.yaml"))
    told |= environment(helm.render(CHART / "ci/namespaces-values.yaml"))

    # The Lease is in the pod's own namespace, which the operator knows.
    assert NAMES - set(told) == {"ISA_LEASE_NAMESPACE"}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(("end", "beyond"), [("minimum", -1), ("maximum", 1)])
def test_schema_and_operator_take_the_same_range(
    name: str, end: str, beyond: int, helm: Helm
) -> None:
    limit = SETTINGS[name][end]
    told = environment(helm.render({**LEAST, "settings": {name: limit}}))
    Settings.from_env(told)
    mine = re.sub("([A-Z])", r"_\1", name).upper().replace("SECONDS", "S")

    with pytest.raises(SettingsError, match=f"ISA_{mine}="):
        Settings.from_env({**told, f"ISA_{mine}": str(limit + beyond)})


def test_no_setting_of_the_chart_is_unknown_to_the_operator(helm: Helm) -> None:
    told = environment(helm.render(LEAST))

    assert {name for name in told if name.startswith("ISA_")} - NAMES == set()


def test_watched_namespaces_reach_the_operator(helm: Helm) -> None:
    told = Settings.from_env(environment(helm.render({**LEAST, "watchNamespaces": ["a", "b"]})))

    assert told.namespaces == ("a", "b")


def test_with_watched_namespaces_there_is_no_cluster_role(helm: Helm) -> None:
    documents = helm.render({**LEAST, "watchNamespaces": ["a", "b"]})

    assert of_kind(documents, "ClusterRole") + of_kind(documents, "ClusterRoleBinding") == []
    assert {
        (row["metadata"]["namespace"], row["metadata"]["name"])
        for row in of_kind(documents, "Role")
    } == {
        ("a", "image-share-operator"),
        ("b", "image-share-operator"),
        ("image-share-system", "image-share-operator-leader-election"),
    }


def test_roles_of_watched_namespaces_leave_out_the_rule_for_crds_alone(helm: Helm) -> None:
    rules = yaml.safe_load((CHART / "files/clusterrole-rules.yaml").read_text())
    wanted = [rule for rule in rules if rule["apiGroups"] != ["apiextensions.k8s.io"]]

    documents = helm.render({**LEAST, "watchNamespaces": ["a"]})
    role = next(row for row in of_kind(documents, "Role") if row["metadata"]["namespace"] == "a")

    assert role["rules"] == wanted
    assert len(wanted) == len(rules) - 1


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_all_bindings_are_for_the_account_of_the_pod(values: Path, helm: Helm) -> None:
    documents = helm.render(values)
    account = pod_of(documents)["spec"]["serviceAccountName"]

    bindings = of_kind(documents, "RoleBinding") + of_kind(documents, "ClusterRoleBinding")
    ours = [row for row in bindings if not row["metadata"]["name"].endswith("-kube-state-metrics")]

    assert {(row["name"], row["namespace"]) for one in ours for row in one["subjects"]} <= {
        (account, "image-share-system")
    }


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"digest": "sha256:" + "a" * 64, "tag": "1"}, "@sha256:" + "a" * 64),
        ({"tag": "1"}, ":1"),
        ({}, f":{yaml.safe_load((CHART / 'Chart.yaml').read_text())['appVersion']}"),
    ],
    ids=["digest", "tag", "version of the chart"],
)
def test_image_is_by_digest_tag_or_version(
    image: dict[str, str], expected: str, helm: Helm
) -> None:
    pod = pod_of(helm.render({"image": {**IMAGE, **image}}))

    assert pod["spec"]["containers"][0]["image"] == f"registry.example.com/isa{expected}"


ONE_POD = {"replicaCount": 1, "leaderElection": {"enabled": False}}
NEW_POD_FIRST = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.mark.parametrize(
    ("values", "strategy", "left_out"),
    [({}, NEW_POD_FIRST, "-"), (ONE_POD, {"type": "Recreate"}, "Role")],
    ids=["with a Lease the new pod first", "without one the old pod first"],
)
def test_strategy_leaves_one_leader(
    values: dict[str, Any], strategy: Json, left_out: str, helm: Helm
) -> None:
    documents = helm.render({**LEAST, **values})

    assert the(documents, "Deployment")["spec"]["strategy"] == strategy
    assert of_kind(documents, left_out) == []


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"replicaCount": 1}, "PodDisruptionBudget"),
        ({"crds": {"install": False}}, "CustomResourceDefinition"),
        ({"metrics": {"enabled": False}}, "Service"),
    ],
)
def test_object_is_left_out(values: dict[str, Any], kind: str, helm: Helm) -> None:
    assert of_kind(helm.render(LEAST), kind) != []
    assert of_kind(helm.render({**LEAST, **values}), kind) == []


def terms_of(documents: list[Json]) -> list[Json]:
    """The preferred terms of the anti-affinity."""
    spec = pod_of(documents)["spec"]["affinity"]["podAntiAffinity"]
    terms: list[Json] = spec["preferredDuringSchedulingIgnoredDuringExecution"]
    return [row["podAffinityTerm"] for row in terms]


def test_replicas_prefer_other_nodes_and_zones(helm: Helm) -> None:
    documents = helm.render(LEAST)

    rows = terms_of(documents)
    assert [row["topologyKey"] for row in rows] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    labels = pod_of(documents)["metadata"]["labels"]
    for row in rows:
        assert row["labelSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(("kubernetes", "known"), [("1.30.0", False), ("1.31.0", True)])
def test_anti_affinity_counts_one_replica_set_where_kubernetes_can(
    helm: Helm, kubernetes: str, *, known: bool
) -> None:
    rows = terms_of(helm.render(LEAST, "--kube-version", kubernetes))

    assert all(("matchLabelKeys" in row) is known for row in rows)


def test_node_affinity_is_kept_beside_the_anti_affinity_of_the_chart(helm: Helm) -> None:
    node: Json = {"preferredDuringSchedulingIgnoredDuringExecution": []}

    documents = helm.render({**LEAST, "affinity": {"nodeAffinity": node}})

    affinity = pod_of(documents)["spec"]["affinity"]
    assert affinity["nodeAffinity"] == node
    assert "podAntiAffinity" in affinity


def test_spread_constraints_replace_the_anti_affinity_of_the_chart(helm: Helm) -> None:
    row = {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}

    spec = pod_of(helm.render({**LEAST, "topologySpreadConstraints": [row]}))["spec"]

    rows = spec["topologySpreadConstraints"]
    assert len(rows) == 1
    assert "affinity" not in spec
    assert rows[0].items() >= row.items()
    assert rows[0]["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"]


def test_metrics_and_probes_can_be_turned_off(helm: Helm) -> None:
    documents = helm.render({**LEAST, "metrics": {"enabled": False}})

    container = pod_of(documents)["spec"]["containers"][0]
    assert {"ports", "startupProbe", "livenessProbe", "readinessProbe"} & set(container) == set()
    assert "ISA_METRICS_PORT" not in environment(documents)


def test_service_and_probes_reach_the_port_of_the_operator(helm: Helm) -> None:
    documents = helm.render({**LEAST, "metrics": {"enabled": True, "port": 9000}})

    container = pod_of(documents)["spec"]["containers"][0]
    assert Settings.from_env(environment(documents)).metrics_port == 9000
    assert container["ports"] == [{"name": "metrics", "containerPort": 9000}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert the(documents, "Service")["spec"]["ports"][0]["targetPort"] == "metrics"


def test_alerts_ask_for_metrics_that_the_operator_has(helm: Helm) -> None:
    views = Views(
        objects=dict,
        waiting=lambda: (0, 0.0),
        busy=int,
        circuits=int,
        tokens=float,
        selections=dict,
        selects_nothing_s=float,
    )
    families = [*REGISTRY.collect(), *StateCollector(views).collect()]
    known = {sample.name for family in families for sample in family.samples}
    known |= {family.name for family in families}
    documents = helm.render(CHART / "ci/everything-values.yaml")

    rules = the(documents, "PrometheusRule")["spec"]["groups"][0]["rules"]
    asked = re.findall(r"image_share_operator_\w+", " ".join(rule["expr"] for rule in rules))

    assert set(asked) - known == set()
    assert len(asked) == len(rules) - 1
    mine = '{job="shares-metrics", namespace="image-share-system"'
    assert [rule["expr"] for rule in rules if mine not in rule["expr"]] == []


def test_each_alert_links_to_its_section_of_the_runbooks(helm: Helm) -> None:
    page = (ROOT / "docs/runbooks.md").read_text()
    sections = {title.lower() for title in re.findall(r"^## (\w+)$", page, re.MULTILINE)}
    documents = helm.render(CHART / "ci/everything-values.yaml")

    groups = the(documents, "PrometheusRule")["spec"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    links = {rule["alert"].lower(): rule["annotations"]["runbook_url"] for rule in rules}

    assert {link.partition("#")[2] for link in links.values()} == set(links) == sections
    assert {link.partition("#")[0] for link in links.values()} == {
        "https://docs.example.com/image-share-operator/runbooks/"
    }


def test_dashboard_reaches_grafana_as_it_is(helm: Helm) -> None:
    documents = helm.render(CHART / "ci/everything-values.yaml")

    board = next(one for one in documents if one["metadata"]["name"].endswith("-dashboard"))

    made = json.loads(board["data"]["image-share-operator.json"])
    assert made == json.loads((CHART / "files/dashboard.json").read_text())
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert board["metadata"]["annotations"] == {"grafana_folder": "Operators"}


def test_network_policy_allows_no_ingress_without_metrics(helm: Helm) -> None:
    values = {"networkPolicy": {"enabled": True}, "metrics": {"enabled": False}}

    policy = the(helm.render({**LEAST, **values}), "NetworkPolicy")

    assert policy["spec"]["ingress"] == []
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_proxy_is_set_by_the_usual_variables(helm: Helm) -> None:
    proxy = {"httpsProxy": "http://proxy:3128", "noProxy": [".internal", "10.0.0.1"]}

    told = environment(helm.render({**LEAST, "proxy": proxy}))

    assert told["HTTPS_PROXY"] == "http://proxy:3128"
    assert told["NO_PROXY"] == ".internal,10.0.0.1"


def test_authorities_are_mounted_where_the_operator_looks(helm: Helm) -> None:
    documents = helm.render({**LEAST, "extraCA": {"configMap": "ca", "key": "bundle.pem"}})

    spec = pod_of(documents)["spec"]
    assert environment(documents)["SSL_CERT_FILE"] == "/etc/image-share-operator/ca/ca.crt"
    assert spec["containers"][0]["volumeMounts"][0]["mountPath"] == "/etc/image-share-operator/ca"
    assert spec["volumes"][0]["configMap"]["items"] == [{"key": "bundle.pem", "path": "ca.crt"}]


def test_crd_is_that_of_the_repository_and_is_kept(helm: Helm) -> None:
    source = yaml.safe_load(
        (ROOT / "deploy/crds/imageshareacceptances.ims.otc.dev.yaml").read_text()
    )

    crd = the(helm.render(LEAST), "CustomResourceDefinition")

    assert crd["spec"] == source["spec"]
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_names_are_short_enough_for_the_longest_release(helm: Helm) -> None:
    text = helm(
        *("template", "x" * 53, str(CHART)), *("--set", "image.repository=x,metrics.enabled=true")
    )

    service = the([row for row in yaml.safe_load_all(text) if row], "Service")
    assert len(service["metadata"]["name"]) == 63


def test_resource_set_to_an_empty_string_is_removed(helm: Helm) -> None:
    values = {**LEAST, "resources": {"limits": {"memory": ""}, "requests": {"cpu": "100m"}}}

    container = pod_of(helm.render(values))["spec"]["containers"][0]

    assert container["resources"] == {"limits": {}, "requests": {"cpu": "100m", "memory": "192Mi"}}


@pytest.mark.parametrize(
    ("adapt", "openshift", "user"),
    [(None, True, None), (None, False, 65532), ("force", False, None), ("disabled", True, 65532)],
)
def test_user_id_is_left_to_openshift(
    adapt: str | None, openshift: bool, user: int | None, helm: Helm
) -> None:
    values = {"global": {"compatibility": {"openshift": {"adaptSecurityContext": adapt}}}}
    arguments = ("--api-versions", "security.openshift.io/v1") if openshift else ()

    context = pod_of(helm.render({**LEAST, **values}, *arguments))["spec"]["securityContext"]

    assert context.get("runAsUser") == user
    assert context["runAsNonRoot"] is True


def test_notes_tell_what_to_do_next(helm: Helm) -> None:
    said = helm(
        *("install", "shares", str(CHART), "--dry-run=client", "--namespace", "shares"),
        *("--set", "image.repository=x,watchNamespaces={team-a}"),
    )

    notes = said.partition("NOTES:")[2]
    assert "reconciles ImageShareAcceptance resources in the namespaces team-a" in notes
    assert "kubectl -n shares rollout status deployment/shares-image-share-operator" in notes
    assert "kubectl -n shares get lease shares-image-share-operator" in notes
    assert "kubectl -n team-a wait isa/base-images --for=condition=Ready" in notes


@pytest.mark.parametrize(("kubernetes", "known"), [("1.28.0", False), ("1.30.0", True)])
def test_crd_has_selectable_fields_where_kubernetes_knows_them(
    helm: Helm, kubernetes: str, *, known: bool
) -> None:
    rendered = helm.render(LEAST, "--kube-version", kubernetes)

    crd = the(rendered, "CustomResourceDefinition")
    assert all(("selectableFields" in version) is known for version in crd["spec"]["versions"])
