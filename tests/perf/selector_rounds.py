"""What selecting resources cost: many resources, projects and shares, for some rounds of checks.

`python tests/perf/selector_rounds.py`, with `--projects 5` on a small machine. A round checks each
resource once. The figures of a round are for one project or one resource; memory is for all. CPU
has a target only in `make bench`, which knows how fast the machine is.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cluster import Cluster
from figures import Figure, show
from rich.console import Console
from stages import JOB_SECONDS, REFERENCE_RATE, ROUND_S, Stage, asked, machine
from usage import cpu_seconds, memory_mb

from otc_simulator.client import Simulator

RESOURCES = 20
"""In each project; each selects another family of images."""
SHARES = 5_000
"""With each project: one owner publishes for all of them."""
FAMILIES = 50
"""Of images, such as ``ubuntu-24.04-hardened``: each has a fiftieth of the builds."""
PAGES = 11
"""Of the lists of one project: ten with 4,940 pending shares, one with 60 accepted ones."""
ROUNDS = 2
CALM_S = 2.0
"""Longer than the checks of the resources of one project take: up to a sixtieth of a round."""
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def figures(console: Console, count: int, raw_rate: float | None = None) -> list[Figure]:
    """The table, for so many projects.

    Args:
        raw_rate: objects/s of the raw client on this machine.
    """
    with machine() as (control_plane, cloud, (operator,)):
        return asyncio.run(
            _measure(console, Stage(control_plane, cloud, operator), count, raw_rate)
        )


async def _measure(
    console: Console, stage: Stage, count: int, raw_rate: float | None
) -> list[Figure]:
    async with Cluster(stage.control_plane, stage.cloud) as cluster:
        stage.operator.start()
        try:
            return await _rounds(console, cluster, stage, count, raw_rate)
        finally:
            stage.operator.terminate()


async def _rounds(
    console: Console, cluster: Cluster, stage: Stage, count: int, raw_rate: float | None
) -> list[Figure]:
    cloud, pid, objects = stage.cloud, stage.operator.pid, count * RESOURCES
    console.print(f"selectors: {objects} objects, {count} projects, {SHARES} shares with each")
    projects = [cloud.add_project(f"eu-de_golden-{number}") for number in range(count)]
    _share(cloud, projects)
    selectors = [_selector(family) for family in range(RESOURCES)]
    first = await cluster.select(projects, selectors, interval=f"{ROUND_S // 60}m")
    console.print(f"  Ready after {first.seconds:.0f} s; then {ROUNDS} rounds of {ROUND_S} s")
    await asyncio.sleep(ROUND_S)  # the first checks still have work of the start beside them
    await _calm(cloud)
    before, calls, cpu = await cluster.versions(), asked(cloud), cpu_seconds(pid)
    await asyncio.sleep(ROUNDS * ROUND_S)
    cpu, calls = cpu_seconds(pid) - cpu, asked(cloud) - calls
    after = await cluster.versions()
    writes = sum(after[uid] != version for uid, version in before.items())
    memory = memory_mb(pid, "VmRSS")
    cpu_ms = 1000 * cpu / objects / ROUNDS
    console.print("  a new image for all projects")
    latest = await _publish(cluster, cloud, projects) - ROUND_S - JOB_SECONDS
    return [
        Figure("selectors: all Ready", first.seconds, "s"),
        Figure("  a round: calls per project", calls / count / ROUNDS, "", ("<=", PAGES + 2)),
        Figure("  a round: status writes", writes / ROUNDS, "", ("=", 0)),
        Figure("  a round: CPU per object", cpu_ms, "ms"),
        *_at_reference(cpu_ms, raw_rate),
        Figure("  shared to latest, over interval and job", latest, "s", ("<=", 5)),
        Figure("  memory between the rounds", memory, "MB", ("<=", 200)),
        Figure("  memory, peak: all created at once", memory_mb(pid, "VmHWM"), "MB"),
    ]


def _at_reference(cpu_ms: float, raw_rate: float | None) -> list[Figure]:
    if raw_rate is None:
        return []
    return [
        Figure("    at the raw rate of 238/s", cpu_ms * raw_rate / REFERENCE_RATE, "ms", ("<=", 8))
    ]


def _share(cloud: Simulator, projects: list[str]) -> None:
    """Share the same images with all projects; nothing is accepted yet."""
    images = cloud.seed(images=list(_builds()))["images"]
    for project in projects:
        cloud.seed(shares=[(image, project, "pending") for image in images])


def _builds() -> Iterator[dict[str, Any]]:
    for number in range(SHARES):
        yield {
            "owner": Simulator.owner_project_id,
            "name": f"{_family(number % FAMILIES)}-{20260000 + number}",
            "created_at": (FIRST + timedelta(minutes=number)).isoformat(),
        }


def _family(number: int) -> str:
    return f"ubuntu-{number:02}.04-hardened"


def _selector(family: int) -> dict[str, Any]:
    term = {"owner": Simulator.owner_project_id, "name": f"{_family(family)}-*"}
    return {
        "imageSelectorTerms": [term],
        "imageSelectionPolicy": {"groupBy": "^(.+)-[0-9]{8}$", "newest": 3},
    }


async def _calm(cloud: Simulator) -> None:
    """Return when no project is being checked: each window of rounds then has all its calls."""
    before, calls = -1, asked(cloud)
    while calls != before:
        await asyncio.sleep(CALM_S)
        before, calls = calls, asked(cloud)


async def _publish(cluster: Cluster, cloud: Simulator, projects: list[str]) -> float:
    """Share a new build with all projects; one object of each project selects it."""
    name = f"{_family(0)}-{20260000 + SHARES}"
    row = {"owner": cloud.owner_project_id, "name": name}
    (image,) = cloud.seed(images=[row])["images"]
    return await cluster.until_latest(image, len(projects), lambda: cloud.share(image, *projects))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, compare with the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--projects", type=int, default=50)
    projects: int = parser.parse_args(argv).projects
    console = Console(highlight=False)
    table = figures(console, projects)
    show(console, table)
    return 0 if all(figure.met for figure in table) else 1


if __name__ == "__main__":
    sys.exit(main())
