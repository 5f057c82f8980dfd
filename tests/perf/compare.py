"""Compares two commits by the benchmark: ratios with their noise.

`python tests/perf/compare.py BASE [HEAD]`. Both are checked out beside each other and measured in
turns, so that what else the machine does meanwhile meets both alike. A ratio counts as a change
when the ranges of the two commits do not overlap.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
BENCH = "tests/perf/bench.py"

Run = Mapping[str, float]
"""Figures of one run of the benchmark, by name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of both commits.

    Attributes:
        base, head: medians.
        noise: half the range of a commit's runs, over its median; of the noisier commit.
        apart: whether all runs of one commit are above all of the other.
    """

    name: str
    base: float
    head: float
    noise: float
    apart: bool

    @property
    def ratio(self) -> float | None:
        """Head over base; ``None`` when there is no such thing."""
        return self.head / self.base if self.base else None


def changes(base: Sequence[Run], head: Sequence[Run]) -> list[Change]:
    """Compare the figures that all runs have, in the order of the first run."""
    names = [name for name in base[0] if all(name in run for run in (*base, *head))]
    return [
        _change(name, [run[name] for run in base], [run[name] for run in head]) for name in names
    ]


def _change(name: str, base: Sequence[float], head: Sequence[float]) -> Change:
    return Change(
        name=name,
        base=statistics.median(base),
        head=statistics.median(head),
        noise=max(_noise(base), _noise(head)),
        apart=max(base) < min(head) or max(head) < min(base),
    )


def _noise(values: Sequence[float]) -> float:
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / abs(middle) if middle else 0.0


def read(report: Mapping[str, object]) -> Run:
    """The figures of a report that `bench.py` wrote."""
    figures = report["figures"]
    assert isinstance(figures, list)
    return {str(row["name"]).strip(): float(row["value"]) for row in figures}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both commits in turns, print what changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("base", help="a commit, branch or tag")
    parser.add_argument("head", nargs="?", default="HEAD")
    parser.add_argument("--runs", type=int, default=3, help="of each commit")
    parser.add_argument("--objects", type=int, default=1000)
    arguments = parser.parse_args(argv)
    console = Console(highlight=False)
    base: list[Run] = []
    head: list[Run] = []
    with contextlib.ExitStack() as stack:
        sides = [
            (commit, stack.enter_context(_tree(commit)), runs)
            for commit, runs in ((arguments.base, base), (arguments.head, head))
        ]
        for number in range(arguments.runs):
            for commit, tree, runs in sides:
                console.print(f"run {number + 1} of {arguments.runs}: {commit}")
                runs.append(_measured(tree, arguments.objects))
    _print(console, changes(base, head))
    return 0


@contextlib.contextmanager
def _tree(commit: str) -> Iterator[Path]:
    """A working tree of the commit, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="image-share-compare-") as scratch:
        tree = Path(scratch) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True)


def _measured(tree: Path, objects: int) -> Run:
    paths = os.pathsep.join(str(tree / name) for name in ("operator", "tests", "hack"))
    call = [sys.executable, BENCH, "--objects", str(objects), "--quick", "--no-targets"]
    env = {**os.environ, "PYTHONPATH": paths}
    subprocess.run(call, cwd=tree, env=env, check=True, stdout=subprocess.DEVNULL)
    return read(json.loads((tree / ".tmp/bench.json").read_text()))


def _print(console: Console, found: Sequence[Change]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("FIGURE")
    for title in ("BASE", "HEAD", "RATIO", "NOISE"):
        table.add_column(title, justify="right")
    table.add_column("")
    for row in found:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        mark = "changed" if row.apart else ""
        numbers = (f"{row.base:.3f}", f"{row.head:.3f}", ratio, f"±{row.noise:.0%}")
        table.add_row(row.name, *numbers, mark)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
