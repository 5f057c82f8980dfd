"""Resync: objects that were deleted while no watch was open are removed."""

import asyncio
from typing import Any, cast
from urllib.parse import parse_qsl

import pytest
from drive import spec

from image_share_operator.api.errors import KubeRetryableError, KubeTooLargeError
from image_share_operator.api.types import Key
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.client import ApiServer
from image_share_operator.kube.watch.resync import INTERVAL, Resync

pytestmark = pytest.mark.looptime


class FakeApiServer:
    """Serves lists in pages of three objects; owns a store and a queue."""

    def __init__(self) -> None:
        self.store, self.queue = ObjectStore(), WorkQueue()
        self.version = 0
        self.objects: list[dict[str, Any]] = []
        self.lists = 0
        self.unavailable = False
        self.too_large = 0  # the limit from which a page is over the size limit

    def add(self, name: str, namespace: str = "demo") -> None:
        """Create an object that the watch reports."""
        self.version += 1
        metadata = {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{self.version}",
            "resourceVersion": str(self.version),
            "generation": 1,
        }
        self.objects.append(metadata)
        body = {"metadata": metadata, "spec": spec(), "status": {"observedGeneration": -1}}
        key = self.store.observe(body)
        assert key is not None
        self.queue.add(key)

    def delete(self, name: str) -> None:
        """Delete an object while no watch is open."""
        self.version += 1
        self.objects = [row for row in self.objects if row["name"] != name]

    async def call(self, verb: str, path: str, *, namespace: str, **_: Any) -> Any:
        assert verb == "list"
        self.lists += 1
        if self.unavailable:
            raise KubeRetryableError("list: no response")
        query = dict(parse_qsl(path.partition("?")[2]))
        start = int(query.get("continue", "0"))
        if 0 < self.too_large <= int(query["limit"]):
            raise KubeTooLargeError("list: the response is over 10 MiB")
        rows = [row for row in self.objects if namespace in ("", row["namespace"])]
        metadata: dict[str, str] = {"resourceVersion": str(self.version)}
        if len(rows) > start + 3:
            metadata["continue"] = str(start + 3)
        return {
            "items": [{"metadata": row} for row in rows[start : start + 3]] or None,
            "metadata": metadata,
        }

    def resync(self, *namespaces: str) -> Resync:
        return Resync(cast("ApiServer", self), namespaces, self.store, self.queue)

    def stored(self) -> set[str]:
        return {entry.key.name for entry in self.store}


async def test_missing_object_is_removed_from_store_and_queue() -> None:
    api = FakeApiServer()
    for number in range(8):
        api.add(f"web-{number}")
    api.delete("web-4")

    await api.resync().resync()

    assert api.stored() == {f"web-{number}" for number in range(8) if number != 4}
    assert api.lists == 3
    queued = {(await api.queue.get()).name for _ in range(7)}
    assert queued == api.stored()


@pytest.mark.parametrize("too_large", [500, 50, 2])
async def test_pages_become_smaller_when_one_is_too_large(too_large: int) -> None:
    api = FakeApiServer()
    for number in range(8):
        api.add(f"web-{number}")
    api.delete("web-4")
    api.too_large = too_large

    await api.resync().resync()

    assert len(api.stored()) == 7


async def test_single_object_that_is_too_large_is_an_error() -> None:
    api = FakeApiServer()
    api.add("web")
    api.too_large = 1

    with pytest.raises(KubeTooLargeError):
        await api.resync().resync()

    assert api.stored() == {"web"}


async def test_object_that_is_newer_than_the_list_is_kept() -> None:
    api = FakeApiServer()
    api.add("old")
    resync = api.resync()
    rows = list(api.objects)
    api.add("new")
    api.objects = rows
    api.version -= 1

    await resync.resync()

    assert api.stored() == {"old", "new"}


async def test_new_object_of_the_same_name_is_kept() -> None:
    api = FakeApiServer()
    api.add("web")
    api.delete("web")
    api.add("web")

    await api.resync().resync()

    assert api.store.get(Key("demo", "web")) is not None


async def test_each_watched_namespace_is_listed() -> None:
    api = FakeApiServer()
    api.add("a", "one")
    api.add("b", "two")
    api.delete("b")

    await api.resync("one", "two").resync()

    assert api.stored() == {"a"}


async def test_resync_continues_after_a_failure() -> None:
    api = FakeApiServer()
    api.add("web")
    api.unavailable = True
    running = asyncio.create_task(api.resync().run())
    await asyncio.sleep(INTERVAL.total_seconds() + 1)
    assert api.stored() == {"web"}

    api.unavailable = False
    api.delete("web")
    await asyncio.sleep(INTERVAL.total_seconds() + 1)

    assert api.stored() == set()
    running.cancel()
