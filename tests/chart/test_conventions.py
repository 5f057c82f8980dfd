"""Values that platform teams know from other charts."""

from typing import Any

import pytest
import yaml

from chart.objects import of_kind, pod_of, the
from chart.programs import CHART, RELEASE, Helm, Json
from image_share_operator.cli import arguments
from image_share_operator.telemetry import probes

LEAST: dict[str, Any] = {"image": {"repository": "registry.example.com/isa"}}
LABELS = {"release": "prometheus"}
EVERYTHING: dict[str, Any] = yaml.safe_load((CHART / "ci/everything-values.yaml").read_text())


def spec_of(helm: Helm, **values: Any) -> Json:
    spec: Json = pod_of(helm.render({**LEAST, **values}))["spec"]
    return spec


def test_old_name_of_the_replica_count_works_and_is_reported(helm: Helm) -> None:
    old = {**LEAST, "replicas": 3}

    notes = helm(
        *("install", RELEASE, str(CHART), "--dry-run=client", "--values", "-"),
        stdin=yaml.safe_dump(old),
    )

    assert the(helm.render(old), "Deployment")["spec"]["replicas"] == 3
    assert "WARNING: `replicas` is the old name of `replicaCount`" in notes


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ServiceMonitor", "serviceMonitor"), ("PrometheusRule", "prometheusRule")],
)
def test_old_name_of_additional_labels_works_and_is_reported(
    kind: str, name: str, helm: Helm
) -> None:
    labels = {"labels": {"a": "old", "b": "old"}, "additionalLabels": {"b": "new"}}
    old = {**LEAST, "metrics": {name: {"enabled": True, **labels}}}

    notes = helm(
        *("install", RELEASE, str(CHART), "--dry-run=client", "--values", "-"),
        stdin=yaml.safe_dump(old),
    )

    found = the(helm.render(old), kind)["metadata"]["labels"]
    assert (found["a"], found["b"]) == ("old", "new")
    assert f"WARNING: `metrics.{name}.labels` is the old name of" in notes


def test_notes_do_not_warn_without_old_names(helm: Helm) -> None:
    notes = helm(
        *("install", RELEASE, str(CHART), "--dry-run=client", "--values", "-"),
        stdin=yaml.safe_dump(EVERYTHING),
    )

    assert "WARNING" not in notes


@pytest.mark.parametrize("name", ["replicas", "replicaCount"])
def test_zero_replicas_stop_the_operator(name: str, helm: Helm) -> None:
    assert the(helm.render({**LEAST, name: 0}), "Deployment")["spec"]["replicas"] == 0


def test_common_labels_are_on_all_objects_and_pods(helm: Helm) -> None:
    documents = helm.render(CHART / "ci/everything-values.yaml")
    ours = [row for row in documents if not row["metadata"]["name"].endswith(("-extra", "-text"))]

    labels = [row["metadata"]["labels"] for row in [*ours, pod_of(documents)]]

    assert {row["example.com/cost-center"] for row in labels} == {"42"}


def test_common_labels_do_not_change_the_selector(helm: Helm) -> None:
    before = the(helm.render(LEAST), "Deployment")["spec"]["selector"]

    labelled = helm.render({**LEAST, "commonLabels": {"a": "b"}})

    assert the(labelled, "Deployment")["spec"]["selector"] == before


def test_own_label_of_an_object_wins_over_the_common_one(helm: Helm) -> None:
    values = {
        **LEAST,
        "commonLabels": {"release": "platform"},
        "podLabels": {"release": "shares"},
        "metrics": {"serviceMonitor": {"enabled": True, "additionalLabels": LABELS}},
    }

    documents = helm.render(values)

    assert the(documents, "ServiceMonitor")["metadata"]["labels"]["release"] == "prometheus"
    assert pod_of(documents)["metadata"]["labels"]["release"] == "shares"


def test_namespace_can_differ_from_that_of_the_release(helm: Helm) -> None:
    values = {key: EVERYTHING[key] for key in EVERYTHING if key != "extraObjects"}

    documents = helm.render({**values, "namespaceOverride": "shares"})

    namespaces = {row["metadata"].get("namespace", "shares") for row in documents}
    bindings = of_kind(documents, "RoleBinding") + of_kind(documents, "ClusterRoleBinding")
    assert namespaces == {"shares"}
    assert {row["namespace"] for one in bindings for row in one["subjects"]} == {"shares"}
    assert "image-share-system" not in yaml.safe_dump(the(documents, "PrometheusRule"))


def test_extra_arguments_follow_the_command(helm: Helm) -> None:
    args = spec_of(helm, extraArgs=["--log-level=debug"])["containers"][0]["args"]

    assert args == ["run", "--log-level=debug"]
    assert "args" not in spec_of(helm)["containers"][0]
    assert arguments.parser().parse_args(args).log_level == "debug"


def test_extra_volumes_stand_beside_those_of_the_chart(helm: Helm) -> None:
    volume = {"name": "scratch", "emptyDir": {}}
    mount = {"name": "scratch", "mountPath": "/scratch"}

    alone = spec_of(helm, extraVolumes=[volume], extraVolumeMounts=[mount])
    spec = spec_of(
        helm, extraVolumes=[volume], extraVolumeMounts=[mount], extraCA={"configMap": "a"}
    )

    assert alone["volumes"] == [volume]
    assert alone["containers"][0]["volumeMounts"] == [mount]
    assert [row["name"] for row in spec["volumes"]] == ["scratch", "ca"]
    assert [row["name"] for row in spec["containers"][0]["volumeMounts"]] == ["scratch", "ca"]


def test_extra_containers_run_beside_and_before_the_operator(helm: Helm) -> None:
    first = {"name": "wait", "image": "busybox", "command": ["true"]}
    beside = {"name": "proxy", "image": "proxy"}

    spec = spec_of(helm, initContainers=[first], extraContainers=[beside])

    assert spec["initContainers"] == [first]
    assert [row["name"] for row in spec["containers"]] == ["operator", "proxy"]
    assert spec["containers"][1] == beside
    assert "initContainers" not in spec_of(helm)


def test_pull_secrets_of_the_parent_chart_are_added(helm: Helm) -> None:
    shared = {"imagePullSecrets": ["by-name", {"name": "shared"}]}

    spec = spec_of(
        helm, **{"global": shared}, imagePullSecrets=[{"name": "own"}, {"name": "shared"}]
    )

    assert spec["imagePullSecrets"] == [{"name": "by-name"}, {"name": "shared"}, {"name": "own"}]
    assert "imagePullSecrets" not in spec_of(helm)


def test_extra_objects_are_templates(helm: Helm) -> None:
    documents = of_kind(helm.render(CHART / "ci/everything-values.yaml"), "ConfigMap")

    extra = {row["metadata"]["name"]: row["metadata"]["namespace"] for row in documents}
    assert extra["shares-extra"] == extra["shares-text"] == "image-share-system"


def test_probes_keep_what_is_not_set(helm: Helm) -> None:
    container = spec_of(helm, livenessProbe={"timeoutSeconds": 7})["containers"][0]

    get = {"path": "/healthz", "port": "metrics"}
    assert container["livenessProbe"] == {
        "httpGet": get,
        "periodSeconds": 10,
        "failureThreshold": 6,
        "timeoutSeconds": 7,
    }
    assert container["startupProbe"]["httpGet"] == get
    assert container["startupProbe"]["periodSeconds"] == 1


LOADED_START_S = 2.5
"""From the start of the container to the first response, measured on a loaded node."""


def test_probes_report_a_start_at_once_and_without_an_event(helm: Helm) -> None:
    """Each probe that fails leaves an Event `Unhealthy`. A probe waits for the start."""
    container = spec_of(helm)["containers"][0]

    startup, readiness = container["startupProbe"], container["readinessProbe"]
    assert startup["timeoutSeconds"] > 3 * LOADED_START_S
    assert readiness["timeoutSeconds"] > 2 * probes.READY_WAIT_S
    assert startup["periodSeconds"] == readiness["periodSeconds"] == 1
    assert {"initialDelaySeconds"} & {*startup, *readiness} == set()
    assert startup["failureThreshold"] >= 30
    assert 10 <= probes.READY_WAIT_S * readiness["failureThreshold"] <= 15


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hostAliases", [{"ip": "10.0.0.1", "hostnames": ["iam.example.com"]}]),
        ("dnsPolicy", "Default"),
        ("dnsConfig", {"nameservers": ["10.0.0.2"]}),
        ("runtimeClassName", "gvisor"),
    ],
)
def test_field_of_the_pod_is_absent_until_it_is_set(name: str, value: Any, helm: Helm) -> None:
    assert name not in spec_of(helm)
    assert spec_of(helm, **{name: value})[name] == value


@pytest.mark.parametrize(
    ("name", "value"), [("revisionHistoryLimit", 0), ("strategy", {"type": "Recreate"})]
)
def test_field_of_the_deployment_can_be_set(name: str, value: Any, helm: Helm) -> None:
    assert the(helm.render({**LEAST, name: value}), "Deployment")["spec"][name] == value


def test_deployment_has_its_annotations(helm: Helm) -> None:
    documents = helm.render({**LEAST, "deploymentAnnotations": {"a": "b"}})

    assert the(documents, "Deployment")["metadata"]["annotations"] == {"a": "b"}
    assert "annotations" not in pod_of(documents)["metadata"]


def test_service_monitor_may_be_in_another_namespace(helm: Helm) -> None:
    monitor = {"enabled": True, "namespace": "monitoring", "scrapeTimeout": "5s"}

    found = the(helm.render({**LEAST, "metrics": {"serviceMonitor": monitor}}), "ServiceMonitor")

    assert found["metadata"]["namespace"] == "monitoring"
    assert found["spec"]["namespaceSelector"] == {"matchNames": ["image-share-system"]}
    assert found["spec"]["endpoints"][0]["scrapeTimeout"] == "5s"


def test_relabelings_reach_the_endpoint(helm: Helm) -> None:
    found = the(helm.render(CHART / "ci/everything-values.yaml"), "ServiceMonitor")

    (endpoint,) = found["spec"]["endpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "cluster", "replacement": "prod"}]
    assert endpoint["metricRelabelings"][0]["action"] == "drop"


def test_budget_has_one_of_its_two_limits(helm: Helm) -> None:
    budget = the(
        helm.render({**LEAST, "podDisruptionBudget": {"minAvailable": 1}}), "PodDisruptionBudget"
    )

    assert budget["spec"]["minAvailable"] == 1
    assert "maxUnavailable" not in budget["spec"]


def test_extra_egress_is_added_to_the_rules_of_the_chart(helm: Helm) -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    values = {"networkPolicy": {"enabled": True, "extraEgress": [rule]}}

    egress = the(helm.render({**LEAST, **values}), "NetworkPolicy")["spec"]["egress"]

    assert len(egress) == 3
    assert egress[2] == rule


@pytest.mark.parametrize("automount", [True, False])
def test_token_of_the_service_account_is_mounted_by_choice(automount: bool, helm: Helm) -> None:
    documents = helm.render({**LEAST, "serviceAccount": {"automount": automount}})

    assert the(documents, "ServiceAccount")["automountServiceAccountToken"] is automount
