"""Prints tables, JSON and YAML.

In a terminal, a table drops columns that do not fit, and text is wrapped between words: an ID, a
name or a reason is never cut or folded. In a pipe, nothing is dropped or wrapped. Colours need a
terminal and rich; NO_COLOR turns them off.
"""

import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from image_share_operator.cli import yaml_codec

GOOD, BAD, MOVING = "green", "red", "yellow"
COLOURS = {
    "accepted": GOOD,
    "rejected": MOVING,
    "pending": MOVING,
    "notShared": BAD,
    "ok": GOOD,
    "failed": BAD,
    "nothing": GOOD,
    "True": GOOD,
    "False": MOVING,
}
"""Colour of a cell, by its whole text."""
GAP = "  "
MIN_TEXT_WIDTH = 40
"""Text is not wrapped to fewer columns."""

Rows = Sequence[Sequence[str]]


def data(value: Mapping[str, Any], form: str) -> None:
    """Print the value as JSON or YAML."""
    if form == "json":
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    else:
        text = yaml_codec.dump(value)
    sys.stdout.write(text)


def line(text: str = "", *, hang: int = 0) -> None:
    """Print a line; a terminal wraps it between words, with an indent of ``hang``."""
    sys.stdout.write(f"{wrapped(text, width(), hang=hang)}\n")


def wrapped(text: str, columns: int | None, *, hang: int = 0) -> str:
    """Return the text in lines of up to ``columns`` columns; a longer word has its own line."""
    if columns is None or len(text) <= columns:
        return text
    return textwrap.fill(
        text,
        max(columns, MIN_TEXT_WIDTH),
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )


def width() -> int | None:
    """Return the columns of the terminal; ``None`` in a pipe, where lines have any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(head: Sequence[str], rows: Rows, *, drop: Sequence[str] = ()) -> tuple[str, ...]:
    """Print a table; in a terminal, without the columns that do not fit. Return these columns.

    Args:
        drop: the columns that may be dropped, the first one first. Empty: all columns are printed.
    """
    dropped = too_wide(head, rows, drop, width())
    kept = [index for index, title in enumerate(head) if title not in dropped]
    titles = [head[index] for index in kept]
    cells = [[row[index] for index in kept] for row in rows]
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if not (colours and _in_colour(titles, cells)):
        sys.stdout.write(plain(titles, cells))
    return dropped


def too_wide(
    head: Sequence[str], rows: Rows, drop: Sequence[str], columns: int | None
) -> tuple[str, ...]:
    """Return the columns to drop so that the table has up to ``columns`` columns, if possible."""
    if columns is None:
        return ()
    left = dict(zip(head, _widths(head, rows), strict=True))
    dropped: list[str] = []
    for title in drop:
        if sum(left.values()) + len(GAP) * (len(left) - 1) <= columns:
            break
        del left[title]
        dropped.append(title)
    return tuple(dropped)


def plain(head: Sequence[str], rows: Rows) -> str:
    """Format columns as kubectl does: as wide as the widest cell, without truncation."""
    return "".join(f"{''.join(cells).rstrip()}\n" for cells in _padded(head, rows))


def _padded(head: Sequence[str], rows: Rows) -> list[list[str]]:
    """Return the head and the rows; each cell ends with the spaces before the next one."""
    widths = _widths(head, rows)
    return [
        [
            f"{cell}{' ' * (most - _width(cell))}{GAP}"
            for cell, most in zip(row, widths, strict=True)
        ]
        for row in (head, *rows)
    ]


def _widths(head: Sequence[str], rows: Rows) -> list[int]:
    return [max(map(_width, column)) for column in zip(head, *rows, strict=True)]


def _width(text: str) -> int:
    """Return the columns that a terminal uses for the text."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(bool(unicodedata.combining(char)) for char in text)


def _in_colour(head: Sequence[str], rows: Rows) -> bool:
    """Print with rich; return ``False`` if it is not installed (the extra ``cli``)."""
    try:
        from rich.console import Console  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return False
    console = Console(highlight=False, soft_wrap=True)
    titles, *lines = _padded(head, rows)
    console.print(Text("".join(titles).rstrip(), style="bold"))
    for cells in lines:
        text = Text.assemble(*((cell, COLOURS.get(cell.rstrip(), "")) for cell in cells))
        text.rstrip()
        console.print(text)
    return True
