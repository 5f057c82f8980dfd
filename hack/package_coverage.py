"""Prints the coverage of the product per package, and fails below the threshold.

It reads what ``pytest --cov`` measured: ``make coverage`` runs both. The threshold is
``tool.coverage.report.fail_under`` in ``pyproject.toml``.
"""

import json
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import coverage

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("operator/image_share_operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """How many lines and branches there are, and how many of them the tests ran."""

    lines: int = 0
    lines_run: int = 0
    branches: int = 0
    branches_run: int = 0

    def __add__(self, other: Self) -> Self:
        return replace(
            self,
            lines=self.lines + other.lines,
            lines_run=self.lines_run + other.lines_run,
            branches=self.branches + other.branches,
            branches_run=self.branches_run + other.branches_run,
        )

    @property
    def percent(self) -> float:
        """Lines and branches together, as coverage.py counts."""
        total = self.lines + self.branches
        return 100 * (self.lines_run + self.branches_run) / total if total else 100.0


def main() -> int:
    """Print the table; return 1 if the total is below the threshold."""
    measured = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    packages = by_package(files(measured))
    total = sum(packages.values(), Covered())
    print(f"{'package':24} {'lines':>6} {'run':>6} {'branches':>9} {'run':>6} {'covered':>9}")
    for name, row in [*sorted(packages.items()), ("total", total)]:
        print(
            f"{name:24} {row.lines:6} {row.lines_run:6} {row.branches:9} {row.branches_run:6}"
            f" {row.percent:7.1f} %"
        )
    threshold = float(str(measured.get_option("report:fail_under")))
    if total.percent < threshold:
        print(f"error: {total.percent:.2f} % is below the threshold of {threshold:g} %")
        return 1
    return 0


def files(measured: coverage.Coverage) -> dict[Path, Covered]:
    """Return what was measured per file of the product."""
    measured.load()
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "coverage.json"
        measured.json_report(outfile=str(report))
        found = json.loads(report.read_text())["files"]
    return {Path(name).resolve(): covered(row["summary"]) for name, row in found.items()}


def covered(summary: dict[str, int]) -> Covered:
    """Read the summary of a file in the JSON report of coverage.py."""
    return Covered(
        lines=summary["num_statements"],
        lines_run=summary["covered_lines"],
        branches=summary["num_branches"],
        branches_run=summary["covered_branches"],
    )


def by_package(rows: dict[Path, Covered]) -> dict[str, Covered]:
    """Return the sum per directory of the product."""
    packages: defaultdict[str, Covered] = defaultdict(Covered)
    for path, row in rows.items():
        directory = path.relative_to(ROOT / PACKAGE).parent
        packages["(top level)" if directory == Path() else str(directory)] += row
    return dict(packages)


if __name__ == "__main__":
    sys.exit(main())
