"""The status of selected images survives its JSON."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_share_operator.api import status_json
from image_share_operator.api.types import (
    ImageStatus,
    LatestImage,
    Membership,
    SelectionVerdict,
    Status,
)

A = "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"
B = "b5a21d8c-1f0e-4c6a-9d2b-7c8e3f4a5b6c"
OWNER = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb10"
BUILT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
ROW = {"id": A, "membership": "accepted"}
LATEST = LatestImage(
    group="ubuntu-24.04",
    id=A,
    name="ubuntu-24.04-20260504",
    owner=OWNER,
    created_at=BUILT,
    since=BUILT + timedelta(days=1),
    previous_id=B,
)


def test_selected_image_is_written_in_the_form_of_the_schema() -> None:
    status = Status(
        images=(
            ImageStatus(
                id=A,
                membership=Membership.ACCEPTED,
                created_at=BUILT.astimezone(timezone(timedelta(hours=2))),
                selection=SelectionVerdict.SELECTED,
            ),
        ),
        latest=(LATEST,),
        selected=1,
    )

    assert status_json.write(status) == {
        "observedGeneration": -1,
        "conditions": [],
        "images": [{**ROW, "createdAt": "2026-05-04T03:02:01Z", "selection": "Selected"}],
        "latest": [
            {
                "group": "ubuntu-24.04",
                "id": A,
                "name": "ubuntu-24.04-20260504",
                "owner": OWNER,
                "createdAt": "2026-05-04T03:02:01Z",
                "since": "2026-05-05T03:02:01Z",
                "previousID": B,
            }
        ],
        "selected": 1,
    }


def test_status_of_listed_images_has_no_field_of_a_selector() -> None:
    status = Status(images=(ImageStatus(id=A, membership=Membership.ACCEPTED),))

    written = status_json.write(status)

    assert written == {"observedGeneration": -1, "conditions": [], "images": [ROW]}
    assert status_json.read(written) == status


TIMES = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
TEXTS = st.text(min_size=1, max_size=8)
IMAGES = st.builds(
    ImageStatus,
    id=TEXTS,
    membership=st.sampled_from(Membership),
    name=st.none() | TEXTS,
    owner=st.none() | TEXTS,
    created_at=st.none() | TIMES,
    selection=st.none() | st.sampled_from(SelectionVerdict),
)
LATESTS = st.builds(
    LatestImage,
    group=st.text(max_size=8),
    id=TEXTS,
    name=st.none() | TEXTS,
    owner=TEXTS,
    created_at=st.none() | TIMES,
    since=TIMES,
    previous_id=st.none() | TEXTS,
)


@given(st.lists(IMAGES), st.lists(LATESTS), st.none() | st.integers(0, 500))
def test_status_is_read_as_it_was_written(
    images: list[ImageStatus], latest: list[LatestImage], selected: int | None
) -> None:
    status = Status(images=tuple(images), latest=tuple(latest), selected=selected)

    stored = json.loads(json.dumps(status_json.write(status)))

    assert status_json.read(stored) == status


@pytest.mark.parametrize(
    "overwritten",
    [
        {"images": [{**ROW, "selection": "selected"}]},
        {"images": [{**ROW, "createdAt": "yesterday"}]},
        {"latest": [{"id": A}]},
        {"latest": A},
    ],
    ids=["unknown selection", "no time", "half a row", "no rows"],
)
def test_unreadable_selection_counts_as_never_written(overwritten: dict[str, object]) -> None:
    assert status_json.read({"observedGeneration": 3, **overwritten}) == Status()
