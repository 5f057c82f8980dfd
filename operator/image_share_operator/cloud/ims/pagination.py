"""Reads a list page by page; each page starts after a marker.

A server may return fewer images than the request allows, on each page: its own limit is lower
(`api_limit_max` of Glance). So a short page is not the last one. These pages are the last:

    - an empty page
    - a page that is shorter than another page of the same server, and has no ``next`` link

The second rule saves the request for the empty page in most lists: `PageLengths` is kept for as
long as the server is used.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from image_share_operator.api.errors import ImagesRefusedError, TerminalError

PAGE_SIZE = 500
"""Images on a page: the documented default; the API reference has no maximum."""
MAX_PAGES = 2_000
"""The longest list that is read: 40,000 images with 20 on a page. A longer one
is taken for one without end."""


class MarkerGoneError(Exception):
    """The list changed during the read: its marker is not in it any more, so IMS refuses it."""


class TooManyPagesError(Exception):
    """The list has more than `MAX_PAGES` pages, or a page of it came again."""


class Page(Protocol):
    """One page.

    Attributes:
        rows: its length, with rows that are not used.
        marker: ID of its last image, which the next page starts after; ``None`` without images.
        has_next: whether the response has a link to a next page. IMS has no such links.
    """

    @property
    def rows(self) -> int: ...

    @property
    def marker(self) -> str | None: ...

    @property
    def has_next(self) -> bool: ...


@dataclass(slots=True)
class PageLengths:
    """What is known of the length of a server's pages.

    Attributes:
        longest: rows of the longest page so far; a full page has at least as many.
    """

    longest: int = 0

    def is_last(self, page: Page) -> bool:
        """Whether no page follows this one."""
        shorter = page.rows < self.longest
        self.longest = max(self.longest, page.rows)
        return page.marker is None or (shorter and not page.has_next)


P = TypeVar("P", bound=Page)


async def pages(
    get_page: Callable[[str | None], Awaitable[P]], lengths: PageLengths
) -> AsyncIterator[P]:
    """Read all pages, from the first one on.

    Args:
        get_page: returns the page after a marker; its `CloudError` is raised.
        lengths: of earlier lists of the same server; changed here.

    Raises:
        MarkerGoneError: the image of the marker left the list, because its membership changed. IMS
            refuses the next page then, not the list.
        TooManyPagesError: there are more than `MAX_PAGES`, or the server ignores the marker.
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
        if page.marker in seen:
            break  # the server ignores the marker
        yield page
        if page.marker is None or lengths.is_last(page):
            return
        marker = page.marker
        seen.add(marker)
    raise TooManyPagesError
