"""Lists that come in pages, and change while they are read."""

from dataclasses import dataclass

import pytest

from image_share_operator.api.errors import TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.ims.pagination import MAX_PAGES, EndlessError, MovedError, pages

REFUSED = TerminalError("no", reason=Reason.INVALID_REQUEST)


@dataclass(frozen=True)
class Numbered:
    """A page that knows which one it is."""

    number: int
    marker: str | None


class Source:
    """So many pages; those after some markers are refused."""

    def __init__(self, count: int, *, refused: tuple[str | None, ...] = ()) -> None:
        self.count, self.refused = count, refused
        self.asked: list[str | None] = []

    async def ask(self, marker: str | None) -> Numbered:
        """As the cloud."""
        self.asked.append(marker)
        if marker in self.refused:
            raise REFUSED
        number = int(marker or 0)
        return Numbered(number, None if number + 1 == self.count else str(number + 1))


async def read(source: Source) -> list[int]:
    return [page.number async for page in pages(source.ask)]


async def test_all_pages_come_in_order() -> None:
    source = Source(3)

    assert await read(source) == [0, 1, 2]
    assert source.asked == [None, "1", "2"]


async def test_list_that_is_refused_from_the_start_has_not_moved() -> None:
    with pytest.raises(TerminalError):
        await read(Source(3, refused=(None,)))


async def test_list_whose_marker_is_refused_has_moved() -> None:
    source = Source(3, refused=("2",))

    with pytest.raises(MovedError):
        await read(source)
    assert source.asked == [None, "1", "2"]


async def test_list_that_comes_round_again_has_ended() -> None:
    async def ask(marker: str | None) -> Numbered:
        return Numbered(int(marker or 0), "2" if marker == "1" else "1")

    assert [page.number async for page in pages(ask)] == [0, 1, 2]


async def test_list_without_end_is_given_up() -> None:
    source = Source(MAX_PAGES + 1)

    with pytest.raises(EndlessError):
        await read(source)
    assert len(source.asked) == MAX_PAGES
