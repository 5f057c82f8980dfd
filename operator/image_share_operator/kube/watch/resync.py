"""Finds objects that went without a word: what was deleted while no watch looked.

kopf lists anew when a watch can't be resumed. A list tells what there is, not what there was: an
object that it does not name would be kept true for ever.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from image_share_operator.api.errors import KubeError
from image_share_operator.api.types import GROUP, PLURAL, VERSION
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.client import ApiServer, path

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=10)
"""Where the count of objects does not tell that one is missing: see `sync_check`."""
PAGE = 500
ONLY_METADATA = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}


class Resync:
    """Compares the store with what there is."""

    def __init__(
        self, api: ApiServer, namespaces: Sequence[str], store: ObjectStore, queue: WorkQueue
    ) -> None:
        self._api = api
        self._namespaces = namespaces or ("",)
        self._store = store
        self._queue = queue

    async def run(self) -> None:
        """Compare now and then, until cancelled."""
        while True:
            await asyncio.sleep(EVERY.total_seconds())
            try:
                await self.take()
            except KubeError as exc:
                log.debug("no census: %s", exc)
            except Exception:
                # The next one may succeed: whatever is wrong must not stop the work.
                log.exception("no census")

    async def take(self) -> None:
        """Forget each object that is not there any more.

        Raises:
            KubeError: what there is could not be listed.
        """
        there: set[str] = set()
        as_of = [await self._list(namespace, there) for namespace in self._namespaces]
        for entry in self._store:
            if entry.uid not in there and entry.version <= min(as_of):
                log.info("%s: gone while no watch looked", entry.key)
                self._store.forget(entry.key, entry.uid)
                self._queue.forget(entry.key)

    async def _list(self, namespace: str, there: set[str]) -> int:
        """Add the uids of all objects; return the resourceVersion for which that is true."""
        where = ("namespaces", namespace) if namespace else ()
        query = {"limit": str(PAGE)}
        while True:
            page = await self._api.call(
                "list",
                path("apis", GROUP, VERSION, *where, PLURAL, **query),
                resource=PLURAL,
                namespace=namespace,
                headers=ONLY_METADATA,
            )
            # An empty list of metadata is null.
            there.update(item["metadata"]["uid"] for item in page["items"] or ())
            more = page["metadata"].get("continue")
            if not more:
                return int(page["metadata"]["resourceVersion"])
            query["continue"] = more
