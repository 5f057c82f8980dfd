"""Whether this replica does what it is there for: the list is in, and the watch lives."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol

from image_share_operator.api.errors import KubeError
from image_share_operator.api.types import GROUP, PLURAL, VERSION
from image_share_operator.kube.client import ApiServer, path

log = logging.getLogger(__name__)

FIRST = timedelta(seconds=1)
"""Between two looks while it is not ready."""
LATER = timedelta(seconds=5)
DEAF = timedelta(seconds=10)
"""So long the watch may neither be open nor bring anything while the API server answers…"""
MOST_DEAF = timedelta(minutes=5)
"""…and so long at most, where beginning anew did not help."""


class WatchView(Protocol):
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

    def restart(self) -> None:
        """Begin anew."""
        ...


class SyncCheck:
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
        watch: WatchView,
        recount: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._api = api
        self._namespaces = namespaces or ("",)
        self._known = known
        self._watch = watch
        self._recount = recount
        self._in: object = None  # the list that was seen to be complete
        self._why = "the first list is not in"
        self._answered = False
        self._seen: object = None
        self._still_since = 0.0
        self._patience = DEAF

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
            self._mend()
            pause = FIRST if self.why_not() else LATER
            await asyncio.sleep(pause.total_seconds())

    def _mend(self) -> None:
        """Have the watch begin anew when nothing else would.

        Where it may not watch CRDs, kopf looks for the kind when it starts, and never again: a
        CRD that comes a moment later, or again, is not seen.
        """
        now = asyncio.get_running_loop().time()
        seen = (self._watch.alive, self._watch.lists, self._watch.listed)
        if self._watch.alive:
            self._patience = DEAF
        if self._watch.alive or not self._answered or seen != self._seen:
            self._seen, self._still_since = seen, now
        elif now >= self._still_since + self._patience.total_seconds():
            log.warning("no watch is open although the API server answers: begins anew")
            self._patience = min(2 * self._patience, MOST_DEAF)
            self._still_since = now
            self._watch.restart()

    async def _look(self) -> str:
        self._answered = False
        try:
            why = await self._compare()
        except KubeError as exc:
            return str(exc)
        except Exception:
            # It only tells: whatever is wrong with it must not stop the work.
            log.exception("no readiness")
            return "what there is could not be counted"
        self._answered = True
        return why

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
