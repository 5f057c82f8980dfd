"""The stored result of a run: the lines of each panel."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from picture.board import Tile, filled, legend
from prom.server import JOB, NAMESPACE, Series

WINDOW_S = 15
"""The range of rates. Grafana uses four scrapes or more; the scrapes here are 1 s apart."""
VARIABLES = {"job": JOB, "namespace": NAMESPACE, "__rate_interval": f"{WINDOW_S}s"}
STEP_S = 1.0

Points = list[tuple[float, float]]
"""Seconds since the start of the run, and a value; NaN where there is none."""


class Asked(Protocol):
    """The part of a Prometheus that this module uses."""

    def series(self, expression: str, start: float, end: float, step: float) -> Series: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel."""

    legend: str
    points: Points


@dataclass(frozen=True, slots=True)
class Record:
    """The result of a run.

    Attributes:
        marks: seconds at which the events ran.
        lines: the lines of each panel, by its title.
    """

    seconds: float
    marks: list[float]
    lines: Mapping[str, list[Line]]

    def save(self, path: Path) -> None:
        """Write the result to a file."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self)))


def load(path: Path) -> Record:
    """Read a file that `save` wrote."""
    raw = json.loads(path.read_text())
    lines = {
        title: [Line(row["legend"], [(at, value) for at, value in row["points"]]) for row in rows]
        for title, rows in raw["lines"].items()
    }
    return Record(raw["seconds"], raw["marks"], lines)


def ask(prometheus: Asked, tile: Tile, began: float, ended: float) -> list[Line]:
    """Evaluate the expressions of a panel over the run, in Unix time."""
    return [
        Line(legend(one.template, labels), _whole(points, began, ended))
        for one in tile.asks
        for labels, points in prometheus.series(
            filled(one.expression, VARIABLES), began, ended, STEP_S
        )
    ]


def _whole(points: Points, began: float, ended: float) -> Points:
    """Return one value for each step; Prometheus omits steps without a value."""
    steps = [STEP_S * number for number in range(int((ended - began) / STEP_S) + 1)]
    known = {round((at - began) / STEP_S): value for at, value in points}
    return [(at, known.get(number, math.nan)) for number, at in enumerate(steps)]
