"""Reads memberships of one project with few requests for many reconciles.

Theory of operation
-------------------

IMS has two requests for memberships. A *single read* returns the membership of one image. A *list*
returns all images with one membership, 500 on a page; there are three lists (pending, rejected,
accepted). So a single read costs one request for one image, and all lists cost at least three
requests for any number of images.

A result is never older than the call that waits for it, unless the caller accepts an older one
(``max_age``). Then a cached list is used, for up to ten minutes.

**Which request is used.** The first call waits `COLLECT_S` for others. Then:

    1  a cached list that is new enough is used for all images that are in it
    2  the rest is read singly if the token bucket has a token for each image (`READ_BURST`, then
       `READS_PER_S`) and no cycle (3) ran a moment ago
    3  otherwise a *cycle* starts: it waits for more calls, then reads the lists once for all
    4  a cycle with no more images than the lists have pages reads them singly instead; so does
       each cycle for ten minutes after IMS refused a list
    5  images that are in no list are read singly: they are not shared, or they moved between two
       lists during the read

**How long a cycle waits.** Two cycles are `MIN_LIST_GAP_S` apart, or longer when the lists have
many pages (`PAGES_PER_S`), up to `MAX_LIST_GAP_S`. Two rules end the wait early:

    - after `MIN_LIST_GAP_S`: many images wait, `IMAGES_PER_PAGE` for each page of the lists
    - no call arrived for `IDLE_S`, so that a wait would collect no more images. A token bucket
      limits this rule (`EARLY_LISTS`): calls in step would otherwise cause a list for each step

**Errors.** A call gets a result for each of its images: the membership, or the error of the request
that should have read it. So one image that can't be read does not keep a call from the others. An
error that all images of a call share is raised. A failed list is the error of all images of its
cycle: single reads would be many requests to a cloud that fails.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from image_share_operator.api.errors import (
    CloudError,
    ImagesRefusedError,
    RetryableError,
    TerminalError,
)
from image_share_operator.api.types import ImageDetails, Membership
from image_share_operator.cloud.coalescing.membership_requests import (
    MembershipRequest,
    Result,
    Waiter,
)
from image_share_operator.cloud.ims import codec
from image_share_operator.cloud.ims.codec import SharePage
from image_share_operator.cloud.ims.pagination import (
    PAGE_SIZE,
    MarkerGoneError,
    PageLengths,
    TooManyPagesError,
    pages,
)
from image_share_operator.flowcontrol.token_bucket import TokenBucket
from image_share_operator.telemetry import context

COLLECT_S = 0.02
"""How long the first call waits for others, in seconds: short against a request."""
MIN_LIST_GAP_S = 1.0
"""The shortest time between two cycles, in seconds."""
PAGES_PER_S = 3.0
"""Pages of lists per second: the gap between two cycles grows with the number of pages."""
MAX_LIST_GAP_S = 3.0
"""The longest gap between two cycles, in seconds: no call waits longer for its cycle."""
IMAGES_PER_PAGE = 40
"""Waiting images for each page that end the gap early: a page then costs little for each image."""
IDLE_S = 0.2
"""Time without a new call that ends the gap early, in seconds."""
EARLY_LISTS = 2.0
"""Cycles in a row that `IDLE_S` may start early. The last resources of a large group need two: one
before their batch and one after it."""
EARLY_LISTS_PER_S = 0.1
"""How many of `EARLY_LISTS` become available again per second."""
MAX_CONCURRENT_READS = 8
"""Single reads of one project in flight."""
READ_BURST = 16.0
"""Single reads that a project may send at once. More images are cheaper to read from lists."""
READS_PER_S = 2.0
"""How many of `READ_BURST` become available again per second."""
MAX_RESTARTS = 2
"""How often one list is read again after its marker left it; then its images are read singly."""
MAX_ROWS = 50_000
"""Images of a cached list: 6 MB. Images after them are read singly."""
MAX_DETAILS = 10_000
"""Images of one project whose names are kept: 3 MB."""
CACHE_TIME = timedelta(minutes=10)
"""How long a list is cached. A drift check accepts an age of a tenth of ``spec.interval``: six
minutes by default."""
LISTS_REFUSED_S = 600.0
"""How long no list is read after IMS refused one, in seconds. Single reads need another
permission, so they may work."""
LISTS: tuple[Membership, ...] = (Membership.PENDING, Membership.REJECTED, Membership.ACCEPTED)
"""The lists, in the order of the first read."""


class MembershipSource(Protocol):
    """The requests to IMS that this module needs. All methods raise `CloudError`."""

    async def member(self, image: str) -> Membership:
        """Read the membership of one image."""
        ...

    async def shared(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> SharePage:
        """Read one page of the images with this membership, after ``marker``."""
        ...


@dataclass(slots=True)
class _ListResult:
    """The memberships that one cycle read from the lists.

    Attributes:
        started_at: time of the event loop.
        requested: the images of the cycle.
        complete: whether all lists were read to their end, or until all images were found.
    """

    started_at: float
    rows: dict[str, Membership] = field(default_factory=dict[str, Membership])
    requested: frozenset[str] = frozenset()
    pages: int = 0
    complete: bool = True


class MembershipLookup:
    """Reads the memberships of one project."""

    def __init__(self, source: MembershipSource) -> None:
        self._source = source
        self._waiting: dict[str, MembershipRequest] = {}
        self._next: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._single_reads: set[asyncio.Task[None]] = set()
        self._concurrent_reads = asyncio.Semaphore(MAX_CONCURRENT_READS)
        self._read_tokens = TokenBucket(READ_BURST, READS_PER_S)
        self._early_list_tokens = TokenBucket(EARLY_LISTS, EARLY_LISTS_PER_S)
        self._last_call_at = float("-inf")
        self._cached: _ListResult | None = None
        self._details: dict[str, ImageDetails] = {}
        self._pages = len(LISTS)
        self._last_cycle_at = float("-inf")
        self._lists_refused_until = float("-inf")
        self._order = LISTS
        self._typed = True
        self._page_lengths = PageLengths()

    async def read(
        self, images: tuple[str, ...], max_age: timedelta = timedelta()
    ) -> Mapping[str, Result]:
        """Read the memberships of all ``images``, not older than ``max_age`` at the call.

        Args:
            images: at least one, without duplicates.

        Returns:
            For each image its membership, or the error that kept it from being read.

        Raises:
            CloudError: no image could be read, and the remedy is the same for all.
        """
        loop = asyncio.get_running_loop()
        not_before = loop.time() - max_age.total_seconds()
        cached = self._cached
        if (
            cached is not None
            and cached.started_at >= not_before
            and all(image in cached.rows for image in images)
        ):
            return {image: cached.rows[image] for image in images}
        # A future of its own: the cancellation of one call must not cancel others.
        waiter = Waiter(len(images), loop.create_future())
        for image in images:
            self._request(image, not_before, cacheable=bool(max_age)).waiters.append(waiter)
        self._last_call_at = loop.time()
        if self._next is None:
            self._collect()
        found = await waiter.result
        raise_common_error(found.values())
        return {image: found[image] for image in images}

    def details(self, images: tuple[str, ...]) -> Mapping[str, ImageDetails]:
        """Names and owners of those of the ``images`` that a list of this process had."""
        known = self._details
        return {image: known[image] for image in images if image in known}

    def _request(self, image: str, not_before: float, *, cacheable: bool) -> MembershipRequest:
        request = self._waiting.get(image)
        if request is None:
            request = self._waiting[image] = MembershipRequest(image, not_before, cacheable)
        request.not_before = max(request.not_before, not_before)
        request.cacheable |= cacheable
        return request

    def _collect(self) -> None:
        """Start after `COLLECT_S`, with all calls that arrive until then."""
        loop = asyncio.get_running_loop()
        self._next = loop.call_later(COLLECT_S, self._begin, context=context.shared())

    def _begin(self) -> None:
        """Serve all waiting requests: at once if possible, else in a cycle."""
        served = self._serve_at_once()
        self._next = None if served else asyncio.create_task(self._cycle())

    def _serve_at_once(self) -> bool:
        """Serve all waiting requests from the cache and by single reads, if allowed."""
        self._serve_from_cache()
        now = asyncio.get_running_loop().time()
        recent_cycle = now < self._last_cycle_at + self._gap_s()
        if recent_cycle or not self._read_tokens.take(len(self._waiting), now):
            return not self._waiting
        self._start_single_reads(self._take_waiting())
        return True

    async def _cycle(self) -> None:
        """Serve all requests that wait when the gap ends; then start again for later ones."""
        loop = asyncio.get_running_loop()
        try:
            await self._wait_for_gap()
            self._last_cycle_at = loop.time()
            requests = self._take_waiting()
            if len(requests) <= self._pages or loop.time() < self._lists_refused_until:
                self._start_single_reads(requests)
            else:
                await self._read_from_lists(requests)
        finally:
            self._next = None
            if self._waiting:
                self._collect()

    def _gap_s(self) -> float:
        return min(MAX_LIST_GAP_S, max(MIN_LIST_GAP_S, self._pages / PAGES_PER_S))

    async def _wait_for_gap(self) -> None:
        """Wait for the gap after the last cycle, or until a rule ends it early."""
        loop = asyncio.get_running_loop()
        soonest, latest = self._last_cycle_at + MIN_LIST_GAP_S, self._last_cycle_at + self._gap_s()
        step = IDLE_S / 2
        may_end_when_idle = True
        while (now := loop.time()) < latest - step:
            if now >= soonest and len(self._waiting) >= IMAGES_PER_PAGE * self._pages:
                return
            if may_end_when_idle and now >= self._last_call_at + IDLE_S:
                if self._early_list_tokens.take(1, now):
                    return
                may_end_when_idle = False
            await asyncio.sleep(step)
        await asyncio.sleep(latest - now)

    def _serve_from_cache(self) -> None:
        """Serve the requests for which a list was cached during their wait."""
        cached = self._cached
        if cached is None:
            return
        for image, request in tuple(self._waiting.items()):
            if cached.started_at >= request.not_before and image in cached.rows:
                request.set_result(cached.rows[image])
                del self._waiting[image]

    def _take_waiting(self) -> dict[str, MembershipRequest]:
        requests, self._waiting = self._waiting, {}
        return requests

    def _start_single_reads(
        self, requests: Mapping[str, MembershipRequest]
    ) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self._read_single(request)) for request in requests.values()]
        for task in tasks:
            self._single_reads.add(task)
            task.add_done_callback(self._single_reads.discard)
        return tasks

    async def _read_single(self, request: MembershipRequest) -> None:
        """Read one image; an error is the result of this image only."""
        async with self._concurrent_reads:
            try:
                request.set_result(await self._source.member(request.image))
            except asyncio.CancelledError:
                request.cancel()
                raise
            except Exception as exc:  # noqa: BLE001 - each reconcile that waits gets it
                request.set_exception(exc)

    async def _read_from_lists(self, requests: dict[str, MembershipRequest]) -> None:
        """Read the lists; read images that are in none of them singly.

        Most of these are not shared. Some moved, from a list that was read later into one that was
        read before.
        """
        loop = asyncio.get_running_loop()
        cacheable = any(request.cacheable for request in requests.values())
        found = _ListResult(started_at=loop.time(), requested=frozenset(requests))
        try:
            await self._read_lists(found, None if cacheable else set(requests))
        except (TerminalError, ImagesRefusedError):
            self._lists_refused_until = loop.time() + LISTS_REFUSED_S
        except Exception as exc:  # noqa: BLE001 - each reconcile that waits gets it
            for request in requests.values():
                request.set_exception(exc)
            return
        else:
            self._pages = max(found.pages, len(LISTS))
            if cacheable:
                self._cache(found)
        missing: dict[str, MembershipRequest] = {}
        for image, request in requests.items():
            if image in found.rows:
                request.set_result(found.rows[image])
            else:
                missing[image] = request
        if missing:
            await asyncio.wait(self._start_single_reads(missing))
        # Some clouds return no pending shares for the filter of the API reference.
        if found.complete:
            self._typed &= not any(
                request.result is Membership.PENDING for request in missing.values()
            )

    async def _read_lists(self, found: _ListResult, wanted: set[str] | None) -> None:
        """Read lists until all ``wanted`` are found; ``None`` reads all rows, up to `MAX_ROWS`."""
        hits = dict.fromkeys(LISTS, 0)
        for membership in self._order:
            async for page in self._pages_of(membership, found):
                for image in page:
                    if wanted is None:
                        found.rows[image] = membership
                    elif image in wanted:
                        wanted.discard(image)
                        found.rows[image] = membership
                        hits[membership] += 1
                if len(found.rows) >= MAX_ROWS:
                    found.complete = False
                    return
                if wanted is not None and not wanted:
                    break
            if wanted is not None and not wanted:
                break
        if wanted is not None:
            self._order = tuple(sorted(LISTS, key=lambda one: -hits[one]))

    async def _pages_of(
        self, membership: Membership, found: _ListResult
    ) -> AsyncIterator[tuple[str, ...]]:
        """The pages of one list; it is read again when its marker leaves it."""

        async def get_page(marker: str | None) -> SharePage:
            found.pages += 1
            page = await self._source.shared(
                membership, marker=marker, limit=PAGE_SIZE, typed=self._typed
            )
            self._note_details(page, found.requested)
            return page

        for _ in range(1 + MAX_RESTARTS):
            try:
                async for page in pages(get_page, self._page_lengths):
                    yield page.images
            except MarkerGoneError:
                continue
            except TooManyPagesError:
                break
            return
        found.complete = False

    def _note_details(self, page: SharePage, requested: frozenset[str]) -> None:
        if len(self._details) >= MAX_DETAILS:
            self._details.clear()  # simpler than an order; the statuses keep them
        for image in requested.intersection(page.raw):
            self._details[image] = codec.read_details(page.raw[image])

    def _cache(self, found: _ListResult) -> None:
        self._cached = found
        loop = asyncio.get_running_loop()
        loop.call_later(CACHE_TIME.total_seconds(), self._evict, found)

    def _evict(self, found: _ListResult) -> None:
        if self._cached is found:
            self._cached = None


def raise_common_error(results: Collection[Result]) -> None:
    """Raise the error that all images share: it is not about one of them."""
    errors = [result for result in results if isinstance(result, CloudError)]
    if len(errors) == len(results) and len({_remedy(error) for error in errors}) == 1:
        raise errors[0]


def _remedy(error: CloudError) -> object:
    """Equal for errors with the same remedy: a retry, a permission, another Secret and so on."""
    if isinstance(error, RetryableError):
        return RetryableError
    return error.reason if isinstance(error, TerminalError) else type(error)
