"""The alerts for the operator, judged by promtool: their form, and when each fires."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.programs import CHART, Helm
from prom import Promtool

MINE = 'job="shares-metrics", namespace="image-share-system"'
Json = dict[str, Any]


@pytest.fixture(scope="module")
def rules(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents = helm.render(CHART / "ci/everything-values.yaml")
    found = next(one for one in documents if one["kind"] == "PrometheusRule")
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": found["spec"]["groups"][:1]}))
    return path


def metric(name: str, **labels: str) -> str:
    more = "".join(f', {key}="{value}"' for key, value in labels.items())
    return f"image_share_operator_{name}{{{MINE}{more}}}"


FIRES: dict[str, tuple[dict[str, str], str]] = {
    "ImageShareOperatorDown": ({f"up{{{MINE}}}": "0x30"}, "11m"),
    "ImageShareOperatorLeaderMismatch": (
        {metric("leader", pod="a"): "1x30", metric("leader", pod="b"): "1x30"},
        "6m",
    ),
    "ImageShareOperatorInternalError": ({metric("faults_total"): "0x5 1x30"}, "7m"),
    "ImageShareOperatorQueueLatencyHigh": ({metric("queue_oldest_due_seconds"): "61x30"}, "6m"),
    "ImageShareOperatorCloudUnavailable": ({metric("circuits_open"): "1x30"}, "16m"),
    "ImageShareOperatorTokenExpiring": (
        {metric("given_token_expiry_timestamp_seconds"): "1799x30"},
        "6m",
    ),
    "ImageSharesNotReady": (
        {metric("objects", ready="False", reason="NotShared"): "2x120"},
        "61m",
    ),
    "ImageSelectorEmpty": ({metric("selector_empty_seconds"): "86340+60x5"}, "3m"),
}
"""By alert: series that make it fire, and the time by which it does."""

WELL: dict[str, str] = {
    f"up{{{MINE}}}": "1x120",
    metric("leader", pod="a"): "1x120",
    metric("leader", pod="b"): "0x120",
    metric("faults_total"): "3x120",
    metric("queue_oldest_due_seconds"): "1x120",
    metric("circuits_open"): "0x120",
    metric("selector_empty_seconds"): "0x120",
    metric("given_token_expiry_timestamp_seconds"): "9999x120",
    metric("objects", ready="True", reason="Accepted"): "9x120",
    metric("objects", ready="False", reason="JobRunning"): "1x5 0x115",
}
"""Two replicas on a good day."""


def judge(promtool: Promtool, rules: Path, series: dict[str, str], expected: Json) -> None:
    rows = [{"series": name, "values": values} for name, values in series.items()]
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": rows, "alert_rule_test": [expected]}],
    }
    path = rules.parent / f"{expected['alertname']}-{expected['eval_time']}.yaml"
    path.write_text(yaml.safe_dump(test))
    promtool.test_rules(path)


def test_rules_are_as_prometheus_asks(promtool: Promtool, rules: Path) -> None:
    assert f"{len(FIRES)} rules found" in promtool.check_rules(rules)


def test_each_alert_has_its_case(rules: Path) -> None:
    told = yaml.safe_load(rules.read_text())["groups"][0]["rules"]

    assert {rule["alert"] for rule in told} == set(FIRES)
    assert {rule["labels"]["namespace"] for rule in told} == {"image-share-system"}


@pytest.mark.parametrize("alert", FIRES)
def test_alert_fires_when_it_should(promtool: Promtool, rules: Path, alert: str) -> None:
    series, at = FIRES[alert]
    (rule,) = [
        one
        for one in yaml.safe_load(rules.read_text())["groups"][0]["rules"]
        if one["alert"] == alert
    ]
    told = {**rule["annotations"], **_filled(alert)}
    labels = dict(rule["labels"])
    if alert == "ImageSharesNotReady":
        labels["reason"] = "NotShared"
    fires = {"exp_labels": labels, "exp_annotations": told}

    judge(promtool, rules, series, {"alertname": alert, "eval_time": at, "exp_alerts": [fires]})


def _filled(alert: str) -> dict[str, str]:
    """Annotations as people get them, where they hold a value."""
    words = {
        "ImageShareOperatorLeaderMismatch": "2 replicas are leader instead of one.",
        "ImageShareOperatorQueueLatencyHigh": "A resource has waited in the work queue for 1m 1s.",
        "ImageSelectorEmpty": "A selector has selected no image for 1d 0h 2m 0s.",
        "ImageSharesNotReady": "2 resources have not been Ready for an hour: NotShared.",
    }
    return {"summary": words[alert]} if alert in words else {}


@pytest.mark.parametrize("alert", FIRES)
def test_alert_is_silent_on_a_good_day(promtool: Promtool, rules: Path, alert: str) -> None:
    judge(promtool, rules, WELL, {"alertname": alert, "eval_time": "110m", "exp_alerts": []})


@pytest.mark.parametrize(
    "alert", [name for name in FIRES if name != "ImageShareOperatorInternalError"]
)
def test_alert_waits_before_it_fires(promtool: Promtool, rules: Path, alert: str) -> None:
    series, _ = FIRES[alert]

    judge(promtool, rules, series, {"alertname": alert, "eval_time": "1m", "exp_alerts": []})
