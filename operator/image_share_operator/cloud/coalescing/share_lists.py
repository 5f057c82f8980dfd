"""Lists the images that an owner shares with one project; one list serves many reconciles.

A list is never older than the call that waits for it, unless the caller accepts an older one
(``max_age``): a cached one, or one that is being read. The first call waits `COLLECT_S` for others,
and two lists of an owner are `MIN_GAP_S` apart: all calls that arrive until then get the same list.

A list is complete, or the call fails: only a complete list shows that an image is not shared. IMS
is asked for the images of one owner, so that no other project can make the list long by sharing
many images. The owner of each row is checked all the same.
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from image_share_operator.api.errors import RetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Membership, Share
from image_share_operator.cloud.ims import codec
from image_share_operator.cloud.ims.codec import SharePage
from image_share_operator.cloud.ims.pagination import (
    PAGE_SIZE,
    MarkerGoneError,
    PageLengths,
    TooManyPagesError,
    pages,
)
from image_share_operator.telemetry import context

COLLECT_S = 0.02
"""How long the first call waits for others, in seconds: short against a request."""
MIN_GAP_S = 1.0
"""The shortest time between the starts of two lists of one owner, in seconds."""
CACHE_S = 20.0
"""How long a list is kept, in seconds. The resources of a project are checked within 10 s, so that
a list serves all of them; 5,000 images have 0.7 MB, and 1.6 MB when no other project has them."""
MAX_RESTARTS = 2
"""How often one list is read again after its marker left it."""
MAX_SHARES = 50_000
"""Images of one owner: 20 MB."""
LISTS = (Membership.ACCEPTED, Membership.PENDING, Membership.REJECTED)
"""In the order of the reads. The longest one is first: it shows how long the pages are. An image
that is in two of them moved during the read, and the later one is right."""


class ShareSource(Protocol):
    """The request to IMS that this module needs. It raises `CloudError`."""

    async def shared(
        self,
        membership: Membership,
        *,
        marker: str | None,
        limit: int,
        typed: bool,
        owner: str | None = None,
    ) -> SharePage:
        """Read one page of the images with this membership, after ``marker``."""
        ...


@dataclass(slots=True)
class _OwnerLists:
    """The lists of one owner.

    Attributes:
        started_at: when the latest list was started; time of the event loop.
        shares: of the latest list that was read; ``None`` before, and after `CACHE_S`.
        read_at: when that list was started.
        running: the list that is being read.
        next: the list that later calls wait for; it has not started yet.
    """

    started_at: float = float("-inf")
    read_at: float = float("-inf")
    shares: tuple[Share, ...] | None = None
    running: asyncio.Task[tuple[Share, ...]] | None = None
    next: asyncio.Task[tuple[Share, ...]] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class ShareLists:
    """Lists the shares of one project."""

    def __init__(self, source: ShareSource) -> None:
        self._source = source
        self._owners: dict[str, _OwnerLists] = {}
        self._reads: set[asyncio.Task[tuple[Share, ...]]] = set()

    async def read(self, owner: str, max_age: timedelta = timedelta()) -> tuple[Share, ...]:
        """List all images that ``owner`` shares, not older than ``max_age`` at the call.

        Raises:
            CloudError: the list could not be read to its end.
        """
        loop = asyncio.get_running_loop()
        lists = self._owners.setdefault(owner, _OwnerLists())
        oldest = loop.time() - max_age.total_seconds()
        if lists.shares is not None and lists.read_at >= oldest:
            return lists.shares
        if lists.running is not None and lists.started_at >= oldest:
            return await asyncio.shield(lists.running)
        if lists.next is None:
            lists.next = loop.create_task(self._read(owner, lists), context=context.shared())
            self._reads.add(lists.next)
            lists.next.add_done_callback(self._ended)
        # The cancellation of one call must not cancel others.
        return await asyncio.shield(lists.next)

    def _ended(self, read: asyncio.Task[tuple[Share, ...]]) -> None:
        self._reads.discard(read)
        if not read.cancelled():
            read.exception()  # all calls that wait get it; there may be none left

    async def _read(self, owner: str, lists: _OwnerLists) -> tuple[Share, ...]:
        """Read the list when it is due; calls that arrive after its start wait for the next one."""
        loop = asyncio.get_running_loop()
        async with lists.turn:
            await asyncio.sleep(max(COLLECT_S, lists.started_at + MIN_GAP_S - loop.time()))
            lists.running, lists.next = lists.next, None
            started_at = lists.started_at = loop.time()
            try:
                shares = await self._read_lists(owner)
            finally:
                lists.running = None
                # Also after a failure: an owner whose lists always fail must not stay in memory.
                loop.call_later(CACHE_S, self._evict, owner, started_at)
            lists.shares, lists.read_at = shares, started_at
        return shares

    async def _read_lists(self, owner: str) -> tuple[Share, ...]:
        found: dict[str, Share] = {}
        # Not kept for the next lists: a page that a lower limit of the server cut would seem short.
        lengths = PageLengths()
        for membership in LISTS:
            for _ in range(1 + MAX_RESTARTS):
                listed = await self._read_list(owner, membership, lengths)
                if listed is not None:
                    break
            else:
                raise RetryableError(
                    f"the list of the images that project {owner} shares changed while it was read"
                )
            found |= listed
        return tuple(found.values())

    async def _read_list(
        self, owner: str, membership: Membership, lengths: PageLengths
    ) -> dict[str, Share] | None:
        """The images with this membership; ``None`` when the list changed during the read."""
        found: dict[str, Share] = {}

        async def get_page(marker: str | None) -> SharePage:
            page = await self._source.shared(
                membership, marker=marker, limit=PAGE_SIZE, typed=False, owner=owner
            )
            for image in page.images:
                share = codec.read_share(page.raw[image], image, membership)
                if share.owner == owner:
                    found[image] = share
            return replace(page, raw={})  # 2 MB that would stay until the next page is read

        try:
            async for _ in pages(get_page, lengths):
                if len(found) > MAX_SHARES:
                    raise _too_long(owner)
        except MarkerGoneError:
            return None
        except TooManyPagesError:
            raise _too_long(owner) from None
        return found

    def _evict(self, owner: str, started_at: float) -> None:
        lists = self._owners.get(owner)
        if lists is None:
            return
        if lists.read_at == started_at:  # a newer list has its own time
            lists.shares = None
        if lists.started_at == started_at and lists.next is None and not lists.turn.locked():
            del self._owners[owner]


def _too_long(owner: str) -> TerminalError:
    return TerminalError(
        f"project {owner} shares more than {MAX_SHARES:,} images with the project, which is more "
        "than the operator reads. Ask the owner to withdraw old images.",
        reason=Reason.INVALID_REQUEST,
    )
