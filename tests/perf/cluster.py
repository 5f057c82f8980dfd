"""A raw client of the API server: creates objects, writes statuses, watches."""

import asyncio
import json
import os
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
from usage import cpu_seconds, idle_seconds

from envtest import ControlPlane
from otc_simulator.client import Simulator

AT_ONCE = 32
"""Requests of the raw client under way together: as many as the operator has workers."""
GIVE_UP_S = 900.0
APPLY = "application/apply-patch+yaml"
SECRET = "otc-credentials"
RESOURCES = "/apis/ims.otc.dev/v1alpha1/imageshareacceptances"
"""Of all namespaces."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What some objects took, from the first create to the last Ready.

    Attributes:
        rate: objects per second.
        served_ms: CPU of API server and etcd for each object.
        idle: the share of all cores that was idle.
    """

    rate: float
    served_ms: float
    idle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """What the ceiling is, and this process's CPU for each object in ms."""

    load: Load
    cpu_ms: float


@dataclass(slots=True)
class Watched:
    """What a watch saw of some objects.

    Attributes:
        load: what all of them took.
        seconds: from the first create to the last Ready.
        writes: changes of the objects after their creation; only their status is written.
        job_seconds: of the last object: how long its job took, by the cloud's clock.
        after_job: of the last object: from the end of its job, by the cloud's clock (which is
            this machine's), to the moment Ready arrived here.
    """

    load: Load = field(init=False)
    seconds: float = 0.0
    writes: int = 0
    job_seconds: float = 0.0
    after_job: float = 0.0
    ready: set[str] = field(default_factory=set[str])
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class Cluster:
    """An async context manager; each run has a namespace of its own."""

    def __init__(self, control_plane: ControlPlane, cloud: Simulator) -> None:
        self._control_plane = control_plane
        self._cloud = cloud
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._crowded: list[str] = []

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context(cafile=str(self._control_plane.ca_file))
        token = self._control_plane.http.headers["Authorization"]
        self._http = aiohttp.ClientSession(
            self._control_plane.url,
            connector=aiohttp.TCPConnector(ssl=tls, limit=AT_ONCE * 2),
            headers={"Authorization": token},
            timeout=aiohttp.ClientTimeout(total=GIVE_UP_S),
            read_bufsize=2**21,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()

    async def raw(self, count: int, *, checked: bool = True) -> Raw:
        """Create objects and write each status twice, as fast as it goes.

        They are watched as those of the operator are: what measures costs the API server some
        percent, which must not be counted on one side only.

        Args:
            checked: whether the API server looks for unknown fields, as it does when nothing is
                said of it; the operator says that it need not.
        """
        path = self._resources(self._control_plane.create_namespace("raw"))
        image, job = str(uuid.uuid4()), uuid.uuid4().hex
        url = "https://raw.test:12345"
        unchecked = "" if checked else "&fieldValidation=Ignore"

        async def one(number: int) -> None:
            name = f"web-{number}"
            held = await self._send("POST", path, _object(name, [image], url))
            where = f"{path}/{name}/status?fieldManager=bench&force=true{unchecked}"
            for status in (_waiting(image, job), _settled(image, job)):
                body = _applied(name, held["metadata"]["resourceVersion"], status)
                held = await self._send("PATCH", where, body, APPLY)

        cpu = time.process_time()
        seen = await self._timed(path, count, one)
        made = Raw(load=seen.load, cpu_ms=1000 * (time.process_time() - cpu) / count)
        await self._delete(path)
        return made

    async def clear(self) -> None:
        """Delete what was run, so that the next is measured as the first was."""
        for namespace in self._crowded:
            await self._delete(self._resources(namespace))
        self._crowded.clear()
        self._cloud.reset()

    async def _delete(self, path: str) -> None:
        async with self._http.delete(path) as answer:
            answer.raise_for_status()

    async def versions(self) -> dict[str, str]:
        """The resourceVersion of each object of all namespaces: writes change it."""
        async with self._http.get(RESOURCES) as answer:
            items = (await answer.json())["items"]
        return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in items}

    async def run(self, count: int, *, interval: str = "1h", calm_s: float = 0.0) -> Watched:
        """Create objects that the operator serves; return when all are Ready.

        Args:
            calm_s: for how long to go on watching then, for writes that come late.
        """
        namespace = self._namespace()
        images = self._cloud.add_images(count, shared_with=[self._cloud.project_id])
        path = self._resources(namespace)

        async def one(number: int) -> None:
            body = _object(f"web-{number}", [images[number]], self._cloud.url)
            body["spec"] |= {"projectID": self._cloud.project_id, "interval": interval}
            await self._send("POST", path, body)

        return await self._timed(path, count, one, calm_s)

    async def run_in(self, projects: Sequence[str], login: Json, **spec: Json) -> Watched:
        """Create an object with a new image for each project; return when all are Ready.

        Args:
            login: the keys of the Secret.
            spec: more fields of each object.
        """
        namespace = self._namespace(login)
        shares = [(str(uuid.uuid4()), project, "pending") for project in projects]
        owner = self._cloud.owner_project_id
        images = [{"id": image, "owner": owner} for image, _, _ in shares]
        self._cloud.seed(images=images, shares=shares)
        path = self._resources(namespace)

        async def one(number: int) -> None:
            body = _object(f"web-{number}", [shares[number][0]], self._cloud.url)
            body["spec"] |= {"projectID": projects[number], **spec}
            await self._send("POST", path, body)

        return await self._timed(path, len(projects), one)

    async def select(
        self, projects: Sequence[str], selectors: Sequence[Json], *, interval: str
    ) -> Watched:
        """Create an object for each selector in each project; return when all are Ready.

        Each project has a namespace of its own.
        """
        paths = [self._resources(self._namespace()) for _ in projects]

        async def one(number: int) -> None:
            place, selector = divmod(number, len(selectors))
            body = _object(f"golden-{number}", [], self._cloud.url)
            del body["spec"]["images"]
            body["spec"] |= selectors[selector]
            body["spec"] |= {"projectID": projects[place], "interval": interval}
            await self._send("POST", paths[place], body)

        return await self._timed(RESOURCES, len(projects) * len(selectors), one)

    async def until_latest(self, image: str, count: int, publish: Callable[[], None]) -> float:
        """Publish an image; return the seconds until it is the latest one of so many objects."""

        def note(body: Json, seen: Watched) -> None:
            if any(row["id"] == image for row in body["status"].get("latest", ())):
                seen.ready.add(body["metadata"]["name"])

        async def one(_: int) -> None:
            await asyncio.to_thread(publish)

        return (await self._timed(RESOURCES, count, one, times=1, note=note)).seconds

    def _namespace(self, login: Json | None = None) -> str:
        """A new namespace with the Secret, which `clear` deletes objects of."""
        namespace = self._control_plane.create_namespace("bench")
        self._crowded.append(namespace)
        self._secret(namespace, login)
        return namespace

    async def _timed(
        self,
        path: str,
        count: int,
        one: Callable[[int], Awaitable[None]],
        calm_s: float = 0.0,
        *,
        times: int | None = None,
        note: Callable[[Json, Watched], None] | None = None,
    ) -> Watched:
        """Do ``one`` for each number; return when as many objects are Ready.

        Args:
            times: how often to do it, if not for each object.
            note: adds the objects for which to wait to ``ready``, if not for Ready.
        """
        seen = Watched()
        listening = asyncio.Event()
        watching = asyncio.create_task(
            self._watch(path, count, seen, listening, note or _note_ready)
        )
        await asyncio.wait_for(listening.wait(), GIVE_UP_S / 10)
        started, idle, served = time.monotonic(), idle_seconds(), self._served_s()
        await self._all(one, count if times is None else times)
        complete = asyncio.create_task(seen.complete.wait())
        either = asyncio.wait((watching, complete), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait_for(either, GIVE_UP_S)
        seen.seconds = time.monotonic() - started
        seen.load = Load(
            rate=count / seen.seconds,
            served_ms=1000 * (self._served_s() - served) / count,
            idle=(idle_seconds() - idle) / seen.seconds / (os.cpu_count() or 1),
        )
        await asyncio.wait((watching,), timeout=calm_s)
        if watching.done():
            await watching
        watching.cancel()
        return seen

    async def _watch(
        self,
        path: str,
        count: int,
        seen: Watched,
        listening: asyncio.Event,
        note: Callable[[Json, Watched], None],
    ) -> None:
        version = await self._version(path)
        while True:  # the API server ends the watch of who is slow to read; nothing is lost
            async with self._http.get(f"{path}?watch=1&resourceVersion={version}") as stream:
                listening.set()
                async for line in stream.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ConnectionError(f"the watch ended: {event['object']}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "MODIFIED":
                        continue
                    seen.writes += 1
                    note(event["object"], seen)
                    if len(seen.ready) == count:
                        seen.complete.set()

    async def _version(self, path: str) -> str:
        """From which version on to watch; a CRD that is new is not served at once."""
        while True:
            async with self._http.get(path) as answer:
                if answer.ok:
                    version: str = (await answer.json())["metadata"]["resourceVersion"]
                    return version
            await asyncio.sleep(0.1)

    def _served_s(self) -> float:
        return sum(map(cpu_seconds, self._control_plane.pids))

    def _secret(self, namespace: str, login: Json | None) -> None:
        usual = {
            "username": self._cloud.user,
            "password": self._cloud.password,
            "domainName": self._cloud.domain,
        }
        self._control_plane.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SECRET, "namespace": namespace},
                "stringData": login or usual,
            }
        )

    async def _all(self, one: Callable[[int], Awaitable[None]], count: int) -> None:
        async def gated(number: int) -> None:
            async with self._gate:
                await one(number)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(gated(number))

    async def _send(
        self, method: str, path: str, body: Json, kind: str = "application/json"
    ) -> Json:
        headers = {"Content-Type": kind}
        data = json.dumps(body)
        async with self._http.request(method, path, data=data, headers=headers) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")
            held: Json = await answer.json()
            return held

    @staticmethod
    def _resources(namespace: str) -> str:
        return f"/apis/ims.otc.dev/v1alpha1/namespaces/{namespace}/imageshareacceptances"


def _note_ready(body: Json, seen: Watched) -> None:
    conditions = body["status"].get("conditions", ())
    if not any(row["type"] == "Ready" and row["status"] == "True" for row in conditions):
        return
    began, ended = (
        datetime.fromisoformat(body["status"]["job"][name]) for name in ("beginTime", "endTime")
    )
    seen.job_seconds = (ended - began).total_seconds()
    seen.after_job = (datetime.now(UTC) - ended).total_seconds()
    seen.ready.add(body["metadata"]["name"])


def _object(name: str, images: list[str], url: str) -> Json:
    return {
        "apiVersion": "ims.otc.dev/v1alpha1",
        "kind": "ImageShareAcceptance",
        "metadata": {"name": name},
        "spec": {
            "images": images,
            "projectID": "0" * 32,
            "credentialsSecretRef": {"name": SECRET},
            "endpoints": {"iam": url, "ims": url},
        },
    }


def _applied(name: str, version: str, status: Json) -> Json:
    """What the operator sends to write a status."""
    return {
        "apiVersion": "ims.otc.dev/v1alpha1",
        "kind": "ImageShareAcceptance",
        "metadata": {"name": name, "resourceVersion": version},
        "status": {"observedGeneration": 1, **status},
    }


def _waiting(image: str, job: str) -> Json:
    """The operator's first status of an object, as it is."""
    told = ("JobRunning", "Waiting for the job that accepts 1 image.")
    return {
        "conditions": [
            _condition("Ready", "False", *told),
            _condition("Reconciling", "True", *told),
        ],
        "job": {**_job(job), "status": "INIT"},
        "images": [{"id": image, "membership": "pending", "jobID": job}],
        "summary": "0/1",
    }


def _settled(image: str, job: str) -> Json:
    """The operator's second status, as it is."""
    told = ("Accepted", "1 image accepted in project 00000000000000000000000000000000.")
    times = {"beginTime": _now("milliseconds"), "endTime": _now("milliseconds")}
    return {
        "conditions": [_condition("Ready", "True", *told)],
        "job": {**_job(job), **times, "status": "SUCCESS", "type": "imsUpdateImageMembersJob"},
        "images": [{"id": image, "membership": "accepted", "jobID": job}],
        "summary": "1/1",
    }


def _job(job: str) -> Json:
    return {"id": job, "generation": 1, "decision": "Accept", "submittedAt": _now("milliseconds")}


def _condition(kind: str, status: str, reason: str, message: str) -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": _now("seconds"),
    }


def _now(exact: str) -> str:
    return datetime.now(UTC).isoformat(timespec=exact).replace("+00:00", "Z")
