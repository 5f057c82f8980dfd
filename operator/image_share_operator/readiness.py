"""Whether this replica does what it is there for: the list is in, and the watch lives."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol

from image_share_operator.api import GROUP, PLURAL, VERSION
from image_share_operator.apiserver import ApiServer, path
from image_share_operator.errors import KubeError

log = logging.getLogger(__name__)

FIRST = timedelta(seconds=1)
"""Between two looks while it is not ready."""
LATER = timedelta(seconds=5)


class Watch(Protocol):
    """The watch, as far as this room needs it."""

    @property
    def alive(self) -> bool:
        """Whether changes come in, as far as is known."""
        ...

    @property
    def lists(self) -> object:
        """Changes whenever all is listed anew."""
        ...

    @property
    def listed(self) -> int:
        """How many objects the latest list has brought, and the watch since."""
        ...


class Readiness:
    """Compares what the watch has brought with what there is; then looks whether it can go on.

    Args:
        known: how many objects are served; deleted ones may be among them.
        recount: called when more is known than there is; ``None`` where that can't be told.
    """

    def __init__(
        self,
        api: ApiServer,
        namespaces: Sequence[str],
        *,
        known: Callable[[], int],
        watch: Watch,
        recount: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._api = api
        self._namespaces = namespaces or ("",)
        self._known = known
        self._watch = watch
        self._recount = recount
        self._in: object = None  # the list that was seen to be complete
        self._why = "the first list is not in"

    def why_not(self) -> str | None:
        """Why the replica is not ready; ``None`` when it is."""
        if self._why:
            return self._why
        lost = not self._watch.alive or self._in != self._watch.lists
        return "the watch is lost" if lost else None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._why = await self._look()
            pause = FIRST if self.why_not() else LATER
            await asyncio.sleep(pause.total_seconds())

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
        lists, listed = self._watch.lists, self._watch.listed
        await asyncio.sleep(0)  # what the watch has brought by now is taken in before this goes on
        if listed >= there and self._watch.alive:
            self._in = lists
        if self._recount is not None and self._known() > there:
            await self._recount()
        if self._in == lists:
            return ""
        return "no watch is open" if listed >= there else f"the list is not in: {listed} of {there}"

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
