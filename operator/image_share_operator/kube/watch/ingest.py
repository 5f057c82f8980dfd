"""What the watch shows on its way into the store: in the watching thread up to the last step.

Changes come one by one, from kopf's handler. A list comes by the page, and of most of its objects
there is nothing to handle: they are known, or Ready. kopf takes 0.3 ms to carry an object, so these
do not go through it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from image_share_operator.api.types import KIND, Key
from image_share_operator.controller.object_store import CachedObject, ObjectStore
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.watch.watch_state import WatchState
from image_share_operator.sharding import Shard

Body = dict[str, Any]
"""An object as the API server shows it."""


def take(event: Mapping[str, Any], store: ObjectStore, queue: WorkQueue) -> None:
    """Put one watch event into the store, and its key into the queue if it needs a pass."""
    body: Body = event["object"]
    if event["type"] == "DELETED":
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        store.forget(key, metadata["uid"])
        if store.get(key) is None:
            queue.forget(key)
        return
    changed = store.observe(body)
    if changed is not None:
        queue.add(changed)


def take_settled(entries: Sequence[CachedObject], store: ObjectStore, queue: WorkQueue) -> None:
    """Put what a list showed into the store; a pass finds out when each is looked at again."""
    for entry in entries:
        changed = store.admit(entry)
        if changed is not None:
            queue.add(changed)


class Ingest:
    """Hands over what one run of the watch shows.

    Args:
        home: the loop that store and queue belong to.
    """

    def __init__(
        self,
        store: ObjectStore,
        queue: WorkQueue,
        *,
        shard: Shard,
        watch_state: WatchState,
        home: asyncio.AbstractEventLoop,
    ) -> None:
        self._store = store
        self._queue = queue
        self._shard = shard
        self._streams = watch_state
        self._home = home

    def event(self, event: Mapping[str, Any]) -> None:
        """Take an event from kopf's handler. Its object loses what is taken."""
        own = _taken_from_kopf(event)
        if self._shard.owns(own["object"]["metadata"]["namespace"]):
            self._hand_over(take, own)
        self._streams.brought(own)

    def page(self, found: Any) -> Any:
        """Take what needs no handler from an answer of the API server, if it is a page of the list.

        Returns:
            The answer with the other objects alone.
        """
        match found:
            case {"kind": kind, "items": [*bodies]} if kind == f"{KIND}List":
                return {**found, "items": self._left_of(bodies)}
            case _:
                return found

    def is_known(self, key: Key, uid: str, version: int) -> bool:
        """Whether this version of an object is none of our business any more."""
        return not self._shard.owns(key.namespace) or self._store.is_echo(key, uid, version)

    def _left_of(self, bodies: list[Body]) -> list[Body]:
        settled: list[CachedObject] = []
        left: list[Body] = []
        taken: list[Body] = []
        for body in bodies:
            (taken if self._takes(body, settled) else left).append(body)
        if settled:
            self._hand_over(take_settled, settled)
        for body in taken:
            self._streams.brought({"type": None, "object": body})
        return left

    def _takes(self, body: Body, settled: list[CachedObject]) -> bool:
        """Whether kopf need not carry an object; it is added to ``settled`` if it is not known."""
        try:
            metadata = _lean_metadata(body)
            key = Key(metadata["namespace"], metadata["name"])
            if self.is_known(key, metadata["uid"], int(metadata["resourceVersion"])):
                return True
            entry = self._store.read(body)
        except Exception:  # noqa: BLE001 - whatever is wrong with one, the others come in
            return False
        if entry.is_settled:
            settled.append(entry)
        return entry.is_settled

    def _hand_over(self, act: Callable[[Any, ObjectStore, WorkQueue], None], what: object) -> None:
        """Must come before it is counted: what is counted is in the store a turn later."""
        with contextlib.suppress(RuntimeError):  # that loop has ended: so will this one
            self._home.call_soon_threadsafe(act, what, self._store, self._queue)


def _lean_metadata(body: Body) -> Body:
    """Its metadata, out of which goes what nobody reads: some forty dicts and lists."""
    metadata: Body = body["metadata"]
    metadata.pop("managedFields", None)
    return metadata


def _taken_from_kopf(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event, of whose object nothing is left to kopf but what it is called.

    kopf's views of an object refer to each other, so what is in it waits for the collector.
    """
    body: Body = event["object"]
    _lean_metadata(body)
    own = {**event, "object": dict(body)}
    for part in ("spec", "status"):
        body.pop(part, None)
    return own
