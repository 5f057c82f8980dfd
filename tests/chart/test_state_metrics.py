"""Metrics of each resource by kube-state-metrics: the configuration, and the alerts on them.

The metrics are a recording of a real kube-state-metrics, see `state_metrics.py`. The alerts are
tested with promtool on the series of the recording.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from chart import state_metrics
from chart.objects import of_kind, the
from chart.programs import CHART, ROOT, Helm
from chart.state_metrics import PREFIX, RECORDING
from envtest import ControlPlane
from prom import Promtool

LEAST: dict[str, Any] = {"image": {"repository": "registry.example.com/isa"}}
START = 1777863721
"""When the jobs of the recording were submitted, as a Unix time."""

Json = dict[str, Any]


def samples(metric: str, resource: str) -> dict[tuple[str, ...], float]:
    """The values of a metric of one resource, by the labels that are not in all metrics."""
    fixed = ("name", "exported_namespace")
    return {
        tuple(
            value
            for label, value in sorted(sample.labels.items())
            if label not in fixed and not label.startswith("customresource_")
        ): sample.value
        for family in text_string_to_metric_families(RECORDING.read_text())
        for sample in family.samples
        if sample.name == f"{PREFIX}{metric}" and sample.labels["name"] == resource
    }


def test_recording_is_of_the_configuration_of_the_chart() -> None:
    recorded = RECORDING.read_text().splitlines(keepends=True)[0]

    assert recorded == state_metrics.config_line(), "run python -m chart.state_metrics"


def test_each_resource_has_readiness_reason_suspension_and_job() -> None:
    assert samples("status_condition", "not-shared") == {
        ("NotShared", "Ready"): 0,
        ("WaitingForShare", "Reconciling"): 1,
    }
    assert samples("status_condition", "accepted") == {("Accepted", "Ready"): 1}
    assert samples("status_condition", "not-reconciled") == {}
    assert samples("suspended", "suspended") == {(): 1}
    assert samples("suspended", "not-reconciled") == {(): 0}
    assert samples("job_submission_timestamp_seconds", "job-running") == {("INIT",): START}
    project = "5dd3c0b24cdc4d31952c49589182a89d"
    assert samples("info", "rejected") == {("Reject", project): 1}


def test_each_resource_of_the_states_is_exported() -> None:
    named = {
        sample.labels["name"]
        for family in text_string_to_metric_families(RECORDING.read_text())
        for sample in family.samples
        if sample.name == f"{PREFIX}info"
    }

    assert named == set(state_metrics.states())


def test_metrics_of_kube_state_metrics_pass_promtool(promtool: Promtool) -> None:
    assert promtool.check_metrics(RECORDING.read_text()) == ""


@pytest.mark.skipif(
    shutil.which("kube-state-metrics") is None, reason="kube-state-metrics is not in PATH"
)
def test_kube_state_metrics_exports_what_was_recorded(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    control_plane.apply_crds(ROOT / "deploy/crds")
    state_metrics.apply_states(control_plane)

    found = state_metrics.record(
        Path(str(shutil.which("kube-state-metrics"))), control_plane, tmp_path
    )

    assert found == RECORDING.read_text()


def test_config_map_has_the_configuration(helm: Helm) -> None:
    documents = helm.render(CHART / "ci/monitoring-values.yaml")

    found = the(documents, "ConfigMap")
    assert found["metadata"]["namespace"] == "monitoring"
    assert yaml.safe_load(found["data"]["config.yaml"]) == yaml.safe_load(
        state_metrics.CONFIG.read_text()
    )


def test_kube_state_metrics_may_list_and_watch_only(helm: Helm) -> None:
    documents = helm.render(CHART / "ci/monitoring-values.yaml")
    name = "image-share-operator-kube-state-metrics"

    role, binding = (
        next(row for row in of_kind(documents, kind) if row["metadata"]["name"] == name)
        for kind in ("ClusterRole", "ClusterRoleBinding")
    )

    assert [(row["resources"], row["verbs"]) for row in role["rules"]] == [
        (["imageshareacceptances"], ["list", "watch"]),
        (["customresourcedefinitions"], ["list", "watch"]),
    ]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "kube-state-metrics", "namespace": "monitoring"}
    ]


def test_permissions_of_kube_state_metrics_are_created_on_request_only(helm: Helm) -> None:
    values = {
        **LEAST,
        "rbac": {"create": False},
        "metrics": {"kubeStateMetrics": {"enabled": True}},
    }

    documents = helm.render(values)

    assert of_kind(documents, "ClusterRoleBinding") == []
    assert of_kind(documents, "ConfigMap") != []
    assert of_kind(helm.render(LEAST), "ConfigMap") == []


@pytest.fixture(scope="module")
def rules(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The alerts for resources, without those for the operator."""
    group = the(helm.render(CHART / "ci/monitoring-values.yaml"), "PrometheusRule")["spec"][
        "groups"
    ][1]
    path = tmp_path_factory.mktemp("resource-rules") / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [group]}))
    return path


def test_alerts_for_resources_need_kube_state_metrics(helm: Helm) -> None:
    values = {**LEAST, "metrics": {"prometheusRule": {"enabled": True}}}

    groups = the(helm.render(values), "PrometheusRule")["spec"]["groups"]

    assert [group["name"] for group in groups] == ["image-share-operator"]


def test_alerts_for_resources_pass_promtool(promtool: Promtool, rules: Path) -> None:
    assert "3 rules found" in promtool.check_rules(rules)


def recorded_series(minutes: int) -> list[Json]:
    """The series of the recording, each constant for the time."""
    lines = [line for line in RECORDING.read_text().splitlines() if not line.startswith("#")]
    rows = [line.rpartition(" ") for line in lines]
    return [
        {"series": series, "values": f"{float(value):.0f}x{minutes}"} for series, _, value in rows
    ]


NOT_READY = {
    "cloud-unavailable": "CloudUnavailable",
    "credentials-invalid": "CredentialsInvalid",
    "dry-run": "DryRun",
    "job-running": "JobRunning",
    "limit-exceeded": "LimitExceeded",
    "not-reconciled": "the operator has not reconciled the resource",
    "not-shared": "NotShared",
    "nothing-selected": "NothingSelected",
    "partially-failed": "PartiallyFailed",
}
"""The resources of the recording that are not Ready and not suspended, and the reason told."""


SUSPENDED = (
    "The operator does not check its shares. Set spec.suspend to false, or silence the alert."
)


@pytest.mark.parametrize(
    ("alert", "at", "expected"),
    [
        ("ImageShareAcceptanceNotReady", "59m", []),
        (
            "ImageShareAcceptanceNotReady",
            "61m",
            [
                (
                    f"team-a/{name} has not been Ready for an hour.",
                    f"Reason: {reason}. kubectl describe isa shows what to do.",
                    name,
                    "warning",
                )
                for name, reason in NOT_READY.items()
            ],
        ),
        ("ImageShareAcceptanceSuspended", "23h", []),
        (
            "ImageShareAcceptanceSuspended",
            "24h",
            [
                (
                    "team-a/suspended has been suspended for a day.",
                    SUSPENDED,
                    "suspended",
                    "info",
                )
            ],
        ),
    ],
    ids=["not ready for 59 min", "not ready for 61 min", "suspended for 23 h", "for 24 h"],
)
def test_alert_fires_for_resources_with_their_namespace(
    alert: str,
    at: str,
    expected: list[tuple[str, str, str, str]],
    promtool: Promtool,
    rules: Path,
) -> None:
    fires = [
        {
            "exp_labels": {
                "severity": severity,
                "namespace": "team-a",
                "exported_namespace": "team-a",
                "name": name,
            },
            "exp_annotations": {"summary": summary, "description": description},
        }
        for summary, description, name, severity in expected
    ]
    case = {"alertname": alert, "eval_time": at, "exp_alerts": fires}

    judge(promtool, rules, recorded_series(1500), case)


def series(metric: str, values: str, **labels: str) -> Json:
    """A series of the resource team-a/web."""
    told = {"exported_namespace": "team-a", "name": "web", **labels}
    selector = ",".join(f'{name}="{value}"' for name, value in told.items())
    return {"series": f"{PREFIX}{metric}{{{selector}}}", "values": values}


def test_suspended_resource_is_not_reported_as_not_ready(promtool: Promtool, rules: Path) -> None:
    rows = [
        series("info", "1x100"),
        series("suspended", "1x100"),
        series("status_condition", "0x100", type="Ready", reason="NotShared"),
    ]
    case = {"alertname": "ImageShareAcceptanceNotReady", "eval_time": "90m", "exp_alerts": []}

    judge(promtool, rules, rows, case)


def test_alert_does_not_begin_again_with_another_reason(promtool: Promtool, rules: Path) -> None:
    rows = [
        series("info", "1x100"),
        series("suspended", "0x100"),
        series("status_condition", "0x40 _x60", type="Ready", reason="CloudUnavailable"),
        series("status_condition", "_x40 0x60", type="Ready", reason="Throttled"),
    ]
    fires = {
        "exp_labels": {
            "severity": "warning",
            "namespace": "team-a",
            "exported_namespace": "team-a",
            "name": "web",
        },
        "exp_annotations": {
            "summary": "team-a/web has not been Ready for an hour.",
            "description": "Reason: Throttled. kubectl describe isa shows what to do.",
        },
    }
    case = {"alertname": "ImageShareAcceptanceNotReady", "eval_time": "61m", "exp_alerts": [fires]}

    judge(promtool, rules, rows, case)


@pytest.mark.parametrize(
    ("status", "at", "fires"),
    [("RUNNING", "64m", False), ("RUNNING", "66m", True), ("SUCCESS", "66m", False)],
)
def test_alert_fires_for_a_job_that_runs_for_an_hour(
    status: str, at: str, promtool: Promtool, rules: Path, *, fires: bool
) -> None:
    alert = {
        "exp_labels": {
            "severity": "warning",
            "namespace": "team-a",
            "exported_namespace": "team-a",
            "name": "web",
        },
        "exp_annotations": {
            "summary": "The job of team-a/web has been running for 1h 6m 0s.",
            "description": "The cloud has not finished the job. status.job has its ID, which the "
            "support of the cloud needs.",
        },
    }
    case = {
        "alertname": "ImageShareAcceptanceJobSlow",
        "eval_time": at,
        "exp_alerts": [alert] if fires else [],
    }

    rows = [series("job_submission_timestamp_seconds", "0x100", status=status)]

    judge(promtool, rules, rows, case)


def judge(promtool: Promtool, rules: Path, series: list[Json], case: Json) -> None:
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": [case]}],
    }
    path = rules.parent / f"{case['alertname']}-{case['eval_time']}.yaml"
    path.write_text(yaml.safe_dump(test))
    promtool.test_rules(path)


def test_metrics_of_the_alerts_are_those_of_the_recording(rules: Path) -> None:
    names = {
        line.partition("{")[0]
        for line in RECORDING.read_text().splitlines()
        if not line.startswith("#")
    }
    asked = rules.read_text()

    assert {name for name in names if name in asked} == names
