"""Ingest: which objects go into the store, and which of a list kopf must handle."""

import asyncio
import copy
from typing import Any

import pytest
from drive import START, Drive, told

from image_share_operator.api import status_json
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import FINALIZER, RECONCILE_AT, Key
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.watch.ingest import Ingest
from image_share_operator.kube.watch.watch_state import WatchState
from image_share_operator.sharding import Shard

OWN, FOREIGN = "own", "foreign"
"""Namespaces of two shards."""
LIST = "ImageShareAcceptanceList"


def body(name: str = "web", version: int = 5, *, ready: bool = True, **metadata: Any) -> Any:
    """Return an object of generation 1, with a Ready condition of the same generation."""
    made = copy.deepcopy(Drive().kube.body)
    made["metadata"] |= {
        "namespace": OWN,
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "managedFields": [{"manager": "bench"}],
    }
    made["metadata"] |= metadata
    reason = Reason.ACCEPTED if ready else Reason.JOB_RUNNING
    made["status"] = status_json.write(told(reason, version=None))
    return made


class World:
    """The ingest of one of two shards, with its store and queue."""

    def __init__(self) -> None:
        self.store = ObjectStore(lambda: START)
        self.queue = WorkQueue()
        self.watch_state = WatchState(())
        self.ingest = Ingest(
            self.store,
            self.queue,
            shard=Shard(index=1, count=2),
            watch_state=self.watch_state,
            home=asyncio.get_running_loop(),
        )

    def for_kopf(self, *bodies: Any) -> list[Any]:
        """Return the objects of a list page that kopf must handle."""
        page = {"kind": LIST, "metadata": {"resourceVersion": "9"}, "items": [*bodies]}
        filtered = self.ingest.filter_page(page)
        assert {**filtered, "items": None} == {**page, "items": None}
        items: list[Any] = filtered["items"]
        return items

    @property
    def stored(self) -> dict[str, int]:
        return {entry.key.name: entry.version for entry in self.store}


def test_namespaces_of_this_test_belong_to_two_shards() -> None:
    shard = Shard(index=1, count=2)

    assert (shard.owns(OWN), shard.owns(FOREIGN)) == (True, False)


async def test_settled_objects_are_stored_and_queued() -> None:
    world = World()

    assert world.for_kopf(body("one"), body("two", 6)) == []
    await asyncio.sleep(0)

    assert world.stored == {"one": 5, "two": 6}
    assert [await world.queue.get(), await world.queue.get()] == [
        Key(OWN, "one"),
        Key(OWN, "two"),
    ]


async def test_counted_objects_are_stored_one_loop_iteration_later() -> None:
    world = World()
    world.for_kopf(*(body(f"web-{number}") for number in range(3)))

    assert (world.watch_state.object_count, len(world.store)) == (3, 0)
    await asyncio.sleep(0)
    assert len(world.store) == 3


@pytest.mark.parametrize(
    "unsettled",
    [
        body(ready=False),
        body(generation=2),
        body(annotations={RECONCILE_AT: "now"}),
        body(deletionTimestamp="2026-05-04T03:02:01Z", finalizers=[FINALIZER]),
        {**body(), "status": {}},
        {**body(), "spec": {}, "status": {}},
    ],
    ids=["not ready", "new spec", "reconcile-at", "being deleted", "new", "invalid spec"],
)
async def test_unsettled_object_is_handled_by_kopf(unsettled: Any) -> None:
    world = World()

    assert world.for_kopf(body("first"), unsettled, body("last")) == [unsettled]
    await asyncio.sleep(0)

    assert set(world.stored) == {"first", "last"}
    assert world.watch_state.object_count == 2
    assert "managedFields" not in unsettled["metadata"]


@pytest.mark.parametrize(
    "malformed", [None, {}, {"metadata": 1}, {"metadata": {}}, {**body(), "status": {"job": 7}}]
)
async def test_malformed_object_does_not_block_other_objects(malformed: Any) -> None:
    world = World()

    assert world.for_kopf(body("first"), malformed, body("last")) == [malformed]
    await asyncio.sleep(0)

    assert set(world.stored) == {"first", "last"}


@pytest.mark.parametrize("ready", [True, False])
async def test_second_list_stores_newer_versions_only(ready: bool) -> None:
    world = World()
    world.store.observe(body(ready=ready))

    assert world.for_kopf(body(version=4, ready=ready), body(version=5, ready=ready)) == []
    newer = body(version=6, ready=ready)
    assert world.for_kopf(newer) == ([] if ready else [newer])
    await asyncio.sleep(0)

    assert world.stored == {"web": 6 if ready else 5}
    assert world.watch_state.object_count == 1


async def test_new_object_of_the_same_name_is_handled_by_kopf() -> None:
    world = World()
    world.store.observe(body(version=5))

    new = body(version=7, uid="another", ready=False)

    assert world.for_kopf(new) == [new]


async def test_listed_objects_of_other_shards_are_only_counted() -> None:
    world = World()

    assert world.for_kopf(*(body(ready=ready, namespace=FOREIGN) for ready in (True, False))) == []
    await asyncio.sleep(0)

    assert (len(world.store), len(world.queue), world.watch_state.object_count) == (0, 0, 1)


@pytest.mark.parametrize(
    "response",
    [
        {"kind": "CustomResourceDefinitionList", "items": [body()]},
        {"kind": LIST, "items": None},
        {"kind": LIST},
        {"kind": "Status", "code": 410},
        [body()],
        None,
    ],
)
async def test_response_that_is_no_list_page_is_unchanged(response: Any) -> None:
    world = World()

    assert world.ingest.filter_page(response) is response
    assert world.watch_state.object_count == 0


@pytest.mark.parametrize("ready", [True, False])
async def test_event_is_stored_and_leaves_only_metadata_to_kopf(ready: bool) -> None:
    world = World()
    event = {"type": "MODIFIED", "object": body(ready=ready)}

    world.ingest.handle_event(event)
    await asyncio.sleep(0)

    entry = world.store.get(Key(OWN, "web"))
    assert entry is not None
    assert entry.is_ready == ready
    assert await world.queue.get() == entry.key
    rest = event["object"]
    assert "managedFields" not in rest["metadata"]
    assert not rest.keys() & {"spec", "status"}


async def test_deleted_object_is_removed_from_store_and_queue() -> None:
    world = World()
    world.for_kopf(body())

    world.ingest.handle_event({"type": "DELETED", "object": body(version=8)})
    await asyncio.sleep(0)

    assert (len(world.store), len(world.queue), world.watch_state.object_count) == (0, 0, 0)


async def test_events_of_other_shards_are_only_counted() -> None:
    world = World()

    world.ingest.handle_event({"type": "ADDED", "object": body(namespace=FOREIGN)})
    await asyncio.sleep(0)

    assert (len(world.store), world.watch_state.object_count) == (0, 1)


def test_event_is_discarded_when_the_main_loop_is_closed() -> None:
    async def build() -> World:
        return World()

    world = asyncio.run(build())

    assert world.for_kopf(body()) == []
    world.ingest.handle_event({"type": "ADDED", "object": body("two")})
    assert len(world.store) == 0
