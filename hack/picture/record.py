"""What is kept of a run: the lines of each panel, so that they can be drawn again without it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from picture.board import Tile, filled, legend
from prom.server import JOB, NAMESPACE, Series

WINDOW_S = 15
"""Over which rates are taken. Grafana takes four scrapes at least; these are a second apart."""
VARIABLES = {"job": JOB, "namespace": NAMESPACE, "__rate_interval": f"{WINDOW_S}s"}
STEP_S = 1.0

Points = list[tuple[float, float]]
"""Seconds since the run began, and a value; not a number where there is none."""


class Asked(Protocol):
    """A Prometheus, as far as it is needed here."""

    def series(self, expression: str, start: float, end: float, step: float) -> Series: ...


@dataclass(frozen=True, slots=True)
class Line:
    """What a panel draws in one colour."""

    legend: str
    points: Points


@dataclass(frozen=True, slots=True)
class Record:
    """A run. ``marks`` are the seconds at which something was done; ``lines`` are by panel."""

    seconds: float
    marks: list[float]
    lines: Mapping[str, list[Line]]

    def save(self, path: Path) -> None:
        """Write it."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self)))


def load(path: Path) -> Record:
    """Read what `save` wrote."""
    raw = json.loads(path.read_text())
    lines = {
        title: [Line(row["legend"], [(at, value) for at, value in row["points"]]) for row in rows]
        for title, rows in raw["lines"].items()
    }
    return Record(raw["seconds"], raw["marks"], lines)


def ask(prometheus: Asked, tile: Tile, began: float, ended: float) -> list[Line]:
    """Have Prometheus evaluate a panel's own expressions over the run, in Unix time."""
    return [
        Line(legend(one.template, labels), _whole(points, began, ended))
        for one in tile.asks
        for labels, points in prometheus.series(
            filled(one.expression, VARIABLES), began, ended, STEP_S
        )
    ]


def _whole(points: Points, began: float, ended: float) -> Points:
    """One value for each step: Prometheus leaves out those at which there is none."""
    steps = [STEP_S * number for number in range(int((ended - began) / STEP_S) + 1)]
    known = {round((at - began) / STEP_S): value for at, value in points}
    return [(at, known.get(number, math.nan)) for number, at in enumerate(steps)]
