"""Prints tables, JSON and YAML. Uses colours only in a terminal, and only if rich is installed."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

GOOD, BAD, MOVING = "green", "red", "yellow"
COLOURS = {
    "accepted": GOOD,
    "rejected": MOVING,
    "pending": MOVING,
    "notShared": BAD,
    "ok": GOOD,
    "failed": BAD,
    "nothing": GOOD,
}
"""Colour of a cell, by its whole text."""
GAP = "  "


def data(value: Mapping[str, Any], form: str) -> None:
    """Print the value as JSON or YAML."""
    if form == "json":
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    else:
        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    sys.stdout.write(text)


def line(text: str = "") -> None:
    """Print a line of text."""
    sys.stdout.write(f"{text}\n")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with colours in a terminal, otherwise as plain columns."""
    if not (sys.stdout.isatty() and _rich_table(head, rows)):
        sys.stdout.write(plain(head, rows))


def plain(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format columns as kubectl does: as wide as the widest cell, without truncation."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = (
        GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
    return "".join(f"{text}\n" for text in lines)


def _rich_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Print with rich; return ``False`` if it is not installed (the extra ``cli``)."""
    try:
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return False
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for title in head:
        drawn.add_column(title, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    Console(highlight=False).print(drawn)
    return True
