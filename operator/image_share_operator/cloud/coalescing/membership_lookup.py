"""The memberships of one project: few looks for many who ask.

A single image costs one call; a list of all shares costs one call for each of its pages. Whoever
asks gets an answer that was read after the question, unless an older one will do.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from image_share_operator.api.errors import ImagesRefusedError, TerminalError
from image_share_operator.api.types import Membership
from image_share_operator.cloud.coalescing.membership_requests import MembershipRequest, Waiter
from image_share_operator.cloud.ims.codec import SharePage
from image_share_operator.cloud.ims.pagination import PAGE, EndlessError, MovedError, pages
from image_share_operator.flowcontrol.token_bucket import TokenBucket
from image_share_operator.telemetry import context

GATHER_S = 0.02
"""How long the first question waits for others."""
LIST_GAP_S = 1.0
"""Between two lists while questions pour in…"""
PAGES_PER_S = 3.0
"""…longer when there are more pages than this to read…"""
MAX_LIST_GAP_S = 3.0
"""…but for nobody's look longer than this…"""
WORTH_A_PAGE = 40
"""…not when so many wait for each page of it: a call then costs little of each…"""
LULL_S = 0.2
"""…and not when nobody else has asked for so long: whoever waits then is all there is."""
LULLS = 2.0
"""Lists that may be read early for that in a row: the last of a flood need two, one before their
batch and one after it…"""
LULLS_PER_S = 0.1
"""…and how fast that comes back: those who ask in step must not have a list for each step."""
SINGLES_AT_ONCE = 8
BURST = 16.0
"""Calls for single images that a project may make at once, before lists are cheaper…"""
REFILL_PER_S = 2.0
"""…and how fast that comes back."""
RESTARTS = 2
"""Of one list whose marker has moved to another one: then its rest is asked for singly."""
MAX_ROWS = 50_000
"""Of a list that is kept: 6 MB. What comes after is asked for singly."""
KEPT = timedelta(minutes=10)
"""How long a list is kept for those whom an older one serves."""
NO_LISTS_S = 600.0
"""How long lists are not tried again after the cloud refused them: single calls do it too."""
LISTS: tuple[Membership, ...] = (Membership.PENDING, Membership.REJECTED, Membership.ACCEPTED)


class MembershipSource(Protocol):
    """The cloud, as far as this room needs it. All methods raise `CloudError`."""

    async def member(self, image: str) -> Membership:
        """Ask for one image."""
        ...

    async def shared(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> SharePage:
        """One page of the images with this membership, after ``marker``."""
        ...


@dataclass(slots=True)
class _List:
    """All shares as the lists showed them.

    Attributes:
        at: when they were begun.
        whole: none of them ended early.
    """

    at: float
    rows: dict[str, Membership] = field(default_factory=dict[str, Membership])
    pages: int = 0
    whole: bool = True


class MembershipLookup:
    """Answers questions for memberships of one project."""

    def __init__(self, source: MembershipSource) -> None:
        self._source = source
        self._waiting: dict[str, MembershipRequest] = {}
        self._round: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._singles: set[asyncio.Task[None]] = set()
        self._single = asyncio.Semaphore(SINGLES_AT_ONCE)
        self._bucket = TokenBucket(BURST, REFILL_PER_S)
        self._lulls = TokenBucket(LULLS, LULLS_PER_S)
        self._asked_at = float("-inf")
        self._last: _List | None = None
        self._pages = len(LISTS)
        self._round_at = float("-inf")
        self._no_lists_until = float("-inf")
        self._order = LISTS
        self._typed = True

    async def look(
        self, images: tuple[str, ...], max_age: timedelta = timedelta()
    ) -> Mapping[str, Membership]:
        """The memberships of all ``images``, not older than ``max_age`` at the call.

        Args:
            images: at least one, no doubles.

        Raises:
            CloudError: one of them could not be told; no answer that failed may look complete.
        """
        loop = asyncio.get_running_loop()
        since = loop.time() - max_age.total_seconds()
        last = self._last
        if last is not None and last.at >= since and all(image in last.rows for image in images):
            return {image: last.rows[image] for image in images}
        # Its own future: whoever goes away takes the answer from nobody else.
        asker = Waiter(len(images), loop.create_future())
        for image in images:
            self._ask(image, since, relaxed=bool(max_age)).askers.append(asker)
        self._asked_at = loop.time()
        if self._round is None:
            self._gather()
        found = await asker.answers
        return {image: found[image] for image in images}

    def _ask(self, image: str, since: float, *, relaxed: bool) -> MembershipRequest:
        question = self._waiting.get(image)
        if question is None:
            question = self._waiting[image] = MembershipRequest(image, since, relaxed)
        question.since = max(question.since, since)
        question.relaxed |= relaxed
        return question

    def _gather(self) -> None:
        """Give others a moment to ask along."""
        loop = asyncio.get_running_loop()
        self._round = loop.call_later(GATHER_S, self._begin, context=context.shared())

    def _begin(self) -> None:
        """Answer all who have asked by now; few are, without a round."""
        answered = self._answered_at_once()
        self._round = None if answered else asyncio.create_task(self._by_round())

    def _answered_at_once(self) -> bool:
        """Answer all questions without a list, if the project may have so many calls now."""
        self._answer_from_last()
        now = asyncio.get_running_loop().time()
        flood = now < self._round_at + self._gap_s()
        if flood or not self._bucket.take(len(self._waiting), now):
            return not self._waiting
        self._start_singles(self._taken())
        return True

    async def _by_round(self) -> None:
        """Answer all who ask until it begins; then begin anew for those who came meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            await self._pause()
            self._round_at = loop.time()
            questions = self._taken()
            if len(questions) <= self._pages or loop.time() < self._no_lists_until:
                self._start_singles(questions)
            else:
                await self._by_list(questions)
        finally:
            self._round = None
            if self._waiting:
                self._gather()

    def _gap_s(self) -> float:
        return min(MAX_LIST_GAP_S, max(LIST_GAP_S, self._pages / PAGES_PER_S))

    async def _pause(self) -> None:
        """Wait for others to ask along, for as long as they come and are too few."""
        loop = asyncio.get_running_loop()
        soonest, latest = self._round_at + LIST_GAP_S, self._round_at + self._gap_s()
        step = LULL_S / 2
        hopeful = True
        while (now := loop.time()) < latest - step:
            if now >= soonest and len(self._waiting) >= WORTH_A_PAGE * self._pages:
                return
            if hopeful and now >= self._asked_at + LULL_S:
                if self._lulls.take(1, now):
                    return
                hopeful = False
            await asyncio.sleep(step)
        await asyncio.sleep(latest - now)

    def _answer_from_last(self) -> None:
        """Answer those whom a list serves that was read while they waited."""
        last = self._last
        if last is None:
            return
        for image, question in tuple(self._waiting.items()):
            if last.at >= question.since and image in last.rows:
                question.tell(last.rows[image])
                del self._waiting[image]

    def _taken(self) -> dict[str, MembershipRequest]:
        questions, self._waiting = self._waiting, {}
        return questions

    def _start_singles(
        self, questions: Mapping[str, MembershipRequest]
    ) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self._one(question)) for question in questions.values()]
        for task in tasks:
            self._singles.add(task)
            task.add_done_callback(self._singles.discard)
        return tasks

    async def _one(self, question: MembershipRequest) -> None:
        """Ask for one image; an error is told to those who asked for that very image."""
        async with self._single:
            try:
                question.tell(await self._source.member(question.image))
            except asyncio.CancelledError:
                question.drop()
                raise
            except Exception as exc:  # noqa: BLE001 - it is raised on in each pass that asked
                question.fail(exc)

    async def _by_list(self, questions: dict[str, MembershipRequest]) -> None:
        """Read the lists; ask singly for what is in none of them.

        That is mostly what is not shared, but it may also have moved from a list that was yet to
        be read into one that was.
        """
        loop = asyncio.get_running_loop()
        relaxed = any(question.relaxed for question in questions.values())
        found = _List(at=loop.time())
        try:
            await self._read_lists(found, None if relaxed else set(questions))
        except (TerminalError, ImagesRefusedError):
            self._no_lists_until = loop.time() + NO_LISTS_S
        except Exception as exc:  # noqa: BLE001 - it is raised on in each pass that asked
            for question in questions.values():
                question.fail(exc)
            return
        else:
            self._pages = max(found.pages, len(LISTS))
            if relaxed:
                self._keep(found)
        unseen: dict[str, MembershipRequest] = {}
        for image, question in questions.items():
            if image in found.rows:
                question.tell(found.rows[image])
            else:
                unseen[image] = question
        if unseen:
            await asyncio.wait(self._start_singles(unseen))
        # Some clouds give no pending shares to the filter that is documented for them.
        if found.whole:
            self._typed &= not any(one.answer is Membership.PENDING for one in unseen.values())

    async def _read_lists(self, found: _List, wanted: set[str] | None) -> None:
        """Read until all ``wanted`` are found; ``None`` for all there is, up to `MAX_ROWS`."""
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
                    found.whole = False
                    return
                if wanted is not None and not wanted:
                    break
            if wanted is not None and not wanted:
                break
        if wanted is not None:
            self._order = tuple(sorted(LISTS, key=lambda one: -hits[one]))

    async def _pages_of(
        self, membership: Membership, found: _List
    ) -> AsyncIterator[tuple[str, ...]]:
        """The pages of one list, counted; it is begun again when it moves meanwhile."""

        async def ask(marker: str | None) -> SharePage:
            found.pages += 1
            return await self._source.shared(
                membership, marker=marker, limit=PAGE, typed=self._typed
            )

        for _ in range(1 + RESTARTS):
            try:
                async for page in pages(ask):
                    yield page.images
            except MovedError:
                continue
            except EndlessError:
                break
            return
        found.whole = False

    def _keep(self, found: _List) -> None:
        self._last = found
        loop = asyncio.get_running_loop()
        loop.call_later(KEPT.total_seconds(), self._drop, found)

    def _drop(self, found: _List) -> None:
        if self._last is found:
            self._last = None
