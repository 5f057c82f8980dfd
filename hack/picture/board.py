"""Reads the dashboard of the chart. No network, no drawing."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BOARD = Path(__file__).parents[2] / "deploy/helm/image-share-operator/files/dashboard.json"
BY_ITSELF = "__auto"
"""The template that Grafana uses when a query has no legend."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A query of a panel, and the template of its lines' legends."""

    expression: str
    template: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A panel or a heading, with its position in the grid of 24 columns.

    Attributes:
        steps: values from which on a number has a colour, lowest first.
        colours: colours of lines by their legend.
        shade: colour whose shades the other lines have; ``None`` for the palette.
    """

    title: str
    kind: str
    x: int
    y: int
    width: int
    height: int
    unit: str = "none"
    decimals: int | None = None
    stacked: bool = False
    steps: tuple[tuple[float, str], ...] = ()
    colours: Mapping[str, str] = field(default_factory=dict)
    shade: str | None = None
    asks: tuple[Ask, ...] = ()

    def colour(self, value: float) -> str:
        """Return the name of the colour of a number."""
        return [name for least, name in self.steps if value >= least][-1]


def read() -> tuple[Tile, ...]:
    """Return all tiles, in the order of the file."""
    return tuple(_tile(panel) for panel in json.loads(BOARD.read_text())["panels"])


def filled(expression: str, values: Mapping[str, str]) -> str:
    """Replace variables, as Grafana does before it sends a query.

    Raises:
        KeyError: a variable of the expression has no value.
    """
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)


def legend(template: str, labels: Mapping[str, str]) -> str:
    """Return the legend of a line."""
    if template == BY_ITSELF:
        return ", ".join(labels.values())
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), template)


def _tile(panel: Json) -> Tile:
    grid = panel["gridPos"]
    defaults: Json = panel.get("fieldConfig", {}).get("defaults", {})
    steps = defaults.get("thresholds", {}).get("steps", ())
    return Tile(
        title=panel["title"],
        kind=panel["type"],
        x=grid["x"],
        y=grid["y"],
        width=grid["w"],
        height=grid["h"],
        unit=defaults.get("unit", "none"),
        decimals=defaults.get("decimals"),
        stacked=defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal",
        steps=tuple(
            (float("-inf") if step["value"] is None else float(step["value"]), step["color"])
            for step in steps
        ),
        shade=defaults.get("color", {}).get("fixedColor"),
        colours={
            row["matcher"]["options"]: row["properties"][0]["value"]["fixedColor"]
            for row in panel.get("fieldConfig", {}).get("overrides", ())
        },
        asks=tuple(
            Ask(expression=row["expr"], template=row["legendFormat"])
            for row in panel.get("targets", ())
        ),
    )
