"""Keeps a status within the size that etcd and kubectl can bear. No I/O, no clock.

A status has up to `image_rows.MAX_ROWS` images, with long names and messages. It keeps what a
person and the next reconcile need most. This is left out, in this order, until the status is small
enough, each time from the end:

1. rows of images that are not selected;
2. latest images beyond `MAX_LATEST`;
3. names of the images that are left;
4. messages of the images that are left;
5. the other latest images.

An image without a row is new for the next reconcile, and one without a name counts as renamed:
`removalPolicy: Reject` does not reject it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from image_share_operator.api import status_json
from image_share_operator.api.types import ImageStatus, SelectionVerdict, Status

MAX_BYTES = 200 * 1024
"""Of the JSON of a status. etcd refuses an object of more than 1.5 MiB."""
MAX_LATEST = 100
"""Rows of `status.latest` in a status that is too large."""

_KEPT = (None, SelectionVerdict.SELECTED, SelectionVerdict.REMOVED)
"""Rows that are never left out: images that the spec lists, selected ones, and those to reject."""
_ROW_BYTES = 350
"""More than a row has without name, group and message: the names of the fields, a verdict, two
times, and three IDs of 36 to 64 characters."""
_OTHER_BYTES = 4096
"""More than the fields have that are not counted."""


def fit(status: Status) -> Status:
    """The status, or what is kept of it."""
    if _estimate(status) <= MAX_BYTES:
        return status
    excess = _bytes(status_json.write(status)) - MAX_BYTES
    return status if excess <= 0 else _smaller(status, excess)


def _smaller(status: Status, excess: int) -> Status:
    """The status with this many bytes less, or with all left out that may be."""
    raw = status_json.write(status)
    droppable = _droppable(status)
    count, excess = _cut([_bytes(raw["images"][index]) + 1 for index in droppable], excess)
    left_out = frozenset(droppable[:count])
    rows = tuple(row for index, row in enumerate(status.images) if index not in left_out)
    last_first = [_bytes(row) + 1 for row in reversed(raw.get("latest", ()))]
    beyond, excess = _cut(last_first[: max(0, len(last_first) - MAX_LATEST)], excess)
    rows, excess = _blank(rows, excess, lambda row: row.name, lambda row: replace(row, name=None))
    rows, excess = _blank(
        rows, excess, lambda row: row.message, lambda row: replace(row, message=None)
    )
    rest, _ = _cut(last_first[beyond:], excess)
    latest = status.latest[: len(status.latest) - beyond - rest]
    return replace(status, images=rows, latest=latest)


def _droppable(status: Status) -> list[int]:
    """The places of the rows that may be left out, the last one first."""
    return [
        index
        for index in reversed(range(len(status.images)))
        if status.images[index].selection not in _KEPT
    ]


def _blank(
    rows: tuple[ImageStatus, ...],
    excess: int,
    text: Callable[[ImageStatus], str | None],
    without: Callable[[ImageStatus], ImageStatus],
) -> tuple[tuple[ImageStatus, ...], int]:
    """The rows without a text, as many from the end as needed, and the bytes still too many."""
    texts = {index: one for index, row in enumerate(rows) if (one := text(row)) is not None}
    last_first = sorted(texts, reverse=True)
    count, excess = _cut([_bytes(texts[index]) for index in last_first], excess)
    blank = frozenset(last_first[:count])
    changed = tuple(without(row) if index in blank else row for index, row in enumerate(rows))
    return changed, excess


def _cut(sizes: Sequence[int], excess: int) -> tuple[int, int]:
    """How many items to leave out, the first ones first, and the bytes that are still too many."""
    count = 0
    while excess > 0 and count < len(sizes):
        excess -= sizes[count]
        count += 1
    return count, excess


def _estimate(status: Status) -> int:
    """A number of bytes that the status does not exceed; a small one costs 0.3 µs for each row."""
    texts: list[str | None] = [row.message for row in status.conditions]
    for row in status.images:
        texts += (row.name, row.message)
    for latest in status.latest:
        texts += (latest.name, latest.group)
    batch = 0 if status.unanswered is None else len(status.unanswered.images)
    rows = len(status.images) + len(status.latest) + batch
    # In JSON, a printable ASCII character has up to 2 bytes, and any other one up to 6.
    chars = sum(len(text) * (2 if text.isascii() else 6) for text in texts if text)
    return rows * _ROW_BYTES + chars + _OTHER_BYTES


def _bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
