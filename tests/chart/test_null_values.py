"""A value that is null renders like the default. `replicaCount:` in a values file is null."""

import copy
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.programs import CHART, RELEASE, SYSTEM, Helm, HelmError

DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
EVERYTHING: dict[str, Any] = yaml.safe_load((CHART / "ci/everything-values.yaml").read_text())
ON: dict[str, Any] = {
    "image": {"repository": "registry.example.com/isa"},
    "networkPolicy": {"enabled": True},
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "kubeStateMetrics": {"enabled": True, "serviceAccount": "kube-state-metrics"},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    },
}
"""Renders each template, with the default of each other value."""
REQUIRED = {"image", "image.repository"}
"""They have no usable default."""


def paths(values: Mapping[str, Any], outer: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{outer}{name}"
        if isinstance(value, dict):
            yield from paths(value, f"{outer}{name}.")


PATHS = [path for path in paths(DEFAULTS) if path not in REQUIRED]
LEAVES = [path for path in PATHS if not any(other.startswith(f"{path}.") for other in PATHS)]
PAIRS = list(pairwise(LEAVES))[::5]


def with_nulls(values: Mapping[str, Any], *nulls: str) -> dict[str, Any]:
    changed = copy.deepcopy(dict(values))
    for path in nulls:
        *outer, name = path.split(".")
        inner = changed
        for step in outer:
            inner = inner.setdefault(step, {})
        inner[name] = None
    return changed


def without(values: Mapping[str, Any], *removed: str) -> dict[str, Any]:
    changed = copy.deepcopy(dict(values))
    for path in removed:
        *outer, name = path.split(".")
        inner = changed
        for step in outer:
            inner = inner.get(step, {})
        inner.pop(name, None)
    return changed


class Rendered:
    """What the chart renders, or the refusal of Helm. The same values are rendered once."""

    def __init__(self, helm: Helm) -> None:
        self._helm = helm
        self._known: dict[str, Any] = {}

    def __call__(self, values: Mapping[str, Any]) -> Any:
        text = yaml.safe_dump(dict(values))
        if text not in self._known:
            self._known[text] = outcome(self._helm, values)
        return self._known[text]


def outcome(helm: Helm, values: Mapping[str, Any] | Path, *arguments: str) -> Any:
    try:
        return helm.render(values, *arguments)
    except HelmError as refused:  # such as the port of a proxy that is not among the defaults
        return str(refused)


@pytest.fixture(scope="module")
def rendered(helm: Helm) -> Rendered:
    return Rendered(helm)


@pytest.mark.parametrize("path", PATHS)
def test_null_is_the_default(path: str, helm: Helm, rendered: Rendered) -> None:
    assert helm.render(with_nulls(ON, path)) == rendered(without(ON, path))


@pytest.mark.parametrize("name", ["replicas", "enabled", "global"])
def test_null_without_a_default_is_as_if_it_was_left_out(
    name: str, helm: Helm, rendered: Rendered
) -> None:
    assert helm.render({**ON, name: None}) == rendered(ON)


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_two_nulls_are_the_defaults(pair: tuple[str, str], helm: Helm, rendered: Rendered) -> None:
    assert helm.render(with_nulls(ON, *pair)) == rendered(without(ON, *pair))


def test_all_values_may_be_null_at_once(helm: Helm, rendered: Rendered) -> None:
    unset = [path for path in LEAVES if path not in set(paths(ON))]

    assert helm.render(with_nulls(ON, *unset)) == rendered(ON)


@pytest.mark.parametrize("path", [path for path in paths(EVERYTHING) if path in PATHS])
def test_null_in_a_later_file_restores_the_default(
    path: str, helm: Helm, rendered: Rendered, tmp_path: Path
) -> None:
    earlier, later = tmp_path / "earlier.yaml", tmp_path / "later.yaml"
    earlier.write_text(yaml.safe_dump(EVERYTHING))
    later.write_text(yaml.safe_dump(with_nulls({}, path)))

    found = outcome(helm, later, "--values", str(earlier))

    assert found == rendered(without(EVERYTHING, path))


@pytest.mark.parametrize("path", ["networkPolicy.egressPorts", "networkPolicy", "metrics.port"])
def test_network_policy_is_never_open_for_all_ports(path: str, helm: Helm) -> None:
    values = with_nulls(ON, path)
    values["networkPolicy"] = {**(values["networkPolicy"] or {}), "enabled": True}

    policy = next(row for row in helm.render(values) if row["kind"] == "NetworkPolicy")

    assert [row["port"] for row in policy["spec"]["egress"][1]["ports"]] == [443, 5443, 6443]
    assert policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": "metrics"}]


NULLS_IN_LISTS = {
    "watchNamespaces: [null]": "at '/watchNamespaces/0': got null",
    "networkPolicy: {egressPorts: [null]}": "at '/networkPolicy/egressPorts/0'",
    "networkPolicy: {metricsFrom: [null]}": "at '/networkPolicy/metricsFrom/0'",
    "networkPolicy: {metricsFrom: [{podSelector: null}]}": (
        "at '/networkPolicy/metricsFrom/0/podSelector': got null"
    ),
    "networkPolicy: {metricsFrom: [{podSelector: {matchLabels: null}}]}": (
        "at '/networkPolicy/metricsFrom/0/podSelector/matchLabels': got null"
    ),
    "tolerations: [{key: null, operator: Exists}]": "at '/tolerations/0/key': got null",
    "topologySpreadConstraints: [{topologyKey: null, maxSkew: 1}]": (
        "at '/topologySpreadConstraints/0/topologyKey': got null"
    ),
    "extraEnv: [{name: A, value: null}]": "at '/extraEnv/0/value'",
    "imagePullSecrets: [{name: null}]": "at '/imagePullSecrets/0/name'",
}


@pytest.mark.parametrize(("text", "words"), NULLS_IN_LISTS.items(), ids=NULLS_IN_LISTS.keys())
def test_null_in_a_list_is_refused_by_name(text: str, words: str, helm: Helm) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render({**yaml.safe_load(text), "image": ON["image"]})

    assert words in str(refused.value)


@pytest.mark.parametrize("path", sorted(REQUIRED))
def test_null_for_the_image_asks_for_the_repository(path: str, helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"image\.repository is required"):
        helm.render(with_nulls({}, path))


def test_null_values_of_a_parent_chart_are_the_defaults(
    platform: Path, helm: Helm, tmp_path: Path
) -> None:
    nulls = with_nulls(
        {"image": ON["image"]}, "replicaCount", "settings", "metrics.port", "podLabels"
    )
    values = tmp_path / "values.yaml"

    def rendered(chosen: Mapping[str, Any]) -> str:
        values.write_text(yaml.safe_dump({"image-share-operator": dict(chosen)}))
        return helm(
            *("template", RELEASE, str(platform), "--namespace", SYSTEM, "--values", str(values))
        )

    assert rendered(nulls) == rendered({"image": ON["image"]})
