"""Lists that are read page by page, and change during the read."""

from dataclasses import dataclass

import pytest

from image_share_operator.api.errors import TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.ims.pagination import (
    MAX_PAGES,
    MarkerGoneError,
    TooManyPagesError,
    pages,
)

REFUSED = TerminalError("no", reason=Reason.INVALID_REQUEST)


@dataclass(frozen=True)
class Numbered:
    """A page with its number."""

    number: int
    marker: str | None


class Source:
    """A list of ``count`` pages; refuses some markers."""

    def __init__(self, count: int, *, refused: tuple[str | None, ...] = ()) -> None:
        self.count, self.refused = count, refused
        self.markers: list[str | None] = []

    async def get_page(self, marker: str | None) -> Numbered:
        """Return the page after the marker, as `ImsClient.shared` does."""
        self.markers.append(marker)
        if marker in self.refused:
            raise REFUSED
        number = int(marker or 0)
        return Numbered(number, None if number + 1 == self.count else str(number + 1))


async def read(source: Source) -> list[int]:
    return [page.number async for page in pages(source.get_page)]


async def test_pages_are_read_in_order() -> None:
    source = Source(3)

    assert await read(source) == [0, 1, 2]
    assert source.markers == [None, "1", "2"]


async def test_refused_first_page_raises_the_refusal() -> None:
    with pytest.raises(TerminalError):
        await read(Source(3, refused=(None,)))


async def test_refused_marker_raises_marker_gone_error() -> None:
    source = Source(3, refused=("2",))

    with pytest.raises(MarkerGoneError):
        await read(source)
    assert source.markers == [None, "1", "2"]


async def test_list_ends_when_a_marker_repeats() -> None:
    async def get_page(marker: str | None) -> Numbered:
        return Numbered(int(marker or 0), "2" if marker == "1" else "1")

    assert [page.number async for page in pages(get_page)] == [0, 1, 2]


async def test_list_without_end_raises_too_many_pages_error() -> None:
    source = Source(MAX_PAGES + 1)

    with pytest.raises(TooManyPagesError):
        await read(source)
    assert len(source.markers) == MAX_PAGES
