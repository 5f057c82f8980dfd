"""What is gone without a word is found; on lists of metadata in pages."""

import asyncio
from typing import Any, cast

import pytest
from drive import spec

from image_share_operator.api.errors import KubeRetryableError
from image_share_operator.api.types import Key
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.client import ApiServer
from image_share_operator.kube.watch.resync import EVERY, Resync

pytestmark = pytest.mark.looptime


class Cluster:
    """Objects by namespace and name, listed three at a time."""

    def __init__(self) -> None:
        self.store, self.queue = ObjectStore(), WorkQueue()
        self.version = 0
        self.there: list[dict[str, Any]] = []
        self.lists = 0
        self.away = False

    def add(self, name: str, namespace: str = "demo") -> None:
        """Create an object that the watch has shown."""
        self.version += 1
        metadata = {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{self.version}",
            "resourceVersion": str(self.version),
            "generation": 1,
        }
        self.there.append(metadata)
        body = {"metadata": metadata, "spec": spec(), "status": {"observedGeneration": -1}}
        key = self.store.observe(body)
        assert key is not None
        self.queue.add(key)

    def lose(self, name: str) -> None:
        """Delete one while no watch looks."""
        self.version += 1
        self.there = [row for row in self.there if row["name"] != name]

    async def call(self, verb: str, path: str, *, namespace: str, **_: Any) -> Any:
        assert verb == "list"
        self.lists += 1
        if self.away:
            raise KubeRetryableError("list: no answer")
        start = int(path.partition("continue=")[2] or 0)
        rows = [row for row in self.there if namespace in ("", row["namespace"])]
        metadata: dict[str, str] = {"resourceVersion": str(self.version)}
        if len(rows) > start + 3:
            metadata["continue"] = str(start + 3)
        return {
            "items": [{"metadata": row} for row in rows[start : start + 3]] or None,
            "metadata": metadata,
        }

    def resync(self, *namespaces: str) -> Resync:
        return Resync(cast("ApiServer", self), namespaces, self.store, self.queue)

    def known(self) -> set[str]:
        return {entry.key.name for entry in self.store}


async def test_object_that_no_list_names_is_forgotten_and_its_pass_too() -> None:
    cluster = Cluster()
    for number in range(8):
        cluster.add(f"web-{number}")
    cluster.lose("web-4")

    await cluster.resync().take()

    assert cluster.known() == {f"web-{number}" for number in range(8) if number != 4}
    assert cluster.lists == 3
    taken = {(await cluster.queue.get()).name for _ in range(7)}
    assert taken == cluster.known()


async def test_object_that_came_after_the_list_is_kept() -> None:
    cluster = Cluster()
    cluster.add("old")
    resync = cluster.resync()
    rows = list(cluster.there)
    cluster.add("new")
    cluster.there = rows
    cluster.version -= 1

    await resync.take()

    assert cluster.known() == {"old", "new"}


async def test_new_object_of_the_same_name_is_kept() -> None:
    cluster = Cluster()
    cluster.add("web")
    cluster.lose("web")
    cluster.add("web")

    await cluster.resync().take()

    assert cluster.store.get(Key("demo", "web")) is not None


async def test_each_watched_namespace_is_listed() -> None:
    cluster = Cluster()
    cluster.add("a", "one")
    cluster.add("b", "two")
    cluster.lose("b")

    await cluster.resync("one", "two").take()

    assert cluster.known() == {"a"}


async def test_census_goes_on_after_one_that_failed() -> None:
    cluster = Cluster()
    cluster.add("web")
    cluster.away = True
    running = asyncio.create_task(cluster.resync().run())
    await asyncio.sleep(EVERY.total_seconds() + 1)
    assert cluster.known() == {"web"}

    cluster.away = False
    cluster.lose("web")
    await asyncio.sleep(EVERY.total_seconds() + 1)

    assert cluster.known() == set()
    running.cancel()
