"""Few requests for many calls; on a virtual clock."""

import asyncio
import contextlib
import gc
from datetime import timedelta
from typing import Any

import pytest

from fakes import FakeIms
from image_share_operator.api.errors import (
    CloudError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import ImageDetails, Membership
from image_share_operator.cloud.coalescing.membership_lookup import (
    EARLY_LISTS,
    EARLY_LISTS_PER_S,
    IDLE_S,
    IMAGES_PER_PAGE,
    MAX_CONCURRENT_READS,
    MAX_ROWS,
    MIN_LIST_GAP_S,
    PAGES_PER_S,
    READ_BURST,
    READS_PER_S,
    MembershipLookup,
)
from image_share_operator.cloud.ims.codec import SharePage
from image_share_operator.cloud.ims.pagination import PAGE_SIZE

pytestmark = pytest.mark.looptime

PENDING, ACCEPTED, REJECTED = Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED
CACHED = timedelta(minutes=6)
DENIED = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)
INVALID = TerminalError("HTTP 410", reason=Reason.INVALID_REQUEST)


class Cloud(FakeIms):
    """Many pending shares."""

    def __init__(self, count: int, **facts: Any) -> None:
        self.images = tuple(f"image-{n:05d}" for n in range(count))
        super().__init__(dict.fromkeys(self.images, PENDING), **{"latency_s": 0.01, **facts})


def with_lookup(count: int, **facts: Any) -> tuple[Cloud, MembershipLookup]:
    cloud = Cloud(count, **facts)
    return cloud, MembershipLookup(cloud)


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_one_image_is_read_singly_and_concurrent() -> None:
    cloud, lookup = with_lookup(1)

    assert await lookup.read(cloud.images) == {"image-00000": PENDING}
    assert (len(cloud.reads), cloud.pages) == (1, 0)
    assert clock() < 0.05


async def test_concurrent_calls_share_one_read_of_an_image() -> None:
    cloud, lookup = with_lookup(1)

    await asyncio.gather(*(lookup.read(cloud.images) for _ in range(50)))

    assert len(cloud.reads) == 1


async def test_many_images_are_read_from_lists() -> None:
    cloud, lookup = with_lookup(3 * PAGE_SIZE)
    cloud.members |= dict.fromkeys(cloud.images[:10], ACCEPTED) | {cloud.images[10]: REJECTED}

    assert await lookup.read(cloud.images) == cloud.members
    assert (len(cloud.reads), cloud.pages) == (0, 5)


async def test_lists_are_read_until_all_images_are_found() -> None:
    cloud, lookup = with_lookup(10 * PAGE_SIZE)

    await lookup.read(cloud.images[:20])

    assert cloud.pages == 1


async def test_many_calls_are_served_by_one_list_per_second() -> None:
    cloud, lookup = with_lookup(2000)

    async def read_one(number: int) -> None:
        await asyncio.sleep(number * 0.005)
        await lookup.read((cloud.images[number],))

    await asyncio.gather(*(read_one(number) for number in range(2000)))

    seconds = clock()
    assert seconds < 10 + 2 * MIN_LIST_GAP_S
    assert len(cloud.reads) <= READ_BURST + READS_PER_S * seconds + 3 * seconds
    assert cloud.pages <= (seconds / MIN_LIST_GAP_S + 1) * 5


@pytest.mark.parametrize(("pages", "lists"), [(3, 10), (6, 5), (9, 4), (24, 4)])
async def test_lists_with_many_pages_are_read_less_often(pages: int, lists: int) -> None:
    """For ten seconds, calls for the last images arrive ten times a second."""
    cloud, lookup = with_lookup(pages * PAGE_SIZE - 1)
    await lookup.read(cloud.images)  # so that it knows the number of pages
    before, began = cloud.pages, clock()

    async with asyncio.TaskGroup() as group:
        while clock() < began + 10:
            group.create_task(lookup.read(cloud.images[-2 * pages :]))
            await asyncio.sleep(0.1)

    assert (cloud.pages - before) / pages == pytest.approx(lists, abs=1)


async def test_long_lists_are_read_sooner_when_many_images_wait() -> None:
    """A longer wait would save little: one page costs little for each of many images."""
    pages = 24
    cloud, lookup = with_lookup(pages * PAGE_SIZE - 1)
    await lookup.read(cloud.images)
    many = cloud.images[-1 :: -(PAGE_SIZE // IMAGES_PER_PAGE)]
    before, began = cloud.pages, clock()

    async with asyncio.TaskGroup() as group:
        while clock() < began + 10:
            group.create_task(lookup.read(many))
            await asyncio.sleep(0.1)

    assert (cloud.pages - before) / pages >= 6


async def test_list_is_read_early_when_no_other_call_arrives() -> None:
    cloud, lookup = with_lookup(8 * PAGE_SIZE)
    await lookup.read(cloud.images)
    began = clock()

    await lookup.read(cloud.images[-50:])

    assert clock() - began < IDLE_S + 1.0  # a list of nine pages takes half a second here


async def test_calls_in_step_do_not_cause_a_list_for_each_step() -> None:
    cloud, lookup = with_lookup(8 * PAGE_SIZE)
    await lookup.read(cloud.images)
    before, began = cloud.pages, clock()

    while clock() < began + 10:
        await lookup.read(cloud.images[-50:])

    assert (
        cloud.pages - before
    ) / 9 <= 10 * PAGES_PER_S / 9 + EARLY_LISTS + 10 * EARLY_LISTS_PER_S + 1


async def test_image_that_is_in_no_list_is_read_singly() -> None:
    cloud, lookup = with_lookup(40)

    found = await lookup.read((*cloud.images, "stranger"))

    assert found["stranger"] is Membership.NOT_SHARED
    assert cloud.reads == ["stranger"]


async def test_image_that_moves_between_lists_is_found() -> None:
    """It becomes rejected after the list of rejected images was read."""
    cloud, lookup = with_lookup(30)
    mover = cloud.images[0]
    cloud.members[mover] = ACCEPTED
    cloud.after_page[2] = (mover, REJECTED)

    found = await lookup.read(cloud.images, CACHED)

    assert found[mover] is REJECTED


async def test_filter_is_dropped_when_it_hides_pending_shares() -> None:
    cloud, lookup = with_lookup(30, hides_pending=True)

    assert await lookup.read(cloud.images) == cloud.members
    cloud.reads.clear()
    await asyncio.sleep(5)

    assert await lookup.read(cloud.images) == cloud.members
    assert cloud.reads == []


async def test_images_are_read_singly_after_a_refused_list() -> None:
    cloud, lookup = with_lookup(30, list_error=DENIED)

    assert await lookup.read(cloud.images) == cloud.members
    assert await lookup.read(cloud.images) == cloud.members
    assert cloud.pages == 1


async def test_list_is_read_again_when_its_marker_left_it() -> None:
    """The last image of the first page is accepted before the second page is read."""
    cloud, lookup = with_lookup(3 * PAGE_SIZE)
    cloud.after_page[1] = (cloud.images[PAGE_SIZE - 1], ACCEPTED)

    # It was pending when it was read.
    assert await lookup.read(cloud.images) == dict.fromkeys(cloud.images, PENDING)
    assert cloud.reads == []


async def test_images_are_read_singly_when_the_marker_always_leaves() -> None:
    cloud, lookup = with_lookup(2 * PAGE_SIZE)
    cloud.after_page |= {2 * n + 1: (cloud.images[PAGE_SIZE - 1 + n], ACCEPTED) for n in range(3)}

    assert (await lookup.read(cloud.images)).keys() == cloud.members.keys()
    singles = len(cloud.reads)
    assert PAGE_SIZE - 10 < singles < PAGE_SIZE
    await asyncio.sleep(60)
    assert await lookup.read(cloud.images) == cloud.members
    assert len(cloud.reads) == singles


async def test_concurrent_single_reads_of_a_project_are_limited() -> None:
    """IMS refuses lists, and each single read takes long."""
    cloud, lookup = with_lookup(300, list_error=DENIED, latency_s=5.0)

    async def read_one(number: int) -> None:
        await asyncio.sleep(number * 0.1)
        await lookup.read((cloud.images[number],))

    await asyncio.gather(*(read_one(number) for number in range(300)))

    assert cloud.most_reading == MAX_CONCURRENT_READS


async def test_failed_list_is_not_replaced_by_single_reads() -> None:
    cloud, lookup = with_lookup(30, list_error=RetryableError("HTTP 503"))

    with pytest.raises(RetryableError):
        await lookup.read(cloud.images)
    assert cloud.reads == []


async def test_failed_image_does_not_fail_calls_for_other_images() -> None:
    cloud, lookup = with_lookup(2)
    cloud.read_errors["image-00000"] = RetryableError("HTTP 500")

    bad, good = await asyncio.gather(
        lookup.read(("image-00000",)), lookup.read(("image-00001",)), return_exceptions=True
    )

    assert isinstance(bad, RetryableError)
    assert good == {"image-00001": PENDING}


async def test_read_has_an_error_for_the_image_that_fails() -> None:
    cloud, lookup = with_lookup(3)
    error = cloud.read_errors["image-00001"] = RetryableError("HTTP 500")

    some, others = await asyncio.gather(
        lookup.read(cloud.images[:2]), lookup.read(("image-00002", "image-00000"))
    )

    assert some == {"image-00000": PENDING, "image-00001": error}
    assert others == {"image-00002": PENDING, "image-00000": PENDING}
    assert sorted(cloud.reads) == sorted(cloud.images)


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ((RetryableError("HTTP 503"), ThrottledError("HTTP 429")), True),
        ((DENIED, DENIED), True),
        ((DENIED, RetryableError("HTTP 503")), False),
        ((DENIED, INVALID), False),
    ],
)
async def test_read_raises_the_error_that_all_images_share(
    errors: tuple[CloudError, ...], *, raised: bool
) -> None:
    cloud, lookup = with_lookup(len(errors))
    cloud.read_errors = dict(zip(cloud.images, errors, strict=True))

    with pytest.raises(type(errors[0])) if raised else contextlib.nullcontext():
        assert await lookup.read(cloud.images) == cloud.read_errors


async def test_error_of_a_cancelled_call_is_not_reported_to_the_loop() -> None:
    cloud, lookup = with_lookup(1)
    cloud.read_errors["image-00000"] = RetryableError("HTTP 500")
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    cancelled = asyncio.create_task(lookup.read(cloud.images))
    await asyncio.sleep(0.025)
    cancelled.cancel()
    await asyncio.wait((cancelled,))

    await asyncio.sleep(1)
    gc.collect()

    assert cancelled.cancelled()
    assert cloud.reads == ["image-00000"]
    assert reported == []


async def test_result_is_never_older_than_the_call() -> None:
    cloud, lookup = with_lookup(30)
    await lookup.read(cloud.images, CACHED)
    await asyncio.sleep(5)
    cloud.members = dict.fromkeys(cloud.images, ACCEPTED)

    assert await lookup.read(cloud.images) == cloud.members


async def test_cached_list_serves_calls_that_accept_its_age() -> None:
    cloud, lookup = with_lookup(2000)
    await lookup.read(cloud.images[:1000], CACHED)
    pages = cloud.pages

    for image in cloud.images[1000:]:
        await lookup.read((image,), CACHED)
        await asyncio.sleep(0.1)

    assert cloud.pages == pages
    assert cloud.reads == []
    await asyncio.sleep(CACHED.total_seconds())
    await lookup.read(cloud.images[:1], CACHED)
    assert cloud.reads == [cloud.images[0]]


async def test_ten_thousand_drift_checks_cost_few_requests() -> None:
    """Each of ten thousand resources reads once within a minute."""
    cloud, lookup = with_lookup(10_000)

    async def read_one(number: int) -> None:
        await asyncio.sleep(60 * number / 10_000)
        await lookup.read((cloud.images[number],), CACHED)

    await asyncio.gather(*(read_one(number) for number in range(10_000)))

    assert len(cloud.reads) + cloud.pages <= 3 * 10_000 / PAGE_SIZE


async def test_read_ends_when_a_page_repeats() -> None:
    class Broken(Cloud):
        async def shared(
            self, membership: Membership, *, marker: str | None, limit: int, typed: bool
        ) -> SharePage:
            del marker, typed
            return await super().shared(membership, marker=None, limit=limit, typed=True)

    cloud = Broken(PAGE_SIZE + 20)

    assert await MembershipLookup(cloud).read(cloud.images) == cloud.members
    assert cloud.pages < 10


async def test_lists_are_read_to_their_end_from_a_server_with_short_pages() -> None:
    cloud, lookup = with_lookup(81, page_limit=20)

    assert await lookup.read(cloud.images) == cloud.members
    assert cloud.reads == []
    assert cloud.pages == 5


async def test_end_of_a_list_costs_no_request_after_a_longer_page() -> None:
    cloud, lookup = with_lookup(PAGE_SIZE + 100)
    await lookup.read(cloud.images, CACHED)
    first = cloud.pages
    await asyncio.sleep(CACHED.total_seconds())

    await lookup.read(cloud.images, CACHED)

    assert (first, cloud.pages - first) == (4, 4)


async def test_cancelled_call_does_not_cancel_others() -> None:
    cloud, lookup = with_lookup(1)
    cancelled = asyncio.create_task(lookup.read(cloud.images))
    waiting = asyncio.create_task(lookup.read(cloud.images))
    await asyncio.sleep(0.025)
    cancelled.cancel()

    assert await waiting == cloud.members
    assert len(cloud.reads) == 1


async def test_cached_list_is_limited_and_the_rest_read_singly() -> None:
    cloud, lookup = with_lookup(MAX_ROWS + 3 * PAGE_SIZE)
    images = (*cloud.images[: int(READ_BURST)], cloud.images[-1])

    found = await lookup.read(images, CACHED)

    assert found == dict.fromkeys(images, PENDING)
    assert cloud.pages == MAX_ROWS / PAGE_SIZE
    assert cloud.reads == [cloud.images[-1]]


async def test_lists_give_names_of_requested_images_without_more_calls() -> None:
    cloud, lookup = with_lookup(3 * PAGE_SIZE)
    requested, other = cloud.images[: 2 * PAGE_SIZE], cloud.images[-1]
    assert lookup.details(requested) == {}

    await lookup.read(requested)
    pages = cloud.pages

    assert lookup.details((requested[0], other)) == {
        requested[0]: ImageDetails(name=f"name of {requested[0]}", owner="b")
    }
    assert (cloud.pages, cloud.reads) == (pages, [])
