"""Measures the operator beside a raw client on the same machine in the same run.

`make bench`. Prints a table, writes `.tmp/bench.json`, and fails when a figure misses its target.
The rates are of this machine; the ratios are what is compared.
"""

import argparse
import asyncio
import sys
from argparse import Namespace
from collections.abc import Sequence

import agencies
import growth
import selecting
import selector_rounds
import signing
import stages
from cluster import Cluster
from figures import Figure, keep, provenance, show
from rich.console import Console
from stages import JOB_SECONDS, ROUND_S, Round, Stage, machine

from envtest import ROOT

SIZES = (10_000, 100_000)
PROJECTS = 50
"""With selecting resources."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, compare with the targets."""
    arguments = _arguments(argv)
    console = Console(highlight=False)
    costs = None
    if not arguments.quick:
        console.print(f"the operator's own rooms with {SIZES[0]} and {SIZES[1]} objects")
        costs = growth.costs(*SIZES)
    with machine() as (control_plane, cloud, (operator,)):
        stage = Stage(control_plane, cloud, operator)
        version = control_plane.http.get("/version").raise_for_status().json()["gitVersion"]
        figures = asyncio.run(_measure(console, stage, arguments))
    figures += signing.figures()
    console.print(f"operator: {agencies.PROJECTS} projects of one user, by an agency")
    figures += agencies.figures()
    if costs is not None:
        figures += stages.growth(SIZES, costs, growth.MOST_GROWTH)
    figures += selecting.figures()
    if not arguments.quick:
        raw_rate = next(one.value for one in figures if one.name == stages.RAW_RATE)
        figures += selector_rounds.figures(console, PROJECTS, raw_rate)
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
    parser.add_argument("--rounds", type=int, default=5, help="of operator and raw client")
    parser.add_argument("--settled", type=int, default=10_000, help="objects at the end")
    parser.add_argument("--alone", type=int, default=20, help="objects measured one by one")
    parser.add_argument("--quick", action="store_true", help="without the many at the end")
    parser.add_argument("--no-targets", action="store_true", help="measure only")
    return parser.parse_args(argv)


async def _measure(console: Console, stage: Stage, arguments: Namespace) -> list[Figure]:
    objects, alone = arguments.objects, arguments.alone
    async with Cluster(stage.control_plane, stage.cloud) as cluster:
        rounds: list[Round] = []
        for number in range(arguments.rounds):
            console.print(f"round {number + 1} of {arguments.rounds}")
            await cluster.clear()
            rounds.append(await _round(console, cluster, stage, objects))
        figures = stages.compared(rounds)
        stage.operator.start()
        try:
            console.print(f"operator: {alone} objects, one after the other")
            figures += await stages.one_by_one(cluster, alone)
            routine = 0 if arguments.quick else max(0, arguments.settled - objects - alone)
            if routine:
                console.print(f"operator: {routine} more objects, checked each minute")
                await cluster.run(routine, interval=f"{ROUND_S // 60}m")
            console.print("operator: killed and started again, then left alone for two minutes")
            figures += await stages.settled(cluster, stage, routine)
            return [*figures, stages.errors(stage.operator)]
        finally:
            stage.operator.terminate()


async def _round(console: Console, cluster: Cluster, stage: Stage, objects: int) -> Round:
    console.print(f"  raw client: {objects} objects, two status writes each")
    raw = await cluster.raw(objects)
    console.print(f"  operator: {objects} objects at once, jobs of {JOB_SECONDS:g} s")
    stage.operator.start()
    try:
        crowd = await stages.crowd(cluster, stage, objects)
    finally:
        stage.operator.terminate()
    console.print("  raw client, without field validation, as the operator's writes are")
    unchecked = await cluster.raw(objects, checked=False)
    console.print(f"  {raw.load.rate:.0f}, {crowd.load.rate:.0f} and {unchecked.load.rate:.0f}/s")
    return Round(raw=raw, crowd=crowd, unchecked=unchecked)


if __name__ == "__main__":
    sys.exit(main())
