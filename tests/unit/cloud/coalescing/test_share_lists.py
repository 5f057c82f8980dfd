"""Lists of shares: complete, of one owner, and one for all that ask at the same time."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from fakes import OWNER, SECOND
from image_share_operator.api.errors import RetryableError, TerminalError
from image_share_operator.api.types import Membership
from image_share_operator.cloud.coalescing import share_lists
from image_share_operator.cloud.coalescing.share_lists import CACHE_S, MIN_GAP_S, ShareLists
from image_share_operator.cloud.ims.codec import SharePage

PENDING, ACCEPTED, REJECTED = Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED
OTHER = "cccccccccccccccccccccccccccccc20"
pytestmark = pytest.mark.looptime


class Lists:
    """The lists of a project, on pages of two.

    Attributes:
        calls: membership and marker of each request.
        before_page: called before a page is returned; may change the lists or raise.
    """

    def __init__(self, **images: Membership) -> None:
        self.size = 2
        self.images = images
        self.owners: dict[str, str] = {}
        self.calls: list[tuple[Membership, str | None]] = []
        self.before_page: Callable[[Membership, str | None], None] = lambda *_: None

    async def shared(
        self,
        membership: Membership,
        *,
        marker: str | None,
        limit: int,
        typed: bool,
        owner: str | None = None,
    ) -> SharePage:
        assert (limit, typed, owner) == (500, False, OWNER)
        self.calls.append((membership, marker))
        await asyncio.sleep(0.1)
        self.before_page(membership, marker)
        held = [image for image, one in self.images.items() if one is membership]
        first = 0 if marker is None else held.index(marker) + 1
        page = tuple(held[first : first + self.size])
        raw = {image: {"id": image, "owner": self.owners.get(image, OWNER)} for image in page}
        return SharePage(images=page, rows=len(page), marker=page[-1] if page else None, raw=raw)


def found(shares: tuple[object, ...]) -> dict[str, Membership]:
    return {share.id: share.membership for share in shares}  # type: ignore[attr-defined]


async def test_all_pages_of_all_lists_are_read() -> None:
    held = {f"a{n}": ACCEPTED for n in range(5)} | {"p": PENDING, "r": REJECTED}
    source = Lists(**held)

    assert found(await ShareLists(source).read(OWNER)) == held
    # The last page of accepted ones is shorter, and so are the other lists.
    assert len(source.calls) == 3 + 1 + 1


async def test_all_pages_are_read_after_the_server_lowers_its_limit() -> None:
    held = {f"a{n}": ACCEPTED for n in range(5)}
    source = Lists(**held)
    lists = ShareLists(source)
    await lists.read(OWNER)

    source.size = 1

    assert found(await lists.read(OWNER)) == held


async def test_rows_of_other_owners_are_left_out() -> None:
    source = Lists(a=ACCEPTED, b=PENDING)
    source.owners["b"] = OTHER

    assert found(await ShareLists(source).read(OWNER)) == {"a": ACCEPTED}


async def test_calls_at_the_same_time_share_a_list() -> None:
    source = Lists(a=ACCEPTED)
    lists = ShareLists(source)

    results = await asyncio.gather(*(lists.read(OWNER) for _ in range(50)))

    assert all(found(shares) == {"a": ACCEPTED} for shares in results)
    assert len([1 for call in source.calls if call == (ACCEPTED, None)]) == 1


async def test_call_during_a_read_waits_for_the_next_list() -> None:
    source = Lists(a=PENDING)
    lists = ShareLists(source)
    loop = asyncio.get_running_loop()
    first = asyncio.create_task(lists.read(OWNER))
    await asyncio.sleep(0.15)  # the list of accepted images is being read

    source.images["a"] = REJECTED
    source.images["b"] = ACCEPTED
    second = await lists.read(OWNER)

    assert "b" not in found(await first)
    assert found(second) == {"a": REJECTED, "b": ACCEPTED}
    assert loop.time() >= MIN_GAP_S


async def test_call_that_accepts_an_older_list_waits_for_the_one_being_read() -> None:
    source = Lists(a=ACCEPTED)
    lists = ShareLists(source)
    first = asyncio.create_task(lists.read(OWNER))
    await asyncio.sleep(0.15)

    second = await lists.read(OWNER, timedelta(seconds=30))

    assert second is await first
    assert source.calls.count((ACCEPTED, None)) == 1


async def test_cached_list_is_used_up_to_the_age_that_the_caller_accepts() -> None:
    source = Lists(a=ACCEPTED)
    lists = ShareLists(source)
    await lists.read(OWNER)
    calls = len(source.calls)

    await asyncio.sleep(15)
    await lists.read(OWNER, timedelta(seconds=20))
    assert len(source.calls) == calls
    await lists.read(OWNER, timedelta(seconds=10))
    assert len(source.calls) == 2 * calls


async def test_list_is_dropped_after_a_while() -> None:
    lists = ShareLists(Lists(a=ACCEPTED))
    await lists.read(OWNER)

    await asyncio.sleep(CACHE_S + 1)

    assert lists._owners == {}  # noqa: SLF001 - memory has no other trace


async def test_owner_whose_list_always_fails_is_dropped_after_a_minute() -> None:
    source = Lists(a=ACCEPTED)
    lists = ShareLists(source)
    await lists.read(OWNER)

    def fail(*_: object) -> None:
        raise RetryableError("HTTP 500")

    source.before_page = fail
    for _ in range(3):
        await asyncio.sleep(CACHE_S / 2)
        with pytest.raises(RetryableError):
            await lists.read(OWNER)
    assert lists._owners[OWNER].shares is None  # noqa: SLF001 - memory has no other trace
    await asyncio.sleep(CACHE_S + 1)

    assert lists._owners == {}  # noqa: SLF001


async def test_list_whose_second_page_fails_is_an_error_and_is_not_kept() -> None:
    source = Lists(a=ACCEPTED, b=ACCEPTED, c=ACCEPTED)
    lists = ShareLists(source)

    def fail(_: Membership, marker: str | None) -> None:
        if marker is not None:
            raise RetryableError("HTTP 500")

    source.before_page = fail
    with pytest.raises(RetryableError, match="HTTP 500"):
        await lists.read(OWNER, timedelta(minutes=1))
    source.before_page = lambda *_: None
    assert len(await lists.read(OWNER, timedelta(minutes=1))) == 3


async def test_list_that_changes_during_the_read_is_read_again() -> None:
    source = Lists(a=ACCEPTED, b=ACCEPTED, c=ACCEPTED)
    lists = ShareLists(source)

    def withdraw(_: Membership, marker: str | None) -> None:
        if marker == "b" and "b" in source.images:
            del source.images["b"]
            raise TerminalError("marker not found", reason=None)  # type: ignore[arg-type]

    source.before_page = withdraw

    assert set(found(await lists.read(OWNER))) == {"a", "c"}


async def test_list_that_never_stays_the_same_is_an_error() -> None:
    source = Lists(a=ACCEPTED, b=ACCEPTED, c=ACCEPTED)

    def refuse(_: Membership, marker: str | None) -> None:
        if marker is not None:
            raise TerminalError("marker not found", reason=None)  # type: ignore[arg-type]

    source.before_page = refuse

    with pytest.raises(RetryableError, match="changed while it was read"):
        await ShareLists(source).read(OWNER)


async def test_image_that_moves_during_the_read_has_its_new_membership() -> None:
    source = Lists(a=ACCEPTED)

    def move(membership: Membership, _: str | None) -> None:
        if membership is REJECTED:
            source.images["a"] = REJECTED

    source.before_page = move

    assert found(await ShareLists(source).read(OWNER)) == {"a": REJECTED}


async def test_list_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_lists, "MAX_SHARES", 3)
    source = Lists(**{f"a{n}": ACCEPTED for n in range(5)})

    with pytest.raises(TerminalError, match="more than 3 images"):
        await ShareLists(source).read(OWNER)


async def test_cancelled_call_cancels_no_other() -> None:
    lists = ShareLists(Lists(a=ACCEPTED))
    gone = asyncio.create_task(lists.read(OWNER))
    stays = asyncio.create_task(lists.read(OWNER))
    await asyncio.sleep(0.05)

    gone.cancel()

    assert found(await stays) == {"a": ACCEPTED}
    await asyncio.sleep(SECOND.total_seconds())
