"""Why a term does not match, and why a selector selects nothing: the words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_share_operator.api.selector import ImageSelector, OsType, SelectionPolicy, SelectorTerm
from image_share_operator.api.types import Membership, Share
from image_share_operator.planning.matching import failing_field, mismatch
from image_share_operator.planning.selection import select

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OWNER, OTHER = "b" * 32, "c" * 32
TERM = SelectorTerm(owner=OWNER, name="ubuntu-*", os_type=OsType.LINUX)
SHARE = Share(
    id="image-1",
    membership=Membership.PENDING,
    owner=OWNER,
    name="ubuntu-1",
    created_at=NOW,
    os_type="Linux",
)


@pytest.mark.parametrize(
    ("term", "share", "words"),
    [
        (TERM, SHARE, None),
        (TERM, replace(SHARE, owner=OTHER), f"its owner is {OTHER}, not {OWNER}"),
        (
            TERM,
            replace(SHARE, name="debian-12"),
            "its name is 'debian-12' and does not match 'ubuntu-*'",
        ),
        (TERM, replace(SHARE, name=None), "its name is unknown and does not match 'ubuntu-*'"),
        (TERM, replace(SHARE, os_type="Windows"), "its OS type is Windows, not Linux"),
        (TERM, replace(SHARE, os_type=None), "its OS type is unknown, not Linux"),
        (
            TERM,
            replace(SHARE, full_server=True),
            "it is a full-server image, and fullServer is false",
        ),
        (
            replace(TERM, full_server=True),
            SHARE,
            "it is not known to be a full-server image, and fullServer is true",
        ),
    ],
)
def test_mismatch_names_the_first_field_that_fails(
    term: SelectorTerm, share: Share, words: str | None
) -> None:
    assert mismatch(term, share) == words


def why(shares: list[Share], *terms: SelectorTerm, min_age: timedelta = timedelta()) -> str:
    selector = ImageSelector(
        terms=terms, policy=SelectionPolicy(min_age=min_age, exclude=frozenset({"image-9"}))
    )
    return select(selector, shares, (), NOW).why_nothing


def test_nothing_is_explained_when_an_image_is_selected() -> None:
    assert why([SHARE], TERM) == ""


def test_owner_without_a_share_is_named() -> None:
    assert why([replace(SHARE, owner=OTHER)], TERM) == f"owner {OWNER} shares no image with it"


def test_shares_are_counted_by_the_field_that_fails_with_the_newest_of_each() -> None:
    shares = [
        replace(SHARE, id="a", name="debian-1", created_at=NOW - timedelta(days=1)),
        replace(SHARE, id="b", name="debian-2"),
        replace(SHARE, id="c", os_type="Windows", name=None),
        replace(SHARE, id="d", os_type="Windows"),
        replace(SHARE, id="e", full_server=True),
    ]

    assert why(shares, TERM) == (
        f"owner {OWNER} shares 5 images, and none matches: "
        "3 with a name that does not match 'ubuntu-*' (newest: 'debian-2'), "
        "1 with another or an unknown OS type (newest: 'ubuntu-1'), "
        "1 with another value of fullServer (newest: 'ubuntu-1')"
    )


def test_share_counts_for_the_term_that_is_closest() -> None:
    shares = [replace(SHARE, os_type="Windows"), replace(SHARE, id="image-2", name="x")]

    assert why(shares, TERM, replace(TERM, name="debian-*")) == (
        f"owner {OWNER} shares 2 images, and none matches: "
        "1 with a name that no term matches (newest: 'x'), "
        "1 with another or an unknown OS type (newest: 'ubuntu-1')"
    )


def test_three_owners_are_explained() -> None:
    terms = [SelectorTerm(owner=f"{number}") for number in range(5)]

    assert why([], *terms) == (
        "owner 0 shares no image with it; owner 1 shares no image with it; "
        "owner 2 shares no image with it; 2 more owners share no image that matches"
    )


def test_matches_that_are_not_selected_are_counted() -> None:
    shares = [SHARE, replace(SHARE, id="image-2"), replace(SHARE, id="image-9")]

    assert why(shares, TERM, min_age=timedelta(days=1)) == (
        "3 images match, and none is selected: 1 Excluded, 2 TooYoung"
    )


@given(
    shares=st.lists(
        st.builds(
            replace,
            st.just(SHARE),
            name=st.none() | st.text(st.characters(exclude_categories=["C"]), max_size=128),
            owner=st.integers(0, 15).map(lambda number: f"{number:032}"),
        ),
        max_size=20,
    )
)
def test_explanation_is_one_line_that_fits_into_a_condition(shares: list[Share]) -> None:
    terms = [replace(TERM, owner=f"{number:032}", name="n" * 128) for number in range(16)]

    words = why(shares, *terms)

    assert len(words) < 1500
    assert words.isprintable()


@given(name=st.none() | st.text(max_size=5), full=st.booleans(), owner=st.sampled_from("ab"))
def test_mismatch_is_none_exactly_when_the_term_matches(
    name: str | None, full: bool, owner: str
) -> None:
    share = replace(SHARE, name=name, full_server=full, owner=owner)

    for term in (SelectorTerm(owner="a"), SelectorTerm(owner="a", name="*a", full_server=True)):
        assert (mismatch(term, share) is None) is (failing_field(term, share) is None)
