"""The sync check: whether the store has all objects and a watch is open. Serves readiness."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol

from image_share_operator.api.errors import KubeError
from image_share_operator.api.types import GROUP, PLURAL, VERSION
from image_share_operator.kube.client import ApiServer, path

log = logging.getLogger(__name__)

FIRST_INTERVAL = timedelta(milliseconds=200)
"""Between two checks before the first list is complete, for each namespace that is watched: new
resources wait for it."""
NOT_READY_INTERVAL = timedelta(seconds=1)
"""Between two checks while the replica is not ready."""
READY_INTERVAL = timedelta(seconds=5)
"""Between two checks while the replica is ready."""
RESTART_AFTER = timedelta(seconds=10)
"""kopf is restarted when no watch is open and nothing arrives for this time, although the API
server responds."""
MAX_RESTART_AFTER = timedelta(minutes=5)
"""Each restart without success doubles the time, up to this limit."""


class WatchView(Protocol):
    """The properties of the watch that this module needs."""

    @property
    def is_open(self) -> bool:
        """Whether all watch streams are open, as far as is known."""
        ...

    @property
    def list_id(self) -> object:
        """Identifies the latest list; changes when kopf lists again."""
        ...

    @property
    def object_count(self) -> int:
        """The number of objects in the latest list and in the events after it."""
        ...

    def restart(self) -> None:
        """Restart kopf."""
        ...


class SyncCheck:
    """Compares the objects that the watch received with the number in the API server.

    Args:
        stored_count: returns how many objects the operator has; deleted ones may be among them.
        resync: called when the operator has more objects than the API server; ``None`` where the
            counts cannot be compared.
    """

    def __init__(
        self,
        api: ApiServer,
        namespaces: Sequence[str],
        *,
        stored_count: Callable[[], int],
        watch: WatchView,
        resync: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._api = api
        self._namespaces = namespaces or ("",)
        self._stored_count = stored_count
        self._watch = watch
        self._resync = resync
        self._complete_list: object = None  # the id of the latest list that was complete
        self._problem = "the first list is not complete"
        self._api_responds = False
        self._last_state: object = None
        self._unchanged_since = 0.0
        self._restart_after = RESTART_AFTER

    def why_not_ready(self) -> str | None:
        """Return the reason why the replica is not ready; ``None`` if it is."""
        if self._problem:
            return self._problem
        is_lost = not self._watch.is_open or self._complete_list != self._watch.list_id
        return "the watch is lost" if is_lost else None

    @property
    def has_synced(self) -> bool:
        """Whether a list was complete once."""
        return self._complete_list is not None

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            self._problem = await self._check()
            self._restart_if_stuck()
            await asyncio.sleep(self._interval().total_seconds())

    def _interval(self) -> timedelta:
        if not self.why_not_ready():
            return READY_INTERVAL
        first = not self.has_synced and self._api_responds
        return min(
            FIRST_INTERVAL * len(self._namespaces) if first else NOT_READY_INTERVAL,
            NOT_READY_INTERVAL,
        )

    def _restart_if_stuck(self) -> None:
        """Restart kopf when it does not recover.

        Without permission to watch CRDs, kopf searches for the kind only at its start. It does not
        see a CRD that is installed later, or again.
        """
        now = asyncio.get_running_loop().time()
        state = (self._watch.is_open, self._watch.list_id, self._watch.object_count)
        if self._watch.is_open:
            self._restart_after = RESTART_AFTER
        if self._watch.is_open or not self._api_responds or state != self._last_state:
            self._last_state, self._unchanged_since = state, now
        elif now >= self._unchanged_since + self._restart_after.total_seconds():
            log.warning("no watch is open although the API server responds; restarting kopf")
            self._restart_after = min(2 * self._restart_after, MAX_RESTART_AFTER)
            self._unchanged_since = now
            self._watch.restart()

    async def _check(self) -> str:
        """Return the problem; empty if there is none."""
        self._api_responds = False
        try:
            problem = await self._compare()
        except KubeError as exc:
            return str(exc)
        except Exception:
            # Reconciles must continue without this check.
            log.exception("sync check failed")
            return "the sync check failed; see the log"
        self._api_responds = True
        return problem

    async def _compare(self) -> str:
        existing = sum([await self._count(namespace) for namespace in self._namespaces])
        list_id, received = self._watch.list_id, self._watch.object_count
        await asyncio.sleep(0)  # until the store has what was received: see `Ingest`
        if received >= existing and self._watch.is_open:
            self._complete_list = list_id
        if self._resync is not None and self._stored_count() > existing:
            await self._resync()
        if self._complete_list == list_id:
            return ""
        if received >= existing:
            return "no watch is open"
        return f"the list is not complete: {received} of {existing} objects"

    async def _count(self, namespace: str) -> int:
        """Return the number of objects: one listed, and the ``remainingItemCount``."""
        where = ("namespaces", namespace) if namespace else ()
        page = await self._api.call(
            "list",
            path("apis", GROUP, VERSION, *where, PLURAL, limit="1"),
            resource=PLURAL,
            namespace=namespace,
        )
        return len(page["items"] or ()) + int(page["metadata"].get("remainingItemCount") or 0)
