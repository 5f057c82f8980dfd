"""Reads a list page by page; each page starts after a marker."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from image_share_operator.api.errors import ImagesRefusedError, TerminalError

PAGE_SIZE = 500
"""Images on a page: the documented default; the API reference has no maximum."""
MAX_PAGES = 400
"""The longest list that is read: 200,000 images. A longer one is taken for one without end."""


class MarkerGoneError(Exception):
    """The list changed during the read: its marker is not in it any more, so IMS refuses it."""


class TooManyPagesError(Exception):
    """The list has more than `MAX_PAGES` pages."""


class Page(Protocol):
    """One page; ``marker`` is where the next one starts, ``None`` on the last page."""

    @property
    def marker(self) -> str | None: ...


P = TypeVar("P", bound=Page)


async def pages(get_page: Callable[[str | None], Awaitable[P]]) -> AsyncIterator[P]:
    """Read all pages, from the first one on.

    Args:
        get_page: returns the page after a marker; its `CloudError` is raised.

    Raises:
        MarkerGoneError: the image of the marker left the list, because its membership changed. IMS
            refuses the next page then, not the list.
        TooManyPagesError: there are more than `MAX_PAGES`.
    """
    marker: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        try:
            page = await get_page(marker)
        except (TerminalError, ImagesRefusedError) as exc:
            if marker is None:
                raise
            raise MarkerGoneError from exc
        yield page
        if page.marker is None or page.marker in seen:
            return
        marker = page.marker
        seen.add(marker)
    raise TooManyPagesError
