"""Measures the operator beside a raw client on the same machine in the same run.

`make bench`. Prints a table, writes `.tmp/bench.json`, and fails when a figure misses its target.
The rates are of this machine; the ratios are what is compared.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster import Cluster, Raw, Watched
from rich.console import Console
from rich.table import Table

from e2e.live.process import ROOT, Operator, install_rights
from envtest import ControlPlane
from otc_simulator.client import Simulator

PUT = "PUT /v1/cloudimages/members"
POLL = "GET /v1/{project_id}/jobs/{job_id}"
CALLS = {
    "batch PUTs": PUT,
    "job queries": POLL,
    "member queries": "GET /v2/images/{image_id}/members/{member_id}",
    "list queries": "GET /v2/cloudimages",
}
JOB_SECONDS = 1.0
IDLE_S = 30.0
REFERENCE_RATE = 238.0
"""Objects a second of the raw client where the targets were set: milliseconds of CPU are compared
as if this machine were as fast as that one."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``target`` is (sign, value): what the figure must keep to."""

    name: str
    value: float
    unit: str = ""
    target: tuple[str, float] | None = None

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        sign, wanted = self.target
        return {
            "=": self.value == wanted,
            "<=": self.value <= wanted,
            ">=": self.value >= wanted,
        }[sign]


@dataclass(frozen=True, slots=True)
class Stage:
    """What the measurements run on."""

    control_plane: ControlPlane
    cloud: Simulator
    operator: Operator


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=3000)
    parser.add_argument("--alone", type=int, default=20, help="objects measured one by one")
    parser.add_argument("--no-targets", action="store_true", help="measure only")
    arguments = parser.parse_args(argv)
    console = Console(highlight=False)
    with (
        tempfile.TemporaryDirectory(prefix="image-share-bench-") as scratch,
        ControlPlane() as control_plane,
        Simulator("--job-seconds", str(JOB_SECONDS)) as cloud,
    ):
        control_plane.apply_crds(ROOT / "deploy/crds")
        kubeconfig = install_rights(control_plane)
        operator = Operator(kubeconfig, Path(scratch) / "log", ISA_LOG_LEVEL="info")
        stage = Stage(control_plane, cloud, operator)
        figures = asyncio.run(_measure(console, stage, arguments.objects, arguments.alone))
    _print(console, figures)
    _write(figures, arguments.objects)
    missed = [figure for figure in figures if not figure.met]
    for figure in missed:
        console.print(f"missed: {figure.name} is {figure.value:g}, wanted {figure.target}")
    return 1 if missed and not arguments.no_targets else 0


async def _measure(console: Console, stage: Stage, objects: int, alone: int) -> list[Figure]:
    async with Cluster(stage.control_plane, stage.cloud) as cluster:
        console.print(f"raw client: {objects} objects, two status writes each")
        raw = await cluster.raw(objects)
        console.print(f"operator: {objects} objects at once, jobs of {JOB_SECONDS:g} s")
        stage.operator.start()
        try:
            crowd = await _crowd(cluster, stage, objects, raw)
            console.print(f"operator: {alone} objects, one after the other")
            single = await _one_by_one(cluster, alone)
            console.print("operator: killed and started again, then left alone")
            settled = await _settled(cluster, stage)
            return [*crowd, *single, *settled, _errors(stage.operator)]
        finally:
            stage.operator.terminate()


async def _crowd(cluster: Cluster, stage: Stage, objects: int, raw: Raw) -> list[Figure]:
    """All at once: throughput, and what each object costs."""
    before = _cpu_seconds(stage.operator.pid)
    watched = await cluster.run(objects)
    cpu = _cpu_seconds(stage.operator.pid) - before
    rate = objects / watched.seconds
    each_ms = 1000 * cpu / objects
    counters = stage.cloud.counters()
    calls = {name: counters["calls"].get(route, 0) for name, route in CALLS.items()}
    return [
        Figure("raw client", raw.rate, "objects/s"),
        Figure("operator, created to Ready", rate, "objects/s"),
        Figure("operator / raw client", rate / raw.rate, "", (">=", 0.85)),
        Figure("cloud calls per object", sum(calls.values()) / objects, "", ("<=", 0.12)),
        *(Figure(f"  {name} per object", count / objects) for name, count in calls.items()),
        Figure("status writes per object", watched.writes / objects, "", ("=", 2.0)),
        Figure("tokens in all", counters["tokens_issued"], "", ("=", 1)),
        Figure("operator CPU per object", each_ms, "ms"),
        Figure(
            "  at the raw rate of 238/s", each_ms * raw.rate / REFERENCE_RATE, "ms", ("<=", 2.5)
        ),
        Figure("raw client's CPU per object", raw.cpu_ms, "ms"),
        Figure("operator CPU / raw client's CPU", each_ms / raw.cpu_ms),
        Figure("operator memory, peak", _peak_mb(stage.operator.pid), "MB"),
    ]


async def _one_by_one(cluster: Cluster, count: int) -> list[Figure]:
    """An object alone: how long after its job it is Ready."""
    runs: list[Watched] = [await cluster.run(1) for _ in range(count)]
    lags = sorted(run.after_job for run in runs)
    whole = sorted(run.seconds for run in runs)
    return [
        Figure("alone: job settled to Ready, median", statistics.median(lags), "s", ("<=", 0.3)),
        Figure("alone: job settled to Ready, p95", lags[int(0.95 * (len(lags) - 1))], "s"),
        Figure("alone: applied to Ready, median", statistics.median(whole), "s"),
    ]


async def _settled(cluster: Cluster, stage: Stage) -> list[Figure]:
    """All objects are settled: what a restart costs, and what doing nothing does."""
    before, puts = await cluster.versions(), stage.cloud.calls(PUT)
    held = _now_mb(stage.operator.pid)
    stage.operator.kill()
    began = time.monotonic()
    stage.operator.start()
    await cluster.run(1)
    served = time.monotonic() - began - JOB_SECONDS
    after = await cluster.versions()
    writes = sum(after.get(uid) != version for uid, version in before.items())
    calls = sum(stage.cloud.counters()["calls"].values())
    cpu = _cpu_seconds(stage.operator.pid)
    await asyncio.sleep(IDLE_S)
    idle = (_cpu_seconds(stage.operator.pid) - cpu) / IDLE_S
    asked = sum(stage.cloud.counters()["calls"].values()) - calls
    return [
        Figure("settled objects", len(before)),
        Figure("  memory before it", held, "MB", ("<=", 150)),
        Figure("  memory after a restart", _now_mb(stage.operator.pid), "MB", ("<=", 150)),
        Figure("  PUTs of a restart", stage.cloud.calls(PUT) - puts - 1, "", ("=", 0)),
        Figure("  status writes of a restart", writes, "", ("=", 0)),
        Figure("  start to Ready of a new object, less its job", served, "s", ("<=", 8)),
        Figure("  idle: cores", idle, "", ("<=", 0.01)),
        Figure("  idle: cloud calls", asked / IDLE_S, "1/s"),
    ]


def _errors(operator: Operator) -> Figure:
    bad = sum(" ERROR " in line or "Traceback" in line for line in operator.log.splitlines())
    return Figure("errors in the log", bad, "", ("=", 0))


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process, from fields 14 and 15 of proc(5) stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak_mb(pid: int) -> float:
    return _memory_mb(pid, "VmHWM")


def _now_mb(pid: int) -> float:
    return _memory_mb(pid, "VmRSS")


def _memory_mb(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def _print(console: Console, figures: Sequence[Figure]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title, justify in (
        ("FIGURE", "left"),
        ("VALUE", "right"),
        ("", "left"),
        ("TARGET", "left"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]  # literals of rich
    for figure in figures:
        target = "" if figure.target is None else f"{figure.target[0]} {figure.target[1]:g}"
        mark = "" if figure.met else "  MISSED"
        table.add_row(figure.name, f"{figure.value:.3f}", figure.unit, target + mark)
    console.print(table)


def _write(figures: Sequence[Figure], objects: int) -> None:
    """Keep the run for comparison."""
    facts = {
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
    report = {"machine": facts, "objects": objects, "figures": [asdict(f) for f in figures]}
    path = ROOT / ".tmp/bench.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
