"""What parts of the namespaces cost, each served by a replica of its own.

`python tests/perf/shards.py`. The same crowd for one replica and for two: what all of them take,
and what the busiest one does, which is what ends at one core. Each count has an API server and a
cloud of its own.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cluster import Cluster
from stages import machine
from usage import cpu_seconds, memory_mb

from envtest import ControlPlane, Operator
from otc_simulator.client import Simulator

NAMESPACES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One replica: CPU for each object of all parts in ms, memory in MB."""

    cpu_ms: float
    memory_mb: float


def measured(parts: int, objects: int) -> tuple[float, list[Part]]:
    """Serve the crowd; return objects a second, and what each replica took."""
    with machine(parts) as (control_plane, cloud, operators):
        for operator in operators:
            operator.start()
        try:
            return asyncio.run(_crowd(control_plane, cloud, operators, objects))
        finally:
            for operator in operators:
                operator.terminate()


async def _crowd(
    control_plane: ControlPlane, cloud: Simulator, operators: Sequence[Operator], objects: int
) -> tuple[float, list[Part]]:
    async with Cluster(control_plane, cloud) as cluster:
        await cluster.run(1)  # all are there when the crowd comes
        before = [cpu_seconds(operator.pid) for operator in operators]
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(NAMESPACES):
                group.create_task(cluster.run(objects // NAMESPACES))
        seconds = time.monotonic() - began
    return objects / seconds, [
        Part(
            cpu_ms=1000 * (cpu_seconds(operator.pid) - spent) / objects,
            memory_mb=memory_mb(operator.pid, "VmHWM"),
        )
        for operator, spent in zip(operators, before, strict=True)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each count of parts and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--objects", type=int, default=3000)
    arguments = parser.parse_args(argv)
    for count in arguments.parts:
        rate, parts = measured(count, arguments.objects)
        each = [part.cpu_ms for part in parts]
        sys.stdout.write(
            f"{count} part(s): {rate:.0f} objects/s; CPU per object {sum(each):.2f} ms, of which "
            f"the busiest part {max(each):.2f} ms: its core is full at {1000 / max(each):.0f} "
            f"objects/s; memory at most {max(part.memory_mb for part in parts):.0f} MB each\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
