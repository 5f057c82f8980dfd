"""Few looks for many who ask; on a virtual clock."""

import asyncio
import gc
from datetime import timedelta
from typing import Any

import pytest

from image_share_operator.api.errors import CloudError, RetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Membership
from image_share_operator.cloud.coalescing.membership_lookup import (
    BURST,
    LIST_GAP_S,
    LULL_S,
    LULLS,
    LULLS_PER_S,
    MAX_ROWS,
    PAGES_PER_S,
    REFILL_PER_S,
    SINGLES_AT_ONCE,
    WORTH_A_PAGE,
    MembershipLookup,
)
from image_share_operator.cloud.ims.codec import SharePage
from image_share_operator.cloud.ims.pagination import PAGE

pytestmark = pytest.mark.looptime

PENDING, ACCEPTED, REJECTED = Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED
FRESH, OLD_WILL_DO = timedelta(), timedelta(minutes=6)


class Cloud:
    """The shares of a project, as single answers and as pages."""

    def __init__(self, count: int = 0) -> None:
        self.held = {f"image-{n:05d}": PENDING for n in range(count)}
        self.singles: list[str] = []
        self.single_s = 0.01
        self.at_once = self.most_at_once = 0
        self.pages = 0
        self.list_error: CloudError | None = None
        self.bad: dict[str, CloudError] = {}
        self.hides_pending = False
        self.after_page: dict[int, tuple[str, Membership]] = {}
        self.images = tuple(self.held)

    async def member(self, image: str) -> Membership:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.single_s)
        self.at_once -= 1
        self.singles.append(image)
        if image in self.bad:
            raise self.bad[image]
        return self.held.get(image, Membership.NOT_SHARED)

    async def shared(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> SharePage:
        await asyncio.sleep(0.05)
        self.pages += 1
        if self.list_error is not None:
            raise self.list_error
        rows = sorted(image for image, held in self.held.items() if held is membership)
        if membership is PENDING and typed and self.hides_pending:
            rows = []
        if marker is not None and marker not in rows:
            raise TerminalError("HTTP 400: unknown marker", reason=Reason.INVALID_REQUEST)
        rows = [image for image in rows if marker is None or image > marker][:limit]
        if self.pages in self.after_page:
            image, moved = self.after_page[self.pages]
            self.held[image] = moved
        return SharePage(images=tuple(rows), marker=rows[-1] if len(rows) == limit else None)


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_image_alone_is_asked_for_singly_and_at_once() -> None:
    cloud = Cloud(1)

    assert await MembershipLookup(cloud).look(cloud.images) == {"image-00000": PENDING}
    assert (len(cloud.singles), cloud.pages) == (1, 0)
    assert clock() < 0.05


async def test_same_image_is_asked_for_once_for_all_who_ask_together() -> None:
    cloud = Cloud(1)
    shares = MembershipLookup(cloud)

    await asyncio.gather(*(shares.look(cloud.images) for _ in range(50)))

    assert len(cloud.singles) == 1


async def test_many_images_are_read_from_lists() -> None:
    cloud = Cloud(3 * PAGE)
    cloud.held |= dict.fromkeys(cloud.images[:10], ACCEPTED) | {cloud.images[10]: REJECTED}

    assert await MembershipLookup(cloud).look(cloud.images) == cloud.held
    assert (len(cloud.singles), cloud.pages) == (0, 5)


async def test_lists_are_read_no_further_than_needed() -> None:
    cloud = Cloud(10 * PAGE)

    await MembershipLookup(cloud).look(cloud.images[:20])

    assert cloud.pages == 1


async def test_flood_of_single_questions_turns_into_one_list_a_second() -> None:
    cloud = Cloud(2000)
    shares = MembershipLookup(cloud)

    async def one(number: int) -> None:
        await asyncio.sleep(number * 0.005)
        await shares.look((cloud.images[number],))

    await asyncio.gather(*(one(number) for number in range(2000)))

    seconds = clock()
    assert seconds < 10 + 2 * LIST_GAP_S
    assert len(cloud.singles) <= BURST + REFILL_PER_S * seconds + 3 * seconds
    assert cloud.pages <= (seconds / LIST_GAP_S + 1) * 5


@pytest.mark.parametrize(("pages", "lists"), [(3, 10), (6, 5), (9, 4), (24, 4)])
async def test_longer_lists_are_read_less_often(pages: int, lists: int) -> None:
    """For ten seconds somebody asks all the time for the last of all images."""
    cloud = Cloud(pages * PAGE - 1)
    shares = MembershipLookup(cloud)
    await shares.look(cloud.images)  # so that it knows how many pages there are
    before, began = cloud.pages, clock()

    async with asyncio.TaskGroup() as group:
        while clock() < began + 10:
            group.create_task(shares.look(cloud.images[-2 * pages :]))
            await asyncio.sleep(0.1)

    assert (cloud.pages - before) / pages == pytest.approx(lists, abs=1)


async def test_long_lists_are_read_sooner_when_many_wait_for_each_page() -> None:
    """Nobody gains from waiting then: a page more is little for each."""
    pages = 24
    cloud = Cloud(pages * PAGE - 1)
    shares = MembershipLookup(cloud)
    await shares.look(cloud.images)
    many = cloud.images[-1 :: -(PAGE // WORTH_A_PAGE)]
    before, began = cloud.pages, clock()

    async with asyncio.TaskGroup() as group:
        while clock() < began + 10:
            group.create_task(shares.look(many))
            await asyncio.sleep(0.1)

    assert (cloud.pages - before) / pages >= 6


async def test_last_of_a_flood_are_answered_as_soon_as_nobody_else_asks() -> None:
    cloud = Cloud(8 * PAGE)
    shares = MembershipLookup(cloud)
    await shares.look(cloud.images)
    began = clock()

    await shares.look(cloud.images[-50:])

    assert clock() - began < LULL_S + 1.0  # a list of nine pages takes half a second here


async def test_those_who_ask_in_step_have_no_list_for_each_step() -> None:
    cloud = Cloud(8 * PAGE)
    shares = MembershipLookup(cloud)
    await shares.look(cloud.images)
    before, began = cloud.pages, clock()

    while clock() < began + 10:
        await shares.look(cloud.images[-50:])

    assert (cloud.pages - before) / 9 <= 10 * PAGES_PER_S / 9 + LULLS + 10 * LULLS_PER_S + 1


async def test_image_that_no_list_shows_is_asked_for_singly() -> None:
    cloud = Cloud(40)

    found = await MembershipLookup(cloud).look((*cloud.images, "stranger"))

    assert found["stranger"] is Membership.NOT_SHARED
    assert cloud.singles == ["stranger"]


async def test_image_that_moves_between_the_lists_is_not_lost() -> None:
    """Rejected while the rejected ones were already read, and gone from the accepted ones."""
    cloud = Cloud(30)
    mover = cloud.images[0]
    cloud.held[mover] = ACCEPTED
    cloud.after_page[2] = (mover, REJECTED)

    found = await MembershipLookup(cloud).look(cloud.images, OLD_WILL_DO)

    assert found[mover] is REJECTED


async def test_cloud_that_hides_pending_shares_from_the_documented_filter_is_found_out() -> None:
    cloud = Cloud(30)
    cloud.hides_pending = True
    shares = MembershipLookup(cloud)

    assert await shares.look(cloud.images) == cloud.held
    cloud.singles.clear()
    await asyncio.sleep(5)

    assert await shares.look(cloud.images) == cloud.held
    assert cloud.singles == []


async def test_lists_that_are_refused_are_done_without() -> None:
    cloud = Cloud(30)
    cloud.list_error = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)
    shares = MembershipLookup(cloud)

    assert await shares.look(cloud.images) == cloud.held
    assert await shares.look(cloud.images) == cloud.held
    assert cloud.pages == 1


async def test_list_whose_marker_moves_to_another_list_is_begun_again() -> None:
    """The last image of the first page is accepted before the second page is asked for."""
    cloud = Cloud(3 * PAGE)
    cloud.after_page[1] = (cloud.images[PAGE - 1], ACCEPTED)

    # It was pending when it was looked at.
    assert await MembershipLookup(cloud).look(cloud.images) == dict.fromkeys(cloud.images, PENDING)
    assert cloud.singles == []


async def test_list_whose_marker_always_moves_is_left_and_lists_are_read_again_later() -> None:
    cloud = Cloud(2 * PAGE)
    cloud.after_page |= {2 * n + 1: (cloud.images[PAGE - 1 + n], ACCEPTED) for n in range(3)}
    shares = MembershipLookup(cloud)

    assert (await shares.look(cloud.images)).keys() == cloud.held.keys()
    singles = len(cloud.singles)
    assert PAGE - 10 < singles < PAGE
    await asyncio.sleep(60)
    assert await shares.look(cloud.images) == cloud.held
    assert len(cloud.singles) == singles


async def test_single_questions_of_a_project_are_bounded_however_many_rounds_there_are() -> None:
    """Lists are refused, and each answer is long in coming."""
    cloud = Cloud(300)
    cloud.list_error = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)
    cloud.single_s = 5.0
    shares = MembershipLookup(cloud)

    async def one(number: int) -> None:
        await asyncio.sleep(number * 0.1)
        await shares.look((cloud.images[number],))

    await asyncio.gather(*(one(number) for number in range(300)))

    assert cloud.most_at_once == SINGLES_AT_ONCE


async def test_list_that_fails_is_told_to_all_and_not_replaced_by_many_calls() -> None:
    cloud = Cloud(30)
    cloud.list_error = RetryableError("HTTP 503")

    with pytest.raises(RetryableError):
        await MembershipLookup(cloud).look(cloud.images)
    assert cloud.singles == []


async def test_error_of_one_image_is_not_told_to_those_who_asked_for_others() -> None:
    cloud = Cloud(2)
    cloud.bad["image-00000"] = RetryableError("HTTP 500")
    shares = MembershipLookup(cloud)

    bad, good = await asyncio.gather(
        shares.look(("image-00000",)), shares.look(("image-00001",)), return_exceptions=True
    )

    assert isinstance(bad, RetryableError)
    assert good == {"image-00001": PENDING}


async def test_look_of_which_one_image_fails_fails_and_no_other_does() -> None:
    cloud = Cloud(3)
    cloud.bad["image-00001"] = RetryableError("HTTP 500")
    shares = MembershipLookup(cloud)

    some, others = await asyncio.gather(
        shares.look(cloud.images[:2]),
        shares.look(("image-00002", "image-00000")),
        return_exceptions=True,
    )

    assert isinstance(some, RetryableError)
    assert others == {"image-00002": PENDING, "image-00000": PENDING}
    assert sorted(cloud.singles) == sorted(cloud.images)


async def test_error_that_nobody_waits_for_any_more_is_told_to_nobody() -> None:
    cloud = Cloud(1)
    cloud.bad["image-00000"] = RetryableError("HTTP 500")
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    going = asyncio.create_task(MembershipLookup(cloud).look(cloud.images))
    await asyncio.sleep(0.025)
    going.cancel()
    await asyncio.wait((going,))

    await asyncio.sleep(1)
    gc.collect()

    assert going.cancelled()
    assert cloud.singles == ["image-00000"]
    assert told == []


async def test_answer_is_never_older_than_the_question() -> None:
    cloud = Cloud(30)
    shares = MembershipLookup(cloud)
    await shares.look(cloud.images, OLD_WILL_DO)
    await asyncio.sleep(5)
    cloud.held = dict.fromkeys(cloud.images, ACCEPTED)

    assert await shares.look(cloud.images) == cloud.held


async def test_list_serves_all_for_whom_an_older_answer_will_do() -> None:
    cloud = Cloud(2000)
    shares = MembershipLookup(cloud)
    await shares.look(cloud.images[:1000], OLD_WILL_DO)
    pages = cloud.pages

    for image in cloud.images[1000:]:
        await shares.look((image,), OLD_WILL_DO)
        await asyncio.sleep(0.1)

    assert cloud.pages == pages
    assert cloud.singles == []
    await asyncio.sleep(OLD_WILL_DO.total_seconds())
    await shares.look(cloud.images[:1], OLD_WILL_DO)
    assert cloud.singles == [cloud.images[0]]


async def test_round_of_ten_thousand_routine_looks_costs_little_more_than_one_list() -> None:
    """As many objects look within a sixtieth of an hour."""
    cloud = Cloud(10_000)
    shares = MembershipLookup(cloud)

    async def one(number: int) -> None:
        await asyncio.sleep(60 * number / 10_000)
        await shares.look((cloud.images[number],), OLD_WILL_DO)

    await asyncio.gather(*(one(number) for number in range(10_000)))

    assert len(cloud.singles) + cloud.pages <= 3 * 10_000 / PAGE


async def test_list_that_repeats_its_page_ends() -> None:
    class Broken(Cloud):
        async def shared(
            self, membership: Membership, *, marker: str | None, limit: int, typed: bool
        ) -> SharePage:
            del marker, typed
            return await super().shared(membership, marker=None, limit=limit, typed=True)

    cloud = Broken(PAGE + 20)

    assert await MembershipLookup(cloud).look(cloud.images) == cloud.held
    assert cloud.pages < 10


async def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    cloud = Cloud(1)
    shares = MembershipLookup(cloud)
    going = asyncio.create_task(shares.look(cloud.images))
    staying = asyncio.create_task(shares.look(cloud.images))
    await asyncio.sleep(0.025)
    going.cancel()

    assert await staying == cloud.held
    assert len(cloud.singles) == 1


async def test_list_that_never_ends_is_kept_up_to_a_bound_and_the_rest_asked_singly() -> None:
    cloud = Cloud(MAX_ROWS + 3 * PAGE)
    shares = MembershipLookup(cloud)
    asked = (*cloud.images[: int(BURST)], cloud.images[-1])

    found = await shares.look(asked, OLD_WILL_DO)

    assert found == dict.fromkeys(asked, PENDING)
    assert cloud.pages == MAX_ROWS / PAGE
    assert cloud.singles == [cloud.images[-1]]
