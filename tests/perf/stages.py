"""What the benchmark measures, stage by stage; each returns lines of the table."""

import asyncio
import contextlib
import math
import statistics
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster, Load, Raw, Watched
from figures import Figure, worst
from usage import cpu_seconds, memory_mb

from envtest import ROOT, ControlPlane, FreshOperator, Operator, install_rights
from otc_simulator.client import Simulator

PUT = "PUT /v1/cloudimages/members"
CALLS = {
    "batch PUTs": (PUT,),
    "job queries": (
        "GET /v1/{project_id}/jobs/{job_id}",
        "GET /v1/cloudimages/job/{job_id}",
    ),
    "member queries": ("GET /v2/images/{image_id}/members/{member_id}",),
    "list queries": ("GET /v2/cloudimages",),
}
LOGIN = "POST /v3/auth/tokens"
JOB_SECONDS = 1.0
LOOKS = 2
ROUND_S = 60
"""The shortest interval that a resource may ask for: rounds of an hour are measured by it."""
CALM_S = 3.0
"""For late writes, after the last resource became Ready."""
REFERENCE_RATE = 238.0
"""Objects a second of the raw client where the targets were set: milliseconds of CPU are compared
as if this machine were as fast as that one."""
RAW_RATE = "raw client"
"""The name of the figure."""
PAGE = 500


@contextlib.contextmanager
def machine(parts: int = 1) -> Generator[tuple[ControlPlane, Simulator, list[Operator]]]:
    """An API server with CRD and rights, a cloud, and an operator for each part; none runs yet."""
    with (
        tempfile.TemporaryDirectory(prefix="image-share-perf-") as scratch,
        ControlPlane() as control_plane,
        Simulator("--job-seconds", str(JOB_SECONDS)) as cloud,
    ):
        control_plane.apply_crds(ROOT / "deploy/crds")
        kubeconfig = install_rights(control_plane)
        operators: list[Operator] = [
            FreshOperator(
                kubeconfig,
                Path(scratch) / f"log-{part}",
                ISA_LOG_LEVEL="info",
                ISA_SHARD=f"{part}/{parts}",
            )
            for part in range(parts)
        ]
        yield control_plane, cloud, operators


@dataclass(frozen=True, slots=True)
class Stage:
    """What the measurements run on."""

    control_plane: ControlPlane
    cloud: Simulator
    operator: Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What many objects at once have shown.

    Attributes:
        load: how fast they were Ready, and what that took of the machine.
        cpu_ms: of the operator for each object.
        figures: what each object costs otherwise.
    """

    load: Load
    cpu_ms: float
    figures: list[Figure]


async def crowd(cluster: Cluster, stage: Stage, objects: int) -> Crowd:
    """All at once: throughput, and what each object costs."""
    events = _events(stage.control_plane)
    before = cpu_seconds(stage.operator.pid)
    watched = await cluster.run(objects, calm_s=CALM_S)
    cpu = cpu_seconds(stage.operator.pid) - before
    events = _events(stage.control_plane) - events
    counters = stage.cloud.counters()
    calls = {
        name: sum(counters["calls"].get(route, 0) for route in routes)
        for name, routes in CALLS.items()
    }
    figures = [
        Figure("cloud calls per object", sum(calls.values()) / objects, "", ("<=", 0.12)),
        *(Figure(f"  {name} per object", count / objects) for name, count in calls.items()),
        Figure("status writes per object", watched.writes / objects, "", ("=", 2.0)),
        Figure("Event writes per object", events / objects, "", ("<=", 0.1)),
        Figure("tokens in all", counters["tokens_issued"], "", ("=", 1)),
        Figure("operator memory, peak", memory_mb(stage.operator.pid, "VmHWM"), "MB"),
    ]
    return Crowd(load=watched.load, cpu_ms=1000 * cpu / objects, figures=figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What is compared, one right after the other: a machine has good and bad minutes.

    Attributes:
        unchecked: the raw client without field validation, which the operator does without, too:
            what is left between them is what the operator costs, and not what it knows.
    """

    raw: Raw
    crowd: Crowd
    unchecked: Raw


def compared(rounds: Sequence[Round]) -> list[Figure]:
    """The operator beside the raw client: all rounds together, but counts of the worst of them."""
    crowds, raws = [one.crowd for one in rounds], [one.raw for one in rounds]
    own, raw = [one.load for one in crowds], [one.load for one in raws]
    frugal = [one.unchecked.load for one in rounds]
    own_rate, raw_rate, frugal_rate = _rate(own), _rate(raw), _rate(frugal)
    ratios = [ours.rate / theirs.rate for ours, theirs in zip(own, raw, strict=True)]
    cpu_ms, raw_ms = (statistics.mean(one.cpu_ms for one in runs) for runs in (crowds, raws))
    at_reference = cpu_ms * raw_rate / REFERENCE_RATE
    return [
        Figure(RAW_RATE, raw_rate, "objects/s"),
        Figure("operator, created to Ready", own_rate, "objects/s"),
        Figure("operator / raw client", own_rate / raw_rate, "", (">=", 0.85)),
        Figure("  in the worst round", min(ratios)),
        Figure("  in the best round", max(ratios)),
        Figure("raw client without validation", frugal_rate, "objects/s"),
        Figure("operator / that", own_rate / frugal_rate),
        *worst(one.figures for one in crowds),
        Figure("operator CPU per object", cpu_ms, "ms"),
        Figure("  at the raw rate of 238/s", at_reference, "ms", ("<=", 2.5)),
        Figure("raw client's CPU per object", raw_ms, "ms"),
        Figure("operator CPU / raw client's CPU", cpu_ms / raw_ms),
        *_machine("operator", own),
        *_machine("raw client", raw),
        *_machine("without validation", frugal),
    ]


def _rate(loads: Sequence[Load]) -> float:
    """All objects over all seconds, since each load had as many of them."""
    return statistics.harmonic_mean([load.rate for load in loads])


def _machine(whose: str, loads: Sequence[Load]) -> list[Figure]:
    """What else a run took, and what it left."""
    served_ms = statistics.mean(load.served_ms for load in loads)
    return [
        Figure(f"{whose}: CPU of API server, etcd", served_ms, "ms"),
        Figure("  all cores: unused", statistics.mean(load.idle for load in loads)),
    ]


async def one_by_one(cluster: Cluster, count: int) -> list[Figure]:
    """An object alone: how long it takes beyond its job."""
    runs: list[Watched] = [await cluster.run(1) for _ in range(count)]
    over = sorted(run.seconds - run.job_seconds for run in runs)
    lags = sorted(run.after_job for run in runs)
    return [
        Figure(
            "alone: applied to Ready, over its job, median",
            statistics.median(over),
            "s",
            ("<=", 0.3),
        ),
        Figure("alone: the same, p95", over[int(0.95 * (len(over) - 1))], "s"),
        Figure("alone: job settled to Ready, median", statistics.median(lags), "s"),
    ]


async def settled(cluster: Cluster, stage: Stage, routine: int) -> list[Figure]:
    """All objects are settled: what a restart costs, and what doing nothing does.

    Args:
        routine: objects that are checked each minute; the others each hour.
    """
    before, puts = await cluster.versions(), stage.cloud.calls(PUT)
    held = memory_mb(stage.operator.pid, "VmRSS")
    stage.operator.kill()
    began = time.monotonic()
    stage.operator.start()
    alone = await cluster.run(1)
    served = time.monotonic() - began - alone.job_seconds
    restarted = memory_mb(stage.operator.pid, "VmRSS")
    idle = await _idle(stage, len(before), routine)
    after = await cluster.versions()
    writes = sum(after.get(uid) != version for uid, version in before.items())
    return [
        Figure("settled objects", len(before)),
        Figure("  memory before a restart", held, "MB", ("<=", 150)),
        Figure("  memory after a restart", restarted, "MB", ("<=", 150)),
        Figure("  PUTs of a restart", stage.cloud.calls(PUT) - puts - 1, "", ("=", 0)),
        Figure("  status writes of a restart and after", writes, "", ("=", 0)),
        Figure("  start to Ready of a new object, less its job", served, "s", ("<=", 8)),
        *idle,
    ]


async def _idle(stage: Stage, objects: int, routine: int) -> list[Figure]:
    """Some rounds over those that are checked each minute, and the rest between the rounds.

    A round takes seconds of its minute, so three quarters of all seconds are of the rest.
    """
    before = asked(stage.cloud)
    spent = await _each_second(stage.operator.pid, LOOKS * ROUND_S)
    quiet = statistics.mean(spent[: len(spent) * 3 // 4])
    round_s = max(0.0, sum(spent) - quiet * len(spent)) / LOOKS * objects / max(routine, 1)
    calls = (asked(stage.cloud) - before) / LOOKS
    hourly = quiet + (round_s / 3600 if routine else 0.0)
    found = [
        Figure("  idle: cores, nothing to look at", quiet),
        Figure("  idle: cores, interval of 1 h", hourly, "", ("<=", 0.01)),
    ]
    if not routine:
        return found
    most = 3 * math.ceil(objects / PAGE)
    return [
        *found,
        Figure("  a round of all: CPU", round_s, "s"),
        Figure("  a round: cloud calls of the project", calls, "", ("<=", most)),
    ]


async def _each_second(pid: int, seconds: int) -> list[float]:
    """CPU seconds of each of the next seconds, the least first."""
    spent: list[float] = []
    last = cpu_seconds(pid)
    for _ in range(seconds):
        await asyncio.sleep(1)
        now = cpu_seconds(pid)
        spent.append(now - last)
        last = now
    return sorted(spent)


def growth(
    sizes: tuple[int, int], costs: tuple[dict[str, float], dict[str, float]], most: float
) -> list[Figure]:
    """What one object costs among few and among many; see `growth.py`."""
    (few, many), (first, last) = sizes, costs
    cpu, memory = (last[name] / first[name] for name in ("cpu_us", "memory_kb"))
    return [
        Figure(f"own rooms: CPU per object of {few}", first["cpu_us"] / 1000, "ms"),
        Figure(f"own rooms: memory per object of {few}", first["memory_kb"], "KB"),
        Figure(f"  CPU per object of {many}, over that", cpu, "", ("<=", most)),
        Figure(f"  memory per object of {many}, over that", memory, "", ("<=", most)),
    ]


def _events(control_plane: ControlPlane) -> int:
    """How many Events there are."""
    path = "/apis/events.k8s.io/v1/events?limit=1"
    page = control_plane.http.get(path).raise_for_status().json()
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount") or 0)


def errors(operator: Operator) -> Figure:
    """Nothing of all this is worth an error."""
    bad = sum(" ERROR " in line or "Traceback" in line for line in operator.log.splitlines())
    return Figure("errors in the log", bad, "", ("=", 0))


def asked(cloud: Simulator) -> int:
    calls = cloud.counters()["calls"]
    return sum(count for route, count in calls.items() if route != LOGIN)
