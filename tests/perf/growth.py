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
from itertools import islice
from typing import Any

from usage import memory_mb

from image_share_operator import allocator
from image_share_operator.api.credentials import Identity, RefusedLogin, TokenCredentials
from image_share_operator.api.errors import CloudError
from image_share_operator.api.jobs import JobReport, RetryGroup
from image_share_operator.api.types import Decision, ImageDetails, JobState, Key, Membership
from image_share_operator.cloud.coalescing.batcher import Batcher
from image_share_operator.cloud.coalescing.job_poller import JobPoller
from image_share_operator.cloud.coalescing.membership_lookup import MembershipLookup
from image_share_operator.cloud.ims.codec import SharePage
from image_share_operator.cloud.sessions import classify_failure
from image_share_operator.controller.credential_cache import LoadedCredentials
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.reconciler import Reconciler
from image_share_operator.controller.workers import Workers
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.watch import ingest
from image_share_operator.planning.requeue import Policy

PENDING, ACCEPTED, REJECTED = Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED
NAMESPACES = 1_000
MOST_GROWTH = 1.2
JOB_S = 0.2
ROUNDS = 3
FEW = 2
"""Measurements of few objects for each of many: they are done in seconds."""


class Cloud:
    """All shares of all projects: what is measured shall not be its own."""

    def __init__(self, objects: int) -> None:
        self._shares: dict[str, dict[Membership, dict[str, None]]] = {}
        for number in range(objects):
            spec = _object(number, 0)["spec"]
            self.shares(spec["projectID"])[PENDING] |= dict.fromkeys(spec["images"])
        self._tenants: dict[Identity, Tenant] = {}

    def shares(self, project: str) -> dict[Membership, dict[str, None]]:
        """The images of a project, by their membership."""
        return self._shares.setdefault(project, {one: {} for one in (PENDING, ACCEPTED, REJECTED)})

    def session(self, identity: Identity) -> "Tenant":
        """One tenant for each identity."""
        if identity not in self._tenants:
            self._tenants[identity] = Tenant(self, identity.project_id)
        return self._tenants[identity]

    def note_refused_login(self, identity: Identity, doubt: RefusedLogin) -> None:
        """Here no Secret is ever refused."""
        raise AssertionError(identity, doubt)


class Tenant:
    """The shared rooms of one identity, around answers from memory; jobs take `JOB_S`."""

    def __init__(self, cloud: Cloud, project: str) -> None:
        self._held = cloud.shares(project)
        self._project = project
        self._batches = Batcher(self._put, window=timedelta(seconds=0.1), max_images=50)
        self._jobs = JobPoller(self._job)
        self._shares = MembershipLookup(self)
        self._running: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._sent = 0

    @property
    def typical_duration(self) -> timedelta:
        """As `cloud.tenants.Tenant`."""
        return self._jobs.typical_duration

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> str:
        """As `cloud.tenants.Tenant`."""
        return await self._batches.submit(decision, vault_id, images, retry_group)

    async def job(self, job_id: str) -> JobReport:
        """As `cloud.tenants.Tenant`."""
        return self._batches.add_peers(job_id, await self._jobs.report(job_id))

    async def members(
        self, images: tuple[str, ...], max_age: timedelta
    ) -> Mapping[str, Membership | CloudError]:
        """As `cloud.tenants.Tenant`."""
        return await self._shares.read(images, max_age)

    def details(self, images: tuple[str, ...]) -> Mapping[str, ImageDetails]:
        """As `cloud.tenants.Tenant`."""
        return self._shares.details(images)

    async def _put(self, decision: Decision, vault_id: str | None, images: tuple[str, ...]) -> str:
        del decision, vault_id
        self._sent += 1
        job_id = f"{self._project}-{self._sent}"
        self._running[job_id] = asyncio.get_running_loop().time() + JOB_S, images
        return job_id

    async def _job(self, job_id: str) -> JobReport:
        until, images = self._running[job_id]
        if asyncio.get_running_loop().time() < until:
            return JobReport(state=JobState.RUNNING)
        del self._running[job_id]  # a settled one is not asked for again
        for image in images:
            del self._held[PENDING][image]
            self._held[ACCEPTED][image] = None
        return JobReport(state=JobState.SUCCESS)

    async def member(self, image: str) -> Membership:
        """As the cloud answers for one image."""
        return ACCEPTED if image in self._held[ACCEPTED] else PENDING

    async def shared(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> SharePage:
        """As the cloud lists."""
        del marker, typed
        held = tuple(islice(self._held[membership], limit))
        return SharePage(images=held, rows=len(held), marker=None)


class Cluster:
    """Takes statuses, and shows each as a watch does."""

    def __init__(self, store: ObjectStore, queue: WorkQueue) -> None:
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

    async def read(self, key: Key) -> Mapping[str, Any]:
        """Not met here."""
        raise NotImplementedError(key)

    async def add_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        """Not met here."""
        raise NotImplementedError(key, uid)

    async def remove_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        """Not met here."""
        raise NotImplementedError(key, uid)

    async def namespace_terminating(self, namespace: str) -> bool:
        """Not met here."""
        raise NotImplementedError(namespace)


class Secrets:
    """The same token for all of a namespace."""

    async def get(self, namespace: str, name: str) -> LoadedCredentials:
        """As `credentials.CredentialStore`."""
        del name
        return LoadedCredentials(credentials=TokenCredentials(token=namespace), version="1")


def _object(number: int, version: int) -> dict[str, Any]:
    session = number % NAMESPACES
    return {
        "metadata": {
            "namespace": f"tenant-{session}",
            "name": f"web-{number}",
            "uid": str(number),
            "resourceVersion": str(version),
            "generation": 1,
        },
        "spec": {
            "images": [f"{number:08x}-0000-4000-8000-000000000000"],
            "projectID": f"{session:032x}",
            "decision": "Accept",
            "credentialsSecretRef": {"name": "otc"},
            "region": "eu-de",
        },
        "status": {"observedGeneration": -1},
    }


async def _run(objects: int) -> dict[str, float]:
    store, queue, cloud = ObjectStore(), WorkQueue(), Cloud(objects)
    cluster = Cluster(store, queue)
    reconciler = Reconciler(
        store=store,
        cloud=cloud,
        credentials=Secrets(),
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
