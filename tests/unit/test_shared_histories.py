"""Many objects share batches: culprits fail alone, and the innocent get through.

The real store, queue, workers, reconciler and batcher around a cloud and a cluster in memory, in
virtual time.
"""

import asyncio
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import looptime
import pytest
from drive import KEY, FakeCredentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_share_operator import handlers
from image_share_operator.api import Decision, JobState, Key, Membership
from image_share_operator.cloud.tenants import Sharing, Tenant, blame
from image_share_operator.cloud.wire import SharePage
from image_share_operator.doubts import Doubt
from image_share_operator.errors import ImagesRefusedError
from image_share_operator.facts import JobReport
from image_share_operator.identity import Identity
from image_share_operator.pace import Policy
from image_share_operator.queue import WorkQueue
from image_share_operator.reconciler import Reconciler
from image_share_operator.store import Store
from image_share_operator.workers import Workers

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(seconds=0.1)
JOB_S = 1.0
LONG_S = 1200.0
"""Less than what failed for good waits for its next try."""
WAYS = ("refused", "fails", "fails naming", "fails naming, applies", "succeeds naming")

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happens.

    Attributes:
        sizes: images of each object.
        arrivals: seconds from the start at which each object is created.
        guilty: objects whose first image spoils its batch.
        way: how the cloud treats a batch with such an image.
        most: images in one batch.
        killed_s: when the operator is killed; ``None``: never.
    """

    sizes: tuple[int, ...]
    arrivals: tuple[float, ...]
    guilty: frozenset[int]
    way: str
    most: int
    killed_s: float | None

    def images(self, number: int) -> tuple[str, ...]:
        return tuple(f"{number:08x}-0000-4000-8000-{one:012x}" for one in range(self.sizes[number]))

    @property
    def culprits(self) -> frozenset[str]:
        return frozenset(self.images(number)[0] for number in self.guilty)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=40))
    numbers = st.integers(0, len(sizes) - 1)
    return Story(
        sizes=tuple(sizes),
        arrivals=tuple(draw(st.sampled_from((0.0, 0.05, 0.3, 2.0))) for _ in sizes),
        guilty=draw(st.frozensets(numbers, max_size=4)),
        way=draw(st.sampled_from(WAYS)),
        most=draw(st.sampled_from((3, 8, 50))),
        killed_s=draw(st.one_of(st.none(), st.floats(0.05, 8.0))),
    )


@dataclass
class Job:
    """One batch under way."""

    images: tuple[str, ...]
    ends_s: float
    report: JobReport
    applies: tuple[str, ...]


@dataclass
class Cloud:
    """`Ims`, as far as a `Tenant` needs it."""

    story: Story
    members: dict[str, Membership]
    tokens: Any = None
    puts: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])

    async def update_members(
        self, decision: Decision, vault_id: str | None, images: tuple[str, ...]
    ) -> str:
        assert decision is Decision.ACCEPT
        assert vault_id is None
        assert len(set(images)) == len(images) <= self.story.most
        self.puts.append(images)
        bad = self.story.culprits & set(images)
        if bad and self.story.way == "refused":
            raise ImagesRefusedError("HTTP 400 IMG.0027")
        good = tuple(image for image in images if image not in bad)
        job_id = f"{len(self.jobs):032x}"
        ends_s = asyncio.get_running_loop().time() + JOB_S
        applies = good if not bad or self.story.way.endswith(("applies", "succeeds naming")) else ()
        self.jobs[job_id] = Job(images, ends_s, self._report(bad), applies)
        return job_id

    def _report(self, bad: frozenset[str]) -> JobReport:
        if not bad:
            return JobReport(state=JobState.SUCCESS)
        named = bad if "naming" in self.story.way else ()
        rows = dict.fromkeys(named, "the job says 'failed' of this image")
        failed = self.story.way.startswith("fails")
        state = JobState.FAIL if failed else JobState.SUCCESS
        return JobReport(state=state, fail_reason="broken" if failed else None, failed_rows=rows)

    async def job(self, job_id: str) -> JobReport:
        job = self.jobs[job_id]
        if asyncio.get_running_loop().time() < job.ends_s:
            return JobReport(state=JobState.RUNNING)
        self.members |= dict.fromkeys(job.applies, Membership.ACCEPTED)
        return job.report

    async def member(self, image: str) -> Membership:
        return self.members[image]

    async def shared(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> SharePage:
        del marker, limit, typed
        held = [image for image, one in self.members.items() if one is membership]
        return SharePage(images=tuple(held), marker=None)


class Access:
    """The cloud of `Reconciler`: one identity."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def tenant(self, identity: Identity) -> Tenant:
        del identity
        return self._tenant

    def doubt(self, identity: Identity, doubt: Doubt) -> None:
        raise AssertionError(identity, doubt)


class Cluster:
    """Objects that outlive the operator."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.bodies: dict[Key, Json] = {}
        self.version = 0

    def create(self, number: int) -> Json:
        body: Json = {
            "metadata": {
                "namespace": KEY.namespace,
                "name": f"web-{number}",
                "uid": f"uid-{number}",
                "generation": 1,
            },
            "spec": {
                "images": list(self.story.images(number)),
                "projectID": "0" * 32,
                "decision": "Accept",
                "credentialsSecretRef": {"name": "otc"},
                "region": "eu-de",
            },
            "status": {"observedGeneration": -1},
        }
        return self._kept(body)

    def _kept(self, body: Json) -> Json:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.bodies[Key(KEY.namespace, body["metadata"]["name"])] = body
        return body

    async def write_status(
        self, key: Key, version: int, status: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        old = self.bodies[key]
        assert str(version) == old["metadata"]["resourceVersion"]
        return self._kept(json.loads(json.dumps({**old, "status": dict(status)})))

    async def read(self, key: Key) -> Mapping[str, Any]:
        return self.bodies[key]

    async def hold(self, key: Key, uid: str) -> Mapping[str, Any]:
        raise NotImplementedError(key, uid)

    async def release(self, key: Key, uid: str) -> Mapping[str, Any]:
        raise NotImplementedError(key, uid)

    async def namespace_goes(self, namespace: str) -> bool:
        raise NotImplementedError(namespace)


class Life:
    """One process of the operator."""

    def __init__(self, story: Story, cluster: Cluster, cloud: Cloud) -> None:
        sharing = Sharing(window=WINDOW, images=story.most)
        self.store, self.queue = Store(), WorkQueue()
        loop = asyncio.get_running_loop()
        reconciler = Reconciler(
            store=self.store,
            cloud=Access(Tenant(cloud, sharing)),  # type: ignore[arg-type]  # as an Ims
            credentials=FakeCredentials(),
            kube=cluster,
            emit=lambda _: None,
            blame=blame,
            now=lambda: EPOCH + timedelta(seconds=loop.time()),
            policy=Policy(batch_images=story.most),
            rng=random.Random(7),  # noqa: S311 - repeatable jitter
        )
        workers = Workers(self.queue, reconciler.reconcile, 64)
        self.task = asyncio.create_task(workers.run(asyncio.Event()))
        for body in cluster.bodies.values():
            self.show(body)

    def show(self, body: Json) -> None:
        event: Any = {"type": None, "object": body}
        handlers.take(event, self.store, self.queue)

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def lived(story: Story) -> tuple[Cluster, Cloud]:
    """Let the story happen, and long enough go by."""
    images = [image for number in range(len(story.sizes)) for image in story.images(number)]
    cluster = Cluster(story)
    cloud = Cloud(story, dict.fromkeys(images, Membership.PENDING))
    life = Life(story, cluster, cloud)
    loop = asyncio.get_running_loop()
    happenings: list[tuple[float, int | None]] = [
        *((at_s, number) for number, at_s in enumerate(story.arrivals)),
        *([] if story.killed_s is None else [(story.killed_s, None)]),
    ]
    for at_s, number in sorted(happenings, key=lambda row: row[0]):
        await asyncio.sleep(max(0.0, at_s - loop.time()))
        if number is None:
            await life.kill()
            life = Life(story, cluster, cloud)
        else:
            life.show(cluster.create(number))
    await asyncio.sleep(LONG_S)
    await life.kill()
    return cluster, cloud


def live(story: Story) -> tuple[Cluster, Cloud]:
    loop = looptime.new_event_loop()
    try:
        return loop.run_until_complete(lived(story))
    finally:
        loop.close()


def ready(body: Json) -> Json:
    rows: list[Json] = body["status"]["conditions"]
    return next(row for row in rows if row["type"] == "Ready")


@pytest.mark.timeout(120)
@settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=300,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(story=stories())
def test_culprits_fail_alone_and_the_innocent_get_through(story: Story) -> None:
    cluster, cloud = live(story)

    for number, size in enumerate(story.sizes):
        body = cluster.bodies[Key(KEY.namespace, f"web-{number}")]
        failed = {row["id"] for row in body["status"]["images"] if row.get("message")}
        guilty = number in story.guilty
        assert ready(body)["status"] == ("False" if guilty else "True"), ready(body)
        assert failed == ({story.images(number)[0]} if guilty else set())
        assert body["status"]["summary"] == f"{size - guilty}/{size}"
    accepted = {image for image, one in cloud.members.items() if one is Membership.ACCEPTED}
    assert accepted == set(cloud.members) - story.culprits
    _, unspoiled = live(replace(story, guilty=frozenset(), killed_s=None))
    assert len(cloud.puts) - len(unspoiled.puts) <= most_extra(story)


def most_extra(story: Story) -> int:
    """PUTs to find the culprits: each is halved out; who dies forgets which batch was whose."""
    halvings = math.ceil(math.log2(min(story.most, max(2, sum(story.sizes)))))
    once = len(story.guilty) * 2 * halvings
    return once if story.killed_s is None else 2 * once + 1
