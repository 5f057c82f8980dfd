"""Resync: removes objects from the store that were deleted while no watch was open.

kopf lists again when a watch cannot be resumed. A list does not name deleted objects, so the store
would keep them.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from image_share_operator.api.errors import KubeError
from image_share_operator.api.types import GROUP, PLURAL, VERSION
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.client import ApiServer, pages

log = logging.getLogger(__name__)

INTERVAL = timedelta(minutes=10)
"""Between two resyncs. They find the deletions that `sync_check` cannot see by the count."""
ONLY_METADATA = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}


class Resync:
    """Compares the store with a list of all objects."""

    def __init__(
        self, api: ApiServer, namespaces: Sequence[str], store: ObjectStore, queue: WorkQueue
    ) -> None:
        self._api = api
        self._namespaces = namespaces or ("",)
        self._store = store
        self._queue = queue

    async def run(self) -> None:
        """Resync at each interval until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL.total_seconds())
            try:
                await self.resync()
            except KubeError as exc:
                log.debug("resync failed: %s", exc)
            except Exception:
                # The next resync may succeed.
                log.exception("resync failed")

    async def resync(self) -> None:
        """Remove each object from the store that does not exist any more.

        Raises:
            KubeError: the objects could not be listed.
        """
        uids: set[str] = set()
        versions = [await self._list(namespace, uids) for namespace in self._namespaces]
        for entry in self._store:
            if entry.uid not in uids and entry.version <= min(versions):
                log.info("%s: deleted while no watch was open", entry.key)
                self._store.forget(entry.key, entry.uid)
                self._queue.forget(entry.key)

    async def _list(self, namespace: str, uids: set[str]) -> int:
        """Add the uids of all objects to ``uids``; return the resourceVersion of the list."""
        where = ("namespaces", namespace) if namespace else ()
        version = 0
        async for page in pages(
            self._api,
            *("apis", GROUP, VERSION, *where, PLURAL),
            resource=PLURAL,
            namespace=namespace,
            headers=ONLY_METADATA,
        ):
            # ``items`` of an empty PartialObjectMetadataList is null.
            uids.update(item["metadata"]["uid"] for item in page["items"] or ())
            version = int(page["metadata"]["resourceVersion"])
        return version
