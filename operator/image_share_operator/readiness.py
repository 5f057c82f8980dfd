"""Whether this replica does what it is there for: the first list is in, and the watch lives."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from image_share_operator.api import GROUP, PLURAL, VERSION
from image_share_operator.apiserver import ApiServer, path
from image_share_operator.errors import KubeError

log = logging.getLogger(__name__)

FIRST = timedelta(seconds=1)
"""Between two looks before the first list is in."""
LATER = timedelta(seconds=5)


class Readiness:
    """Compares what the watch has brought with what there is; then looks whether it can go on.

    Args:
        known: how many objects the watch has brought.
        watching: whether the watch lives, as far as its own thread knows.
        recount: called when more is known than there is; ``None`` where `known` tells no more
            than that the first list is in.
    """

    def __init__(
        self,
        api: ApiServer,
        namespaces: Sequence[str],
        *,
        known: Callable[[], int],
        watching: Callable[[], bool],
        recount: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._api = api
        self._namespaces = namespaces or ("",)
        self._known = known
        self._watching = watching
        self._recount = recount
        self._listed = False
        self._why = "the first list is not in"

    def why_not(self) -> str | None:
        """Why the replica is not ready; ``None`` when it is."""
        return self._why or (None if self._watching() else "the watch is lost")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._why = await self._look()
            await asyncio.sleep((LATER if self._listed else FIRST).total_seconds())

    async def _look(self) -> str:
        try:
            return await self._compare()
        except KubeError as exc:
            return str(exc)
        except Exception:
            # It only tells: whatever is wrong with it must not stop the work.
            log.exception("no readiness")
            return "what there is could not be counted"

    async def _compare(self) -> str:
        there = sum([await self._count(namespace) for namespace in self._namespaces])
        self._listed |= self._known() >= there
        if self._recount is not None and self._known() > there:
            await self._recount()
        return "" if self._listed else f"the first list is not in: {self._known()} of {there}"

    async def _count(self, namespace: str) -> int:
        """How many objects there are: one, and how many the API server says remain."""
        where = ("namespaces", namespace) if namespace else ()
        page = await self._api.call(
            "list",
            path("apis", GROUP, VERSION, *where, PLURAL, limit="1"),
            resource=PLURAL,
            namespace=namespace,
        )
        return len(page["items"] or ()) + int(page["metadata"].get("remainingItemCount") or 0)
