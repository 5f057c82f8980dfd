"""A cloud that is down for ten minutes: few requests, however many objects; then all heals.

The real reconciler, queue, workers, circuits and cloud client; a cloud in a function, a virtual
clock.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from fakes import START, FakeKube, ready_of, spec
from image_share_operator.api.credentials import PasswordCredentials
from image_share_operator.api.types import (
    CredentialsRef,
    Key,
)
from image_share_operator.cloud.http.circuit_breaker import (
    MAX_OPEN_TIME,
    THRESHOLD,
    CircuitBreakers,
)
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.no_response import Cause, NoResponseError
from image_share_operator.cloud.sessions import BatchSettings, Sessions, classify_failure
from image_share_operator.controller.credential_cache import LoadedCredentials
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.reconciler import Reconciler
from image_share_operator.controller.workers import Workers
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.flowcontrol import backoff
from image_share_operator.flowcontrol.limiter import Limiters, Limits
from image_share_operator.planning.requeue import Policy

# The fewest empty rounds of the loop per step of its clock: nothing here needs more.
pytestmark = pytest.mark.looptime(noop_cycles=2)

AT_ONCE = 32
"""The default of ``ISA_ENDPOINT_REQUESTS``."""
OUTAGE = timedelta(minutes=10)
TIMEOUT = timedelta(seconds=30)
"""The default of ``ISA_REQUEST_TIMEOUT_S``."""
LATENCY_S = 0.02
A, B = "a.test", "b.test"
"""Hosts of two clouds; each serves both IAM and IMS."""
HEALS_WITHIN = MAX_OPEN_TIME + backoff.exponential(99, jitter=1.0)
"""A resource whose own request was the last probe rests for longest."""


def most_requests(outage: timedelta) -> int:
    """The most requests that one endpoint gets while it is down.

    The failures that open the circuit, the requests that are under way by then (as many as the
    endpoint may get at once), and the probes: each comes after a rest, and the rests are at least
    so long.
    """
    probes, at = 0, timedelta()
    while True:
        at += backoff.exponential(probes + 1, jitter=0.0, ceiling=MAX_OPEN_TIME)
        if at > outage:
            return THRESHOLD + AT_ONCE + probes
        probes += 1


async def refuses(_: httpx.Request) -> httpx.Response:
    """As the transport reports a refused connection."""
    raise NoResponseError(Cause.CONNECT, "connection refused")


async def is_unavailable(request: httpx.Request) -> httpx.Response:
    del request
    await asyncio.sleep(LATENCY_S)
    return httpx.Response(503, text="<html>maintenance</html>")


async def never_answers(request: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError(request)


Outage = Callable[[httpx.Request], Awaitable[httpx.Response]]


@dataclass
class Clouds:
    """Two clouds behind one transport. Lists are refused, so each image is read alone.

    Attributes:
        down: by host, how it fails now.
        strangers: users that may not log in.
        job_s: how long the jobs take that are begun now.
        calls: by host, the requests that were sent there.
        accepted: images by the number of batches that the cloud took for them.
        jobs: when each begins and ends.
    """

    now: Callable[[], datetime]
    down: dict[str, Outage] = field(default_factory=dict[str, Outage])
    strangers: frozenset[str] = frozenset()
    job_s: float = 1.0
    calls: Counter[str] = field(default_factory=Counter[str])
    accepted: Counter[str] = field(default_factory=Counter[str])
    jobs: list[tuple[datetime, datetime]] = field(default_factory=list[tuple[datetime, datetime]])
    done_at: dict[str, datetime] = field(default_factory=dict[str, datetime])

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls[request.url.host] += 1
        outage = self.down.get(request.url.host)
        if outage is not None:
            return await outage(request)
        await asyncio.sleep(LATENCY_S)
        match request.method, request.url.path.split("/")[1:]:
            case "POST", ["v3", "auth", "tokens"]:
                return self._logged_in(json.loads(request.content))
            case "PUT", ["v1", "cloudimages", "members"]:
                return self._taken(json.loads(request.content)["images"])
            case "GET", ["v1", _, "jobs", job]:
                return self._told(*self.jobs[int(job, 16)])
            case "GET", ["v2", "cloudimages"]:
                return httpx.Response(403, json={"error": {"code": "IMG.0026", "message": "no"}})
            case "GET", ["v2", "images", image, "members", _]:
                done = image in self.done_at and self.done_at[image] <= self.now()
                return httpx.Response(200, json={"status": "accepted" if done else "pending"})
            case other:
                raise AssertionError(other)

    def _logged_in(self, body: Any) -> httpx.Response:
        user = body["auth"]["identity"]["password"]["user"]["name"]
        if user in self.strangers:
            return httpx.Response(401)
        expires = (self.now() + timedelta(days=1)).isoformat()
        return httpx.Response(
            201, headers={"X-Subject-Token": "token"}, json={"token": {"expires_at": expires}}
        )

    def _taken(self, images: list[str]) -> httpx.Response:
        self.accepted.update(images)
        end = self.now() + timedelta(seconds=self.job_s)
        self.jobs.append((self.now(), end))
        self.done_at |= dict.fromkeys(images, end)
        return httpx.Response(200, json={"job_id": f"{len(self.jobs) - 1:032x}"})

    def _told(self, begin: datetime, end: datetime) -> httpx.Response:
        if end > self.now():
            return httpx.Response(200, json={"status": "RUNNING"})
        times = {"begin_time": begin.isoformat(), "end_time": end.isoformat()}
        return httpx.Response(200, json={"status": "SUCCESS", **times})


@dataclass
class Cluster(FakeKube):
    """Many objects; each Secret has the credentials of the user of its name."""

    def create(self, number: int, host: str, namespace: str, secret: str) -> dict[str, Any]:
        image, url = f"{number:08x}-1111-4222-8333-444455556666", f"https://{host}"
        wanted = spec([image], endpoints={"iam": url, "ims": url}, interval="1m")
        del wanted["region"]
        wanted["credentialsSecretRef"] = {"name": secret}
        return self.add(wanted, Key(namespace, f"web-{number}"))

    async def get(self, namespace: str, ref: CredentialsRef) -> LoadedCredentials:
        del namespace
        credentials = PasswordCredentials(user_name=ref.name, password="p", domain_name="d")
        return LoadedCredentials(credentials=credentials, version="1")

    def messages(self) -> Counter[str]:
        """How many objects have which message of Ready."""
        return Counter(ready_of(body)["message"] for body in self.others.values())

    def reasons(self) -> Counter[str | None]:
        """How many objects have which reason of Ready; none has no condition yet."""
        return Counter(map(self.reason, self.others))

    def reason(self, key: Key) -> str | None:
        """The reason of its Ready condition."""
        return ready_of(self.others[key]).get("reason")


@dataclass
class Scene:
    """The operator at work, on the event loop's clock."""

    cluster: Cluster
    clouds: Clouds
    store: ObjectStore
    queue: WorkQueue
    count: int = 0

    def add(
        self,
        count: int,
        hosts: Sequence[str] = (A, B),
        namespace: str = "demo",
        secret: str = "",
    ) -> list[Key]:
        """Create objects, of the hosts in turn, each with a Secret of its own if none is named."""
        keys: list[Key] = []
        for _ in range(count):
            host = hosts[self.count % len(hosts)]
            named = secret or f"secret-{self.count}"
            key = self.store.observe(self.cluster.create(self.count, host, namespace, named))
            assert key is not None
            self.count += 1
            self.queue.add(key)
            keys.append(key)
        return keys

    async def accepted(self, key: Key) -> float:
        """Wait for one object; return how many seconds it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while self.cluster.reason(key) != "Accepted":
            assert loop.time() < started + 120, self.cluster.reason(key)
            await asyncio.sleep(0.05)
        return loop.time() - started

    async def all_accepted(self) -> timedelta:
        """Wait for it; return how long it took."""
        started = now()
        while self.cluster.reasons() != {"Accepted": self.count}:
            assert now() - started < timedelta(hours=1), self.cluster.reasons()
            await asyncio.sleep(0.5)
        return now() - started


def now() -> datetime:
    return START + timedelta(seconds=asyncio.get_running_loop().time())


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """The parts as `__main__` puts them together."""
    dice = random.Random(7)  # noqa: S311 - repeatable jitter
    clouds, cluster, store, queue = Clouds(now), Cluster(), ObjectStore(), WorkQueue(256)
    client = httpx.AsyncClient(transport=httpx.MockTransport(clouds))
    caller = CloudHttpClient(
        client=client,
        timeout=TIMEOUT,
        limiters=Limiters(Limits(at_once=AT_ONCE, per_second=100)),
        circuits=CircuitBreakers(now, dice.random),
    )
    reconciler = Reconciler(
        store=store,
        cloud=Sessions(caller, now, BatchSettings(window=timedelta(seconds=0.1), images=50)),
        credentials=cluster,
        kube=cluster,
        emit=lambda _: None,
        classify_failure=classify_failure,
        now=now,
        policy=Policy(),
        rng=dice,
    )
    stop = asyncio.Event()
    working = asyncio.create_task(Workers(queue, reconciler.reconcile, 2048).run(stop))
    yield Scene(cluster, clouds, store, queue)
    stop.set()
    await working
    await client.aclose()


@pytest.mark.parametrize("count", [3, 30, 300])
async def test_outage_costs_no_more_requests_for_hundreds_of_objects_than_for_three(
    count: int,
) -> None:
    """A third is settled when it begins, a third has its job running, a third comes meanwhile."""
    async with scene() as world:
        world.add(count // 3)
        await world.all_accepted()
        await asyncio.sleep(30)
        world.add(count // 3)
        await asyncio.sleep(0.5)
        before = world.clouds.calls.copy()

        world.clouds.down = {A: refuses, B: refuses}
        await asyncio.sleep(60)
        world.add(count // 3)
        await asyncio.sleep(OUTAGE.total_seconds() / 2 - 60)
        world.clouds.down = {A: is_unavailable, B: is_unavailable}
        await asyncio.sleep(OUTAGE.total_seconds() / 2)
        asked = world.clouds.calls - before
        told = world.cluster.reasons()
        world.clouds.down = {}
        took = await world.all_accepted()

    assert THRESHOLD <= asked[A] <= most_requests(OUTAGE)
    assert THRESHOLD <= asked[B] <= most_requests(OUTAGE)
    assert told == {"CloudUnavailable": count}
    assert took <= HEALS_WITHIN
    assert world.clouds.accepted.total() == len(world.clouds.accepted) == count


async def test_outage_is_reported_once_for_each_cause_by_each_object() -> None:
    async with scene() as world:
        world.add(30)
        await world.all_accepted()
        before = world.cluster.written.copy()

        world.clouds.down = {A: refuses, B: refuses}
        await asyncio.sleep(OUTAGE.total_seconds() / 2)
        world.clouds.down = {A: is_unavailable, B: is_unavailable}
        await asyncio.sleep(OUTAGE.total_seconds() / 2)
        told = world.cluster.written - before

        messages = world.cluster.messages()

    assert set(told.values()) == {2}
    assert len(told) == 30
    assert all("HTTP 503" in message for message in messages)


@pytest.mark.parametrize(
    ("outage", "cause"),
    [
        (refuses, "no connection to b.test:443: connection refused"),
        (never_answers, "no response from b.test:443: timeout after 30 s"),
    ],
    ids=["refused", "timeout"],
)
async def test_outage_is_reported_with_its_cause_also_while_the_circuit_is_open(
    outage: Outage, cause: str
) -> None:
    """Half of the objects exist before the outage, half are created while the circuit is open."""
    async with scene() as world:
        world.add(30, hosts=(B,))
        await world.all_accepted()
        world.clouds.down = {B: outage}
        await asyncio.sleep(OUTAGE.total_seconds() / 2)
        before = world.cluster.written.copy()
        world.add(30, hosts=(B,))
        await asyncio.sleep(OUTAGE.total_seconds())
        writes = world.cluster.written - before

        assert world.cluster.messages() == {f"{cause}. The operator retries automatically.": 60}
        assert writes.total() == 30  # one for each new object


async def test_outage_of_one_endpoint_does_not_slow_the_other() -> None:
    async with scene() as world:
        world.add(30, hosts=(A,))
        await world.all_accepted()
        world.clouds.down = {A: is_unavailable}
        await asyncio.sleep(150)
        assert world.cluster.reasons() == {"CloudUnavailable": 30}

        world.add(30, hosts=(B,))
        await asyncio.sleep(2)

        assert world.cluster.reasons() == {"CloudUnavailable": 30, "Accepted": 30}


async def test_cloud_that_never_answers_is_asked_as_rarely_as_one_that_refuses() -> None:
    async with scene() as world:
        world.add(30)
        await world.all_accepted()
        before = world.clouds.calls.copy()

        world.clouds.down = {A: never_answers, B: never_answers}
        await asyncio.sleep(OUTAGE.total_seconds())
        asked = world.clouds.calls - before
        world.clouds.down = {}
        took = await world.all_accepted()

    assert THRESHOLD <= asked[A] <= most_requests(OUTAGE)
    assert THRESHOLD <= asked[B] <= most_requests(OUTAGE)
    assert took <= HEALS_WITHIN + TIMEOUT
