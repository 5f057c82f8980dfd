"""How cost grows with the number of objects: the real rooms around a watch and a cloud in memory.

`python tests/perf/growth.py`. Ten thousand objects, then a hundred thousand, each in a process of
its own: CPU and memory for one object must not grow. Without sockets, what is left is the
operator's own code: parsing, store, queue, plan, batches, statuses.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from usage import memory_mb

from fakes import FakeCredentials, FakeIms, FakeKube, FakeSessions, new_object, spec
from image_share_operator import allocator
from image_share_operator.api.types import Key, Membership
from image_share_operator.cloud.sessions import BatchSettings, CloudSession, classify_failure
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.reconciler import Reconciler
from image_share_operator.controller.workers import Workers
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.watch import ingest
from image_share_operator.planning.requeue import Policy

NAMESPACES = 1_000
MOST_GROWTH = 1.2
JOB_S = 0.2
ROUNDS = 3
FEW = 2
"""Measurements of few objects for each of many: they are done in seconds."""


class Projects(FakeSessions):
    """The real coalescing of each project, around shares and jobs in memory."""

    def __init__(self, objects: int) -> None:
        shares: dict[str, dict[str, Membership]] = {}
        for number in range(objects):
            wanted = _object(number, 0)["spec"]
            pending = dict.fromkeys(wanted["images"], Membership.PENDING)
            shares.setdefault(wanted["projectID"], {}).update(pending)
        batching = BatchSettings(window=timedelta(seconds=0.1), images=50)

        def session(project: str) -> CloudSession:
            ims = FakeIms(shares[project], JOB_S)
            return ims.shared_session(batching)

        super().__init__(session)


class Cluster(FakeKube):
    """Takes statuses, and keeps nothing."""

    def __init__(self, store: ObjectStore, queue: WorkQueue) -> None:
        super().__init__()
        self._store, self._queue = store, queue
        self.version = 0
        self.ready = 0
        self.all_ready = asyncio.Event()
        self._wanted = 0

    def expect(self, count: int) -> None:
        """Wait for so many to be Ready in all."""
        self._wanted = count
        self.all_ready.clear()

    async def write_status(
        self, key: Key, version: int, status: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Keep nothing; answer and echo."""
        entry = self._store.get(key)
        assert entry is not None
        assert entry.version == version
        body = json.loads(json.dumps({**_object(int(entry.uid), version), "status": status}))
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.ready += status["conditions"][0]["status"] == "True"
        if self.ready == self._wanted:
            self.all_ready.set()
        return body  # type: ignore[no-any-return]  # of json


def _object(number: int, version: int) -> dict[str, Any]:
    session = number % NAMESPACES
    wanted = spec([f"{number:08x}-0000-4000-8000-000000000000"], projectID=f"{session:032x}")
    body = new_object(wanted, Key(f"tenant-{session}", f"web-{number}"), uid=str(number))
    body["metadata"]["resourceVersion"] = str(version)
    return body


async def _run(objects: int) -> dict[str, float]:
    store, queue, cloud = ObjectStore(), WorkQueue(), Projects(objects)
    cluster = Cluster(store, queue)
    reconciler = Reconciler(
        store=store,
        cloud=cloud,
        credentials=FakeCredentials(),
        kube=cluster,
        emit=lambda _: None,
        classify_failure=classify_failure,
        now=lambda: datetime.now(UTC),
        policy=Policy(),
        rng=random.Random(7),  # noqa: S311 - jitter
    )
    workers, stop = Workers(queue, reconciler.reconcile, 2048), asyncio.Event()
    working = asyncio.create_task(workers.run(stop))
    cpu = time.process_time()
    await _settle(range(objects // 2), store, queue, cluster)
    half = _memory_kb()
    await _settle(range(objects // 2, objects), store, queue, cluster)
    cpu, kept = time.process_time() - cpu, _memory_kb() - half
    stop.set()
    await working
    return {"cpu_us": 1e6 * cpu / objects, "memory_kb": 2 * kept / objects}


async def _settle(numbers: range, store: ObjectStore, queue: WorkQueue, cluster: Cluster) -> None:
    """Show these objects as new; return when all are Ready."""
    cluster.expect(numbers.stop)
    for number in numbers:
        cluster.version += 1
        event: Any = {"type": None, "object": _object(number, cluster.version)}
        ingest.apply_event(event, store, queue)
        if number % 100 == 0:
            await asyncio.sleep(0)
    await cluster.all_ready.wait()


def _memory_kb() -> float:
    """The peak of this program: what is free again now was needed.

    What the imports left free would hide a part of it, if it were not only of the second half.
    """
    return 1024 * memory_mb(os.getpid(), "VmHWM")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each size in processes of its own; compare what one object costs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.only:
        allocator.save()
        sys.stdout.write(json.dumps(asyncio.run(_run(arguments.only))))
        return 0
    few, many = arguments.sizes
    first, last = costs(few, many)
    for size, cost in ((few, first), (many, last)):
        sys.stdout.write(f"{size:>8} objects: {_words(cost)} for each\n")
    growth = {name: last[name] / first[name] for name in first}
    told = ", ".join(f"{name} {value:.2f}" for name, value in growth.items())
    sys.stdout.write(f"growth: {told}\n")
    return 0 if max(growth.values()) <= MOST_GROWTH else 1


def costs(few: int, many: int) -> tuple[dict[str, float], dict[str, float]]:
    """What one object costs among few and among many.

    A machine has good and bad minutes: both take turns, for the means.
    """
    firsts: list[dict[str, float]] = []
    lasts: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        firsts += [_measured(few) for _ in range(FEW)]
        lasts.append(_measured(many))
    return _mean(firsts), _mean(lasts)


def _mean(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.mean(cost[name] for cost in costs) for name in costs[0]}


def _measured(size: int) -> dict[str, float]:
    """What one object of so many costs, measured in a process of its own."""
    call = [sys.executable, __file__, "--only", str(size)]
    child = subprocess.run(call, check=True, capture_output=True, text=True)
    cost: dict[str, float] = json.loads(child.stdout)
    return cost


def _words(cost: Mapping[str, float]) -> str:
    return f"{cost['cpu_us']:.0f} µs of CPU, {cost['memory_kb']:.2f} KB of memory"


if __name__ == "__main__":
    sys.exit(main())
