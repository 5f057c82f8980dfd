"""The dashboard asks for metrics that there are, shows all of them, and fits on the screen."""

import itertools
import json
import re
from typing import Any

import pytest

import dashboard
from dashboard import Panel
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import SelectionVerdict
from image_share_operator.telemetry import metrics

UNSHOWN = {"process_max_fds", "process_open_fds", "process_start_time_seconds"}
UNSHOWN |= {"process_virtual_memory_bytes"}
NAME = re.compile(r"\b(?:image_share_operator|process)_\w+")


def families() -> dict[str, set[str]]:
    """Each metric, and the names of its series."""
    views = metrics.Views(
        objects=dict,
        waiting=lambda: (0, 0.0),
        busy=int,
        circuits=int,
        tokens=float,
        selections=dict,
        selects_nothing_s=float,
    )
    found: dict[str, set[str]] = {}
    for family in [*metrics.REGISTRY.collect(), *metrics.StateCollector(views).collect()]:
        suffixes = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_sum", "_count"),
            "info": ("_info",),
        }.get(family.type, ("",))
        found[family.name] = {family.name + suffix for suffix in suffixes}
    return found


def asked(panel: Panel) -> set[str]:
    return {name for _, ask in panel.queries for name in NAME.findall(ask)}


@pytest.mark.parametrize("panel", tuple(dashboard.panels()), ids=lambda panel: panel.title)
def test_panel_asks_for_series_that_the_operator_has(panel: Panel) -> None:
    known = set().union(*families().values())

    assert asked(panel)
    assert asked(panel) <= known
    assert all(dashboard.SELECTOR in ask for _, ask in panel.queries)
    assert panel.about.endswith(".")


def test_each_metric_is_shown() -> None:
    shown = set().union(*(asked(panel) for panel in dashboard.panels()))

    hidden = {name for name, series in families().items() if not series & shown}
    assert hidden == UNSHOWN


def test_panels_lie_side_by_side() -> None:
    board: dict[str, Any] = json.loads(dashboard.render())
    cells = [
        {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        for g in (panel["gridPos"] for panel in board["panels"])
    ]

    assert all(not one & other for one, other in itertools.combinations(cells, 2))
    assert all(0 <= x < dashboard.WIDTH for cell in cells for x, _ in cell)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_each_reason_has_a_colour_and_only_success_is_green() -> None:
    assert set(dashboard.REASONS) == set(Reason)
    green = {reason for reason, colour in dashboard.REASONS.items() if colour == dashboard.GREEN}
    assert green == {Reason.ACCEPTED, Reason.REJECTED}


def test_colours_of_selections_are_those_of_verdicts_and_one_is_green() -> None:
    assert set(dashboard.SELECTIONS) < set(SelectionVerdict)
    green = {name for name, colour in dashboard.SELECTIONS.items() if colour == dashboard.GREEN}
    assert green == {SelectionVerdict.SELECTED}


def test_each_result_has_a_colour() -> None:
    results = {
        sample.labels["result"]
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
        if "result" in sample.labels
    }

    assert results <= set(dashboard.RESULTS)
    green = {name for name, colour in dashboard.RESULTS.items() if colour == dashboard.GREEN}
    assert green == {"ok", "accepted"}


def test_each_number_but_the_count_of_resources_has_thresholds() -> None:
    numbers = [panel for panel in dashboard.panels() if panel.kind == "stat"]

    assert [panel.title for panel in numbers if not panel.steps] == ["Resources"]
    assert all(
        dashboard.GREEN in dict(panel.steps).values() or not panel.steps for panel in numbers
    )


def colour_of(title: str, value: float) -> str:
    """The colour that Grafana gives a number: that of the last step which it reaches."""
    panels = json.loads(dashboard.render())["panels"]
    (panel,) = (row for row in panels if row["title"] == title and row["type"] == "stat")
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [row for row in steps if row["value"] is None or value >= row["value"]]
    return str(reached[-1]["color"])


@pytest.mark.parametrize(
    ("title", "colours"),
    [
        ("Ready", {0.0: "red", 0.89: "red", 0.95: "yellow", 1.0: "green"}),
        ("Not Ready", {0: "green", 1: "yellow"}),
        ("Leaders", {0: "red", 1: "green", 2: "red"}),
        ("Open circuits", {0: "green", 1: "red"}),
        ("Queue latency", {0: "green", 10: "yellow", 60: "red"}),
        ("Resources", {0: "text", 1000: "text"}),
    ],
)
def test_number_is_green_when_all_is_well(title: str, colours: dict[float, str]) -> None:
    assert {value: colour_of(title, value) for value in colours} == colours


def test_lines_have_the_colours_of_their_meaning() -> None:
    (panel,) = (
        row for row in json.loads(dashboard.render())["panels"] if row["title"] == "By reason"
    )

    overrides = panel["fieldConfig"]["overrides"]
    told = {row["matcher"]["options"]: row["properties"][0]["value"] for row in overrides}
    assert told["Accepted"] == {"mode": "fixed", "fixedColor": "green"}
    assert told["CredentialsInvalid"]["fixedColor"] == "red"


def test_labels_of_legends_are_those_that_are_summed_by() -> None:
    for panel in dashboard.panels():
        for legend, ask in panel.queries:
            for label in re.findall(r"{{(\w+)}}", legend):
                if label != "instance":
                    assert re.search(rf"by \([^)]*\b{label}\b", ask), (panel.title, label)
