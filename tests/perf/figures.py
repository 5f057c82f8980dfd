"""What a run of the benchmark says: figures with their targets, as a table and as JSON."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``target`` is (sign, value): what the figure must keep to."""

    name: str
    value: float
    unit: str = ""
    target: tuple[str, float] | None = None

    @property
    def met(self) -> bool:
        return self.target is None or self.distance <= 0

    @property
    def distance(self) -> float:
        """How far it is from what is wanted: the more, the worse."""
        sign, wanted = self.target or ("<=", 0.0)
        return {
            "=": abs(self.value - wanted),
            "<=": self.value - wanted,
            ">=": wanted - self.value,
        }[sign]


def worst(runs: Iterable[Sequence[Figure]]) -> list[Figure]:
    """Each line as it was in the run where it was worst; all runs have the same lines."""
    lines = zip(*runs, strict=True)
    return [max(line, key=lambda figure: figure.distance) for line in lines]


def show(console: Console, figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("FIGURE", no_wrap=True)
    table.add_column("VALUE", justify="right")
    table.add_column("")
    table.add_column("TARGET", no_wrap=True)
    for figure in figures:
        target = "" if figure.target is None else f"{figure.target[0]} {figure.target[1]:g}"
        mark = "" if figure.met else "  MISSED"
        table.add_row(figure.name, f"{figure.value:.3f}", figure.unit, target + mark)
    console.print(table)


def keep(path: Path, figures: Sequence[Figure], facts: Mapping[str, object]) -> None:
    """Write the run down for comparison."""
    report = {"machine": _machine(), **facts, "figures": [asdict(f) for f in figures]}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


def _machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def provenance(root: Path) -> dict[str, object]:
    """When and of what the run was."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": described.stdout.strip() or None,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
