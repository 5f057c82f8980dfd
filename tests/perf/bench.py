"""Measures the operator beside a raw client on the same machine in the same run.

`make bench`. Prints a table, writes `.tmp/bench.json`, and fails when a figure misses its target.
The rates are of this machine; the ratios are what is compared.
"""

import argparse
import asyncio
import sys
from argparse import Namespace
from collections.abc import Sequence

import growth
import stages
from cluster import Cluster, Raw
from figures import Figure, keep, provenance, show
from rich.console import Console
from stages import JOB_SECONDS, ROUND_S, Stage, machine

from e2e.live.process import ROOT

SIZES = (10_000, 100_000)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, compare with the targets."""
    arguments = _arguments(argv)
    console = Console(highlight=False)
    costs: list[tuple[int, dict[str, float]]] = []
    if not arguments.quick:
        console.print(f"the operator's own rooms with {SIZES[0]} and {SIZES[1]} objects")
        costs = [(size, growth.measured(size)) for size in SIZES]
    with machine() as (control_plane, cloud, (operator,)):
        stage = Stage(control_plane, cloud, operator)
        version = control_plane.http.get("/version").raise_for_status().json()["gitVersion"]
        figures = asyncio.run(_measure(console, stage, arguments))
    if costs:
        figures += stages.growth(costs, growth.MOST_GROWTH)
    show(console, figures)
    facts = {**provenance(ROOT), "objects": arguments.objects, "kubernetes": version}
    keep(ROOT / ".tmp/bench.json", figures, facts)
    missed = [figure for figure in figures if not figure.met]
    for figure in missed:
        console.print(f"missed: {figure.name.strip()} is {figure.value:g}, wanted {figure.target}")
    return 1 if missed and not arguments.no_targets else 0


def _arguments(argv: Sequence[str] | None) -> Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--objects", type=int, default=3000, help="created at once")
    parser.add_argument("--settled", type=int, default=10_000, help="objects at the end")
    parser.add_argument("--alone", type=int, default=20, help="objects measured one by one")
    parser.add_argument("--quick", action="store_true", help="without the many at the end")
    parser.add_argument("--no-targets", action="store_true", help="measure only")
    return parser.parse_args(argv)


async def _measure(console: Console, stage: Stage, arguments: Namespace) -> list[Figure]:
    objects, alone = arguments.objects, arguments.alone
    async with Cluster(stage.control_plane, stage.cloud) as cluster:
        raw: list[Raw] = []
        unchecked: list[Raw] = []
        raw.append(await _raw(console, cluster, objects, checked=True))
        unchecked.append(await _raw(console, cluster, objects, checked=False))
        console.print(f"operator: {objects} objects at once, jobs of {JOB_SECONDS:g} s")
        stage.operator.start()
        try:
            crowd = await stages.crowd(cluster, stage, objects)
        finally:
            stage.operator.terminate()
        console.print("both once more, since a machine has good and bad minutes")
        raw.append(await _raw(console, cluster, objects, checked=True))
        unchecked.append(await _raw(console, cluster, objects, checked=False))
        figures = stages.compared(crowd, raw, unchecked)
        stage.operator.start()
        try:
            console.print(f"operator: {alone} objects, one after the other")
            figures += await stages.one_by_one(cluster, alone)
            routine = 0 if arguments.quick else max(0, arguments.settled - objects - alone)
            if routine:
                console.print(f"operator: {routine} objects more, looked at each minute")
                await cluster.run(routine, interval=f"{ROUND_S // 60}m")
            console.print("operator: killed and started again, then left alone for two minutes")
            figures += await stages.settled(cluster, stage, routine)
            return [*figures, stages.errors(stage.operator)]
        finally:
            stage.operator.terminate()


async def _raw(console: Console, cluster: Cluster, objects: int, *, checked: bool) -> Raw:
    how = "" if checked else ", without field validation, as the operator's"
    console.print(f"raw client: {objects} objects, two status writes each{how}")
    return await cluster.raw(objects, checked=checked)


if __name__ == "__main__":
    sys.exit(main())
