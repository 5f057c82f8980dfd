"""What of a list goes into the store at once, and what kopf has to carry."""

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
"""Namespaces of two parts."""
LIST = "ImageShareAcceptanceList"


def body(name: str = "web", version: int = 5, *, ready: bool = True, **metadata: Any) -> Any:
    """An object of generation 1 whose status says so much of it."""
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
    """An intake of one part of two, and what it brought."""

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

    def left(self, *bodies: Any) -> list[Any]:
        """What kopf is left to carry of a page with these objects."""
        page = {"kind": LIST, "metadata": {"resourceVersion": "9"}, "items": [*bodies]}
        found = self.ingest.page(page)
        assert {**found, "items": None} == {**page, "items": None}
        items: list[Any] = found["items"]
        return items

    @property
    def known(self) -> dict[str, int]:
        return {entry.key.name: entry.version for entry in self.store}


def test_the_two_namespaces_are_of_two_parts() -> None:
    shard = Shard(index=1, count=2)

    assert (shard.owns(OWN), shard.owns(FOREIGN)) == (True, False)


async def test_settled_objects_go_into_the_store_and_are_due() -> None:
    world = World()

    assert world.left(body("one"), body("two", 6)) == []
    await asyncio.sleep(0)

    assert world.known == {"one": 5, "two": 6}
    assert [await world.queue.get(), await world.queue.get()] == [
        Key(OWN, "one"),
        Key(OWN, "two"),
    ]


async def test_what_was_counted_is_in_the_store_a_turn_later() -> None:
    world = World()
    world.left(*(body(f"web-{number}") for number in range(3)))

    assert (world.watch_state.objects, len(world.store)) == (3, 0)
    await asyncio.sleep(0)
    assert len(world.store) == 3


@pytest.mark.parametrize(
    "todo",
    [
        body(ready=False),
        body(generation=2),
        body(annotations={RECONCILE_AT: "now"}),
        body(deletionTimestamp="2026-05-04T03:02:01Z", finalizers=[FINALIZER]),
        {**body(), "status": {}},
        {**body(), "spec": {}, "status": {}},
    ],
    ids=["not ready", "new spec", "asked for", "deleted", "new", "unreadable spec"],
)
async def test_object_with_something_to_do_is_left_to_the_handler(todo: Any) -> None:
    world = World()

    assert world.left(body("first"), todo, body("last")) == [todo]
    await asyncio.sleep(0)

    assert set(world.known) == {"first", "last"}
    assert world.watch_state.objects == 2
    assert "managedFields" not in todo["metadata"]


@pytest.mark.parametrize(
    "odd", [None, {}, {"metadata": 1}, {"metadata": {}}, {**body(), "status": {"job": 7}}]
)
async def test_object_that_can_not_be_read_keeps_no_other_out(odd: Any) -> None:
    world = World()

    assert world.left(body("first"), odd, body("last")) == [odd]
    await asyncio.sleep(0)

    assert set(world.known) == {"first", "last"}


@pytest.mark.parametrize("ready", [True, False])
async def test_list_that_is_read_again_brings_what_is_newer(ready: bool) -> None:
    world = World()
    world.store.observe(body(ready=ready))

    assert world.left(body(version=4, ready=ready), body(version=5, ready=ready)) == []
    newer = body(version=6, ready=ready)
    assert world.left(newer) == ([] if ready else [newer])
    await asyncio.sleep(0)

    assert world.known == {"web": 6 if ready else 5}
    assert world.watch_state.objects == 1


async def test_list_shows_the_object_that_took_the_name() -> None:
    world = World()
    world.store.observe(body(version=5))

    new = body(version=7, uid="another", ready=False)

    assert world.left(new) == [new]


async def test_objects_of_other_parts_are_counted_and_no_more() -> None:
    world = World()

    assert world.left(*(body(ready=ready, namespace=FOREIGN) for ready in (True, False))) == []
    await asyncio.sleep(0)

    assert (len(world.store), len(world.queue), world.watch_state.objects) == (0, 0, 1)


@pytest.mark.parametrize(
    "answer",
    [
        {"kind": "CustomResourceDefinitionList", "items": [body()]},
        {"kind": LIST, "items": None},
        {"kind": LIST},
        {"kind": "Status", "code": 410},
        [body()],
        None,
    ],
)
async def test_any_other_answer_is_left_as_it_is(answer: Any) -> None:
    world = World()

    assert world.ingest.page(answer) is answer
    assert world.watch_state.objects == 0


@pytest.mark.parametrize("ready", [True, False])
async def test_change_is_taken_in_and_little_is_left_of_it(ready: bool) -> None:
    world = World()
    event = {"type": "MODIFIED", "object": body(ready=ready)}

    world.ingest.event(event)
    await asyncio.sleep(0)

    entry = world.store.get(Key(OWN, "web"))
    assert entry is not None
    assert entry.is_ready == ready
    assert await world.queue.get() == entry.key
    left = event["object"]
    assert "managedFields" not in left["metadata"]
    assert not left.keys() & {"spec", "status"}


async def test_deleted_object_is_forgotten_and_asked_for_no_more() -> None:
    world = World()
    world.left(body())

    world.ingest.event({"type": "DELETED", "object": body(version=8)})
    await asyncio.sleep(0)

    assert (len(world.store), len(world.queue), world.watch_state.objects) == (0, 0, 0)


async def test_events_of_other_parts_are_counted_and_no_more() -> None:
    world = World()

    world.ingest.event({"type": "ADDED", "object": body(namespace=FOREIGN)})
    await asyncio.sleep(0)

    assert (len(world.store), world.watch_state.objects) == (0, 1)


def test_nothing_is_handed_to_a_loop_that_has_ended() -> None:
    async def build() -> World:
        return World()

    world = asyncio.run(build())

    assert world.left(body()) == []
    world.ingest.event({"type": "ADDED", "object": body("two")})
    assert len(world.store) == 0
