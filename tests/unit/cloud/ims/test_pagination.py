"""Lists that are read page by page, and change during the read."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_share_operator.api.errors import TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.ims.pagination import (
    MAX_PAGES,
    MarkerGoneError,
    PageLengths,
    TooManyPagesError,
    pages,
)

REFUSED = TerminalError("no", reason=Reason.INVALID_REQUEST)


@dataclass(frozen=True)
class Slice:
    """Some images of a list; `marker` is the last one."""

    images: tuple[int, ...]
    has_next: bool = False

    @property
    def rows(self) -> int:
        return len(self.images)

    @property
    def marker(self) -> str | None:
        return str(self.images[-1]) if self.images else None


class Source:
    """A list of ``count`` images, on pages of up to ``size``; refuses some markers."""

    def __init__(
        self,
        count: int,
        *,
        size: int = 1,
        refused: tuple[str | None, ...] = (),
        links: bool = False,
    ) -> None:
        self.count, self.size, self.refused, self.links = count, size, refused, links
        self.markers: list[str | None] = []

    async def get_page(self, marker: str | None) -> Slice:
        """Return the page after the marker, as `ImsClient.shared` does."""
        self.markers.append(marker)
        if marker in self.refused:
            raise REFUSED
        first = 0 if marker is None else int(marker) + 1
        end = min(first + self.size, self.count)
        return Slice(tuple(range(first, end)), has_next=self.links and end < self.count)


async def read(source: Source, lengths: PageLengths | None = None) -> list[int]:
    found = pages(source.get_page, lengths or PageLengths())
    return [image async for page in found for image in page.images]


@given(count=st.integers(0, 50), size=st.integers(1, 12), longest=st.integers(0, 12))
async def test_pages_are_read_to_the_end_of_the_list(count: int, size: int, longest: int) -> None:
    source = Source(count, size=size)

    assert await read(source, PageLengths(min(longest, size))) == list(range(count))
    assert len(source.markers) <= count // size + 2


@pytest.mark.parametrize(
    ("longest", "requests"), [(0, 2), (5, 2), (6, 1)], ids=["none", "as long", "longer"]
)
async def test_short_page_is_the_last_after_a_longer_one(longest: int, requests: int) -> None:
    source = Source(5, size=500)

    assert await read(source, PageLengths(longest)) == list(range(5))
    assert len(source.markers) == requests


async def test_page_with_a_link_to_the_next_is_not_the_last() -> None:
    source = Source(6, size=3, links=True)

    assert await read(source, PageLengths(500)) == list(range(6))


async def test_pages_are_read_in_order() -> None:
    source = Source(3)

    assert await read(source) == [0, 1, 2]
    assert source.markers == [None, "0", "1", "2"]


async def test_refused_first_page_raises_the_refusal() -> None:
    with pytest.raises(TerminalError):
        await read(Source(3, refused=(None,)))


async def test_refused_marker_raises_marker_gone_error() -> None:
    source = Source(3, refused=("2",))

    with pytest.raises(MarkerGoneError):
        await read(source)
    assert source.markers == [None, "0", "1", "2"]


async def test_list_of_a_server_that_ignores_the_marker_is_not_complete() -> None:
    async def get_page(marker: str | None) -> Slice:
        return Slice((1,)) if marker is None else Slice((2,))

    with pytest.raises(TooManyPagesError):
        assert [page async for page in pages(get_page, PageLengths())]


async def test_list_without_end_raises_too_many_pages_error() -> None:
    source = Source(MAX_PAGES + 1)

    with pytest.raises(TooManyPagesError):
        await read(source)
    assert len(source.markers) == MAX_PAGES
