"""The size of a status: what is left out of one that is too large, and in which order."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_share_operator.api import status_json
from image_share_operator.api.types import (
    Decision,
    ImageStatus,
    InDoubtBatch,
    LatestImage,
    Membership,
    SelectionVerdict,
    Status,
)
from image_share_operator.planning.status_size import MAX_BYTES, fit

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SELECTED, SUPERSEDED = SelectionVerdict.SELECTED, SelectionVerdict.SUPERSEDED


def row(number: int, selection: SelectionVerdict | None = SELECTED, **texts: str) -> ImageStatus:
    return ImageStatus(
        id=f"{number:08x}-1111-4222-8333-444455556666",
        membership=Membership.ACCEPTED,
        job_id="f" * 32,
        name=texts.get("name", f"ubuntu-{number}"),
        message=texts.get("message"),
        owner="b" * 32,
        created_at=NOW,
        selection=selection,
    )


def newest(number: int, text: str = "x") -> LatestImage:
    one = row(number)
    return LatestImage(
        group=f"{number}-{text}",
        id=one.id,
        name=text,
        owner="b" * 32,
        created_at=NOW,
        since=NOW,
        previous_id=one.id,
    )


def size(status: Status) -> int:
    text = json.dumps(status_json.write(status), ensure_ascii=False, separators=(",", ":"))
    return len(text.encode())


def status(rows: Sequence[ImageStatus], latest: Sequence[LatestImage] = ()) -> Status:
    return Status(images=tuple(rows), latest=tuple(latest), selected=len(rows))


@pytest.mark.parametrize("count", [0, 3, 500])
def test_small_status_stays_as_it_is(count: int) -> None:
    small = status([row(number) for number in range(count)], [newest(1)])

    assert fit(small) is small


def test_rows_that_are_not_selected_are_left_out_first() -> None:
    long = "n" * 128
    chosen = [row(number, name=long) for number in range(200)]
    others = [row(number, SUPERSEDED, message="m" * 500) for number in range(200, 500)]
    groups = [newest(number) for number in range(150)]

    kept = fit(status(chosen + others, groups))

    assert kept.images[:200] == tuple(chosen)
    assert 0 < len(kept.images) - 200 < 300
    assert kept.images[200:] == tuple(others[: len(kept.images) - 200])
    assert kept.latest == tuple(groups)
    assert MAX_BYTES - 1200 < size(kept) <= MAX_BYTES


def test_latest_images_beyond_100_are_left_out_next() -> None:
    chosen = [row(number, name="n" * 90) for number in range(400)]
    groups = [newest(number) for number in range(400)]

    kept = fit(status(chosen, groups))

    assert kept.images == tuple(chosen)
    assert kept.latest == tuple(groups[: len(kept.latest)])
    assert 100 <= len(kept.latest) < 400
    assert MAX_BYTES - 500 < size(kept) <= MAX_BYTES


def test_names_are_left_out_from_the_end_next() -> None:
    chosen = [row(number, name="n" * 128, message="m") for number in range(500)]
    groups = [newest(number) for number in range(101)]

    kept = fit(status(chosen, groups))

    named = sum(one.name is not None for one in kept.images)
    assert 0 < named < 500
    assert kept.images[:named] == tuple(chosen[:named])
    assert kept.images[named:] == tuple(replace(one, name=None) for one in chosen[named:])
    assert kept.latest == tuple(groups[:100])
    assert size(kept) <= MAX_BYTES


def test_messages_and_the_last_latest_images_are_left_out_last() -> None:
    chosen = [row(number, name="ü" * 128, message="m" * 300) for number in range(500)]
    groups = [newest(number, "\N{GRINNING FACE}" * 120) for number in range(100)]

    kept = fit(status(chosen, groups))

    assert {(one.name, one.message) for one in kept.images} == {(None, None)}
    assert kept.latest == tuple(groups[: len(kept.latest)])
    assert 0 < len(kept.latest) < 100
    assert size(kept) <= MAX_BYTES


def test_size_counts_quotes_as_json_does() -> None:
    """They have two bytes there."""
    full = status([row(number, name='"' * 128, message='"' * 200) for number in range(250)])
    assert size(full) > MAX_BYTES

    assert size(fit(full)) <= MAX_BYTES


TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=128)
ROWS = st.lists(
    st.builds(
        row,
        st.integers(0, 999),
        st.sampled_from(SelectionVerdict),
        name=TEXT.map(lambda text: text * 3),
        message=TEXT,
    ),
    min_size=1,
    max_size=5,
)


@given(rows=ROWS, times=st.integers(1, 100), groups=st.integers(0, 300), text=TEXT)
def test_status_is_never_too_large_and_keeps_selected_images(
    rows: list[ImageStatus], times: int, groups: int, text: str
) -> None:
    many = (rows * times)[:500]
    full = status(many, [newest(number, text) for number in range(groups)])
    batch = InDoubtBatch(
        decision=Decision.ACCEPT, images=tuple(one.id for one in many), since=NOW, until=NOW
    )
    full = replace(full, unanswered=batch)

    kept = fit(full)

    assert size(kept) <= MAX_BYTES
    chosen = [one.id for one in many if one.selection is SELECTED]
    assert [one.id for one in kept.images if one.selection is SELECTED] == chosen
    assert kept.latest == full.latest[: len(kept.latest)]
    assert fit(kept) == kept
    if size(full) <= MAX_BYTES:
        assert kept == full
