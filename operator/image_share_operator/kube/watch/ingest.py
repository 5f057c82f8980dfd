"""Ingest: passes the events and list pages of the watch to the object store and the work queue.

Events come from the handler of kopf. Most objects of a list are known or settled, so there is
nothing to handle: they go from the page into the store without kopf, which needs 0.3 ms for each
(ADR 11). All methods of `Ingest` run in the thread of the watch.
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
"""The JSON of an object."""


def apply_event(event: Mapping[str, Any], store: ObjectStore, queue: WorkQueue) -> None:
    """Apply one watch event to the store, and queue its key when the object needs a reconcile."""
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


def apply_settled(entries: Sequence[CachedObject], store: ObjectStore, queue: WorkQueue) -> None:
    """Store settled objects of a list, and queue them: a reconcile schedules the drift check."""
    for entry in entries:
        changed = store.admit(entry)
        if changed is not None:
            queue.add(changed)


class Ingest:
    """Passes what one run of the watch receives to the main loop.

    Args:
        home: the loop that the store and the queue belong to.
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
        self._watch_state = watch_state
        self._home = home

    def handle_event(self, event: Mapping[str, Any]) -> None:
        """Handle an event from the handler of kopf. Removes spec and status from its object."""
        detached = _detach(event)
        if self._shard.owns(detached["object"]["metadata"]["namespace"]):
            self._call_home(apply_event, detached)
        self._watch_state.count(detached)

    def filter_page(self, page: Any) -> Any:
        """Store the settled objects of a list page.

        Returns:
            The page with the objects that kopf must handle; any other response unchanged.
        """
        match page:
            case {"kind": kind, "items": [*bodies]} if kind == f"{KIND}List":
                return {**page, "items": self._filter_items(bodies)}
            case _:
                return page

    def is_known(self, key: Key, uid: str, version: int) -> bool:
        """Whether the object belongs to another shard, or this version of it is in the store."""
        return not self._shard.owns(key.namespace) or self._store.has_version(key, uid, version)

    def _filter_items(self, bodies: list[Body]) -> list[Body]:
        settled: list[CachedObject] = []
        for_kopf: list[Body] = []
        bypassed: list[Body] = []
        for body in bodies:
            (bypassed if self._bypasses_kopf(body, settled) else for_kopf).append(body)
        if settled:
            self._call_home(apply_settled, settled)
        for body in bypassed:
            self._watch_state.count({"type": None, "object": body})
        return for_kopf

    def _bypasses_kopf(self, body: Body, settled: list[CachedObject]) -> bool:
        """Whether kopf need not handle an object; adds it to ``settled`` if it is not known."""
        try:
            metadata = _drop_managed_fields(body)
            key = Key(metadata["namespace"], metadata["name"])
            if self.is_known(key, metadata["uid"], int(metadata["resourceVersion"])):
                return True
            entry = self._store.read(body)
        except Exception:  # noqa: BLE001 - an object that cannot be parsed must not block the list
            return False
        if entry.is_settled:
            settled.append(entry)
        return entry.is_settled

    def _call_home(
        self, apply: Callable[[Any, ObjectStore, WorkQueue], None], what: object
    ) -> None:
        """Call ``apply`` in the main loop.

        Must be called before `WatchState.count`: `SyncCheck` relies on the order. What is counted
        is in the store one iteration of the main loop later.
        """
        with contextlib.suppress(RuntimeError):  # the main loop is closed: the process ends
            self._home.call_soon_threadsafe(apply, what, self._store, self._queue)


def _drop_managed_fields(body: Body) -> Body:
    """Return the metadata without the managed fields, which are about 40 unused dicts and lists."""
    metadata: Body = body["metadata"]
    metadata.pop("managedFields", None)
    return metadata


def _detach(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the event, and remove all but the metadata from kopf's object.

    kopf's views of an object are a reference cycle: they would keep spec and status in memory until
    the garbage collector runs.
    """
    body: Body = event["object"]
    _drop_managed_fields(body)
    detached = {**event, "object": dict(body)}
    for field in ("spec", "status"):
        body.pop(field, None)
    return detached
