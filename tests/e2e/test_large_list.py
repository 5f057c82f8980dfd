"""Memory and time for a list of large objects; kopf runs in this process.

The list comes from a server that only lists: a real API server would need minutes to store it.

    PYTHONPATH=operator:tests python tests/e2e/test_large_list.py 10000   # measures so many objects
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from e2e.watching import watch_of

NAMESPACE = "demo"
GROUP = "/apis/ims.otc.dev/v1alpha1"
RESOURCES = f"{GROUP}/namespaces/{NAMESPACE}/imageshareacceptances"
IMAGES = 500
OBJECTS = 500
NUMBER = "89abcdef"
"""Stands for the number of the object, in hexadecimal, in its template."""
MAX_MORE_MIB = 300
"""Memory that may be used for the list, also for a moment. Measured: 162 MiB in pages of 100, and
410 MiB in pages of 500. The objects themselves take 100 MiB. The limit of the chart is 512 MiB."""


def template() -> bytes:
    """Return an object with the largest number of images, all accepted, as JSON."""
    ids = [f"{NUMBER}-{number:04x}-4000-8000-000000000000" for number in range(IMAGES)]
    row: dict[str, Any] = {".": {}, "f:id": {}, "f:membership": {}, "f:jobID": {}}
    fields = {"f:status": {"f:images": {f'k:{{"id":"{one}"}}': row for one in ids}}}
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Accepted",
        "message": "500 images accepted in project p.",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-05-04T03:02:01Z",
    }
    both = {"iam": "https://iam.example.com", "ims": "https://ims.example.com"}
    images = [
        {"id": one, "membership": "accepted", "jobID": f"ff808081{NUMBER}0181fd23a8950009"}
        for one in ids
    ]
    body = {
        "metadata": {
            "creationTimestamp": "2026-05-04T03:02:01Z",
            "generation": 1,
            "managedFields": [{"manager": "image-share-operator", "fieldsV1": fields}],
            "name": f"web-{NUMBER}",
            "namespace": NAMESPACE,
            "resourceVersion": "7",
            "uid": f"{NUMBER}-73b8-48a3-ae43-9f0b74505e17",
        },
        "spec": {
            "credentialsSecretRef": {"name": "otc-credentials"},
            "decision": "Accept",
            "endpoints": both,
            "images": ids,
            "projectID": "5dd3c0b24cdc4d31952c49589182a89d",
        },
        "status": {
            "conditions": [ready],
            "credentialsAcceptedBy": both,
            "images": images,
            "observedGeneration": 1,
            "summary": "500/500",
        },
    }
    return json.dumps(body, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class ListServer:
    """Lists so many objects, and opens watches without events."""

    objects: int
    template: bytes

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.path == RESOURCES:
            if "watch" in request.query:
                return await self._watch(request)
            return await self._list(request)
        return web.json_response(self._discovery(request.path))

    def _discovery(self, path: str) -> dict[str, Any]:
        verbs = {"singularName": "", "verbs": ["list", "watch"]}
        ours = {"name": "imageshareacceptances", "kind": "ImageShareAcceptance", "namespaced": True}
        crds = {"name": "customresourcedefinitions", "kind": "CustomResourceDefinition"}
        namespaces = {"name": "namespaces", "kind": "Namespace", "namespaced": False}
        found: dict[str, dict[str, Any]] = {
            "/api": {"versions": ["v1"]},
            "/api/v1": {"resources": [namespaces | verbs]},
            "/apis": {
                "groups": [
                    {"name": name, "versions": [version], "preferredVersion": version}
                    for name, version in (
                        ("ims.otc.dev", {"version": "v1alpha1"}),
                        ("apiextensions.k8s.io", {"version": "v1"}),
                    )
                ]
            },
            GROUP: {"resources": [ours | verbs]},
            "/apis/apiextensions.k8s.io/v1": {"resources": [crds | verbs | {"namespaced": False}]},
        }
        return found[path]

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async def _list(self, request: web.Request) -> web.StreamResponse:
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        end = min(start + limit, self.objects)
        metadata = {"resourceVersion": "9", "continue": str(end) if end < self.objects else ""}
        head = {"kind": "ImageShareAcceptanceList", "apiVersion": "ims.otc.dev/v1alpha1"}
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(json.dumps({**head, "metadata": metadata})[:-1].encode())
        await response.write(b',"items":[')
        for number in range(start, end):
            comma = b"," if number > start else b""
            await response.write(
                comma + self.template.replace(NUMBER.encode(), f"{number:08x}".encode())
            )
        await response.write(b"]}")
        return response


@contextlib.contextmanager
def serving(objects: int) -> Iterator[str]:
    """Serve in a thread; give the URL."""
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/{path:.*}", ListServer(objects, template()).serve)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a list took."""

    seconds: float
    more_mib: int
    main_blocked_s: float
    watch_blocked_s: float


async def measure(objects: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Let a watch list the objects, until all are in the store."""
    with serving(objects) as url:
        async with listing(url, directory, monkeypatch, objects) as measured:
            return measured


@contextlib.asynccontextmanager
async def listing(
    url: str, directory: Path, monkeypatch: pytest.MonkeyPatch, objects: int
) -> AsyncGenerator[Measured]:
    cluster = {"name": "x", "cluster": {"server": url}}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    user = {"name": "x", "user": {"token": "made-up"}}
    config = {"current-context": "x", "contexts": [context], "clusters": [cluster], "users": [user]}
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    begin_peak()
    before, began = memory_mib("VmRSS"), time.monotonic()
    main_blocked_s = watch_blocked_s = 0.0
    async with watch_of(NAMESPACE, kubeconfig=kubeconfig, monkeypatch=monkeypatch) as (
        watcher,
        store,
    ):
        while len(store) < objects or not watcher.is_open:
            asked = time.monotonic()
            await asyncio.sleep(0.01)
            main_blocked_s = max(main_blocked_s, time.monotonic() - asked)
            watch_blocked_s = max(watch_blocked_s, watcher.blocked_s)
        yield Measured(
            seconds=time.monotonic() - began,
            more_mib=memory_mib("VmHWM") - before,
            main_blocked_s=main_blocked_s,
            watch_blocked_s=watch_blocked_s,
        )


def begin_peak() -> None:
    """Let ``VmHWM`` begin at the present memory; see proc(5)."""
    Path("/proc/self/clear_refs").write_text("5")


def memory_mib(field: str) -> int:
    """Return a figure of proc(5)'s status: ``VmRSS`` now, ``VmHWM`` at most."""
    rows = dict(
        row.split(":", 1)
        for row in Path("/proc/self/status").read_text().splitlines()
        if ":" in row
    )
    return int(rows[field].split()[0]) // 1024


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
async def test_list_of_large_objects_needs_little_memory_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 resources of 500 images: of 10,000 this is a part, and a page is a fifth of it."""
    measured = await measure(OBJECTS, tmp_path, monkeypatch)

    assert measured.more_mib < MAX_MORE_MIB


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as where:
        sys.stdout.write(f"{asyncio.run(measure(int(sys.argv[1]), Path(where), patch))}\n")
