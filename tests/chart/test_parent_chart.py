"""The chart as a dependency of a parent chart, which adds `global` and `enabled`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.objects import pod_of
from chart.programs import RELEASE, Helm, HelmError, Json

VALUES: dict[str, Any] = {"image": {"repository": "registry.example.com/isa"}}


def rendered(helm: Helm, parent: Path, values: dict[str, Any]) -> list[Json]:
    text = helm("template", "platform", str(parent), "--values", "-", stdin=yaml.safe_dump(values))
    return [row for row in yaml.safe_load_all(text) if row]


def test_parent_chart_installs_the_operator(platform: Path, helm: Helm) -> None:
    values = {"global": {"team": "a"}, RELEASE: {**VALUES, "enabled": True}}

    documents = rendered(helm, platform, values)

    image = pod_of(documents)["spec"]["containers"][0]["image"]
    assert image.startswith("registry.example.com/isa:")


def test_condition_of_the_parent_chart_leaves_the_operator_out(platform: Path, helm: Helm) -> None:
    assert rendered(helm, platform, {RELEASE: {**VALUES, "enabled": False}}) == []


def test_switch_without_a_parent_chart_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match="enabled: false has an effect only as the condition"):
        helm.render({**VALUES, "enabled": False})


def test_lint_finds_nothing_in_the_parent_chart(platform: Path, helm: Helm) -> None:
    values = yaml.safe_dump({RELEASE: {**VALUES, "enabled": True}})

    assert "0 chart(s) failed" in helm("lint", str(platform), "--values", "-", stdin=values)
