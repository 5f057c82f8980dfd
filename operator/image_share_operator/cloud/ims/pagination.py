"""Reads a list of the cloud that comes in pages, each after a marker."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from image_share_operator.api.errors import ImagesRefusedError, TerminalError

PAGE = 500
"""The documented default of the list that has no documented maximum."""
MAX_PAGES = 400


class MovedError(Exception):
    """The list changed while it was read: the cloud refuses to go on after its last page."""


class EndlessError(Exception):
    """The list has more pages than any list has."""


class Page(Protocol):
    """One of its pages; ``marker`` is what the next one comes after, ``None`` for the last."""

    @property
    def marker(self) -> str | None: ...


P = TypeVar("P", bound=Page)


async def pages(ask: Callable[[str | None], Awaitable[P]]) -> AsyncIterator[P]:
    """All pages, from the first on.

    Args:
        ask: for the page after a marker; raises `CloudError`, which is raised on.

    Raises:
        MovedError: the image that a page goes on after may leave the list meanwhile, for whatever
            was asked of it is done. The cloud then refuses the page, not the list.
        EndlessError: there are more than `MAX_PAGES`.
    """
    marker: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        try:
            page = await ask(marker)
        except (TerminalError, ImagesRefusedError) as exc:
            if marker is None:
                raise
            raise MovedError from exc
        yield page
        if page.marker is None or page.marker in seen:
            return
        marker = page.marker
        seen.add(marker)
    raise EndlessError
