"""The selection: its rules one by one, then as properties of any list of shares."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_share_operator.api.selector import (
    ImageSelector,
    OsType,
    SelectionPolicy,
    SelectorTerm,
)
from image_share_operator.api.types import (
    ImageStatus,
    LatestImage,
    Membership,
    SelectionVerdict,
    Share,
)
from image_share_operator.planning.matching import failing_field, newest_first
from image_share_operator.planning.selection import (
    SelectedShare,
    Selection,
    latest_images,
    release_renamed,
    select,
    superseded,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OWNER, OTHER = "b" * 32, "c" * 32
TERM = SelectorTerm(owner=OWNER, name="ubuntu-*")
GROUP_BY = "^(.+)-[0-9]+$"
SELECTED = SelectionVerdict.SELECTED
SUPERSEDED = SelectionVerdict.SUPERSEDED
TOO_YOUNG = SelectionVerdict.TOO_YOUNG


def share(number: int, **fields: Any) -> Share:
    """An accepted Linux image with this number in its ID and name, created this many days ago."""
    one = Share(
        id=f"image-{number}",
        membership=Membership.ACCEPTED,
        owner=OWNER,
        name=f"ubuntu-{number}",
        created_at=NOW - number * DAY,
        status="active",
        os_type="Linux",
    )
    return replace(one, **fields)


def selector(*terms: SelectorTerm, **policy: Any) -> ImageSelector:
    return ImageSelector(
        terms=terms or (TERM,),
        policy=replace(SelectionPolicy(), **policy),
    )


def verdicts(
    shares: Sequence[Share],
    *terms: SelectorTerm,
    known: Sequence[ImageStatus] = (),
    **policy: Any,
) -> dict[str, SelectionVerdict]:
    """The verdicts by ID, in the order of the result."""
    result = select(selector(*terms, **policy), shares, known, NOW)
    return {one.share.id: one.verdict for one in result.matches}


def rows(selection: Selection, job_id: str | None = "job") -> tuple[ImageStatus, ...]:
    """The status after this selection, accepted by this resource."""
    return tuple(
        ImageStatus(
            id=one.share.id,
            membership=one.share.membership,
            job_id=job_id,
            name=one.share.name,
            owner=one.share.owner,
            selection=one.verdict,
        )
        for one in selection.matches
    )


@pytest.mark.parametrize(
    ("term", "one", "failing"),
    [
        (TERM, share(1), None),
        (replace(TERM, name="*"), share(1), None),
        (replace(TERM, name="ubuntu-?"), share(1), None),
        (TERM, share(1, owner=OTHER), "owner"),
        (TERM, share(1, name="Ubuntu-1"), "name"),
        (TERM, share(1, name="my-ubuntu-1"), "name"),
        (replace(TERM, name="ubuntu"), share(1), "name"),
        (replace(TERM, os_type=OsType.LINUX), share(1), None),
        (replace(TERM, os_type=OsType.WINDOWS), share(1), "osType"),
        (TERM, share(1, full_server=True), "fullServer"),
        (replace(TERM, full_server=True), share(1), "fullServer"),
        (replace(TERM, full_server=True), share(1, full_server=True), None),
        (TERM, share(1, name=None), "name"),
        (replace(TERM, name="*"), share(1, name=None), None),
        (replace(TERM, os_type=OsType.LINUX), share(1, os_type=None), "osType"),
        (TERM, share(1, os_type=None), None),
    ],
)
def test_term_matches_when_all_its_fields_do(
    term: SelectorTerm, one: Share, failing: str | None
) -> None:
    assert failing_field(term, one) == failing
    assert verdicts([one], term) == ({one.id: SELECTED} if failing is None else {})


def test_image_matches_when_any_term_does() -> None:
    terms = (TERM, replace(TERM, owner=OTHER, name="debian-*"))

    found = verdicts(
        [share(1), share(2, owner=OTHER), share(3, owner=OTHER, name="debian-12")], *terms
    )

    assert list(found) == ["image-1", "image-3"]


def test_newest_counts_per_group_and_by_age() -> None:
    shares = [
        share(3, name="ubuntu-a-3"),
        share(1, name="ubuntu-a-1"),
        share(2, name="ubuntu-a-2"),
        share(9, name="ubuntu-b-9"),
        share(4, name="ubuntu-4x"),
    ]

    result = select(selector(group_by=GROUP_BY, newest=2), shares, (), NOW)

    assert [(one.share.id, one.group, one.verdict) for one in result.matches] == [
        ("image-4", "ubuntu-4x", SELECTED),
        ("image-1", "ubuntu-a", SELECTED),
        ("image-2", "ubuntu-a", SELECTED),
        ("image-9", "ubuntu-b", SELECTED),
        ("image-3", "ubuntu-a", SUPERSEDED),
    ]


def test_images_of_the_same_age_are_ordered_by_id() -> None:
    same = [share(number, created_at=NOW) for number in (3, 1, 2)]

    assert list(verdicts(same, newest=1)) == ["image-1", "image-2", "image-3"]


def test_image_without_time_of_creation_is_the_oldest() -> None:
    shares = [share(1, created_at=None), share(2)]

    assert verdicts(shares, newest=1) == {"image-2": SELECTED, "image-1": SUPERSEDED}


def test_image_without_time_of_creation_is_too_young_with_min_age() -> None:
    result = select(selector(min_age=DAY), [share(1, created_at=None)], (), NOW)

    assert [(one.verdict, one.reason) for one in result.matches] == [
        (TOO_YOUNG, "its age is unknown: the cloud returned no created_at")
    ]
    assert result.wake_at is None


def test_young_image_waits_and_supersedes_nothing() -> None:
    young, younger = (share(0, id=one, created_at=NOW - span) for one, span in AGES)

    result = select(selector(min_age=DAY, newest=1), [young, younger, share(2)], (), NOW)

    assert [(one.share.id, one.verdict, one.reason) for one in result.matches] == [
        ("image-2", SELECTED, None),
        ("younger", TOO_YOUNG, "younger than minAge until 2026-02-01T11:00:00Z"),
        ("young", TOO_YOUNG, "younger than minAge until 2026-01-31T12:00:01Z"),
    ]
    assert result.wake_at == NOW + timedelta(seconds=1)


AGES = (("young", DAY - timedelta(seconds=1)), ("younger", timedelta(hours=1)))


def test_image_is_old_enough_at_min_age() -> None:
    assert verdicts([share(1)], min_age=DAY) == {"image-1": SELECTED}


@pytest.mark.parametrize("future", [NOW + DAY, datetime.max.replace(tzinfo=UTC)])
def test_image_of_the_future_is_too_young_only_with_min_age(future: datetime) -> None:
    ahead = share(1, created_at=future)

    assert verdicts([ahead, share(2)], newest=1) == {"image-1": SELECTED, "image-2": SUPERSEDED}
    assert verdicts([ahead], min_age=DAY) == {"image-1": TOO_YOUNG}


@pytest.mark.parametrize("status", ["deactivated", "queued", "killed", "ACTIVE", ""])
def test_image_that_is_not_active_is_inactive(status: str) -> None:
    shares = [share(1, status=status), share(2)]

    assert verdicts(shares, newest=1) == {
        "image-2": SELECTED,
        "image-1": SelectionVerdict.INACTIVE,
    }


def test_image_without_status_may_be_selected() -> None:
    assert verdicts([share(1, status=None)]) == {"image-1": SELECTED}


def test_exclude_wins_over_all_other_rules() -> None:
    shares = [share(1, status="queued", created_at=None), share(2), share(3)]

    found = verdicts(shares, exclude=frozenset({"image-1", "image-2"}), min_age=DAY, newest=1)

    assert found == {
        "image-3": SELECTED,
        "image-2": SelectionVerdict.EXCLUDED,
        "image-1": SelectionVerdict.EXCLUDED,
    }


def test_nothing_new_is_selected_over_the_limit() -> None:
    shares = [share(number) for number in range(1, 5)]
    before = select(selector(), shares[2:], (), NOW)

    found = verdicts(shares, known=rows(before), limit=3)

    over = SelectionVerdict.OVER_LIMIT
    assert list(found.items()) == [
        ("image-3", SELECTED),
        ("image-4", SELECTED),
        ("image-1", over),
        ("image-2", over),
    ]


def test_images_up_to_the_limit_are_selected() -> None:
    assert verdicts([share(1), share(2)], limit=2) == {"image-1": SELECTED, "image-2": SELECTED}


def test_image_that_was_superseded_before_does_not_stay_over_the_limit() -> None:
    known = rows(select(selector(newest=1), [share(1), share(2)], (), NOW))

    found = verdicts([share(1), share(2)], known=known, limit=1)

    assert found == {"image-1": SELECTED, "image-2": SelectionVerdict.OVER_LIMIT}
    assert verdicts([share(0), share(2)], known=known, limit=1) == {
        "image-0": SelectionVerdict.OVER_LIMIT,
        "image-2": SelectionVerdict.OVER_LIMIT,
    }


def test_images_that_are_not_selected_are_ordered_by_age() -> None:
    shares = [share(1), share(2, status="deactivated"), share(3)]

    assert list(verdicts(shares, limit=1)) == ["image-1", "image-2", "image-3"]


def test_newest_ones_stay_when_the_limit_is_lowered() -> None:
    shares = [share(number) for number in range(1, 4)]
    before = select(selector(), shares, (), NOW)

    result = select(selector(limit=2), shares, rows(before), NOW)

    assert result.selected == ("image-1", "image-2")
    assert result.over_limit


def test_image_that_is_listed_twice_is_selected_once() -> None:
    renamed = share(1, name="ubuntu-new")

    result = select(selector(), [share(1), renamed], (), NOW)

    assert [one.share for one in result.matches] == [renamed]


# Removal


def step(shares: Sequence[Share], **policy: Any) -> Selection:
    return select(selector(group_by=GROUP_BY, newest=1, **policy), shares, (), NOW)


OLD, NEW = share(2, name="ubuntu-a-2"), share(1, name="ubuntu-a-1")


def test_superseded_image_is_removed_after_its_successor_is_accepted() -> None:
    known = rows(step([OLD]))
    pending = replace(NEW, membership=Membership.PENDING)

    assert superseded(step([OLD, pending]), known) == ()
    assert superseded(step([OLD, replace(NEW, status=None)]), known) == ()
    assert superseded(step([OLD, NEW]), known) == ("image-2",)


def test_excluded_image_is_removed() -> None:
    excluded = step([OLD], exclude=frozenset({"image-2"}))

    assert superseded(excluded, rows(step([OLD]))) == ("image-2",)


@pytest.mark.parametrize(
    "row",
    [
        {"job_id": None},
        {"membership": Membership.PENDING},
        {"membership": Membership.REJECTED},
        {"id": "another"},
    ],
)
def test_image_that_this_resource_did_not_accept_is_not_removed(row: dict[str, Any]) -> None:
    (known,) = rows(step([OLD]))

    assert superseded(step([OLD, NEW]), [replace(known, **row)]) == ()


def test_nothing_is_removed_over_the_limit() -> None:
    shares = [OLD, NEW, share(1, id="b", name="ubuntu-b-1")]

    assert superseded(step(shares), rows(step([OLD]))) == ("image-2",)
    assert superseded(step(shares, limit=1), rows(step([OLD]))) == ()


def test_too_young_inactive_and_withdrawn_images_are_not_removed() -> None:
    known = rows(step([OLD]))

    assert superseded(step([OLD, NEW], min_age=10 * DAY), known) == ()
    assert superseded(step([replace(OLD, status="deactivated"), NEW]), known) == ()
    assert superseded(step([NEW]), known) == ()


def status_after(selection: Selection, known: Sequence[ImageStatus]) -> tuple[ImageStatus, ...]:
    """The rows that a controller writes: names of today, jobs of `release_renamed`."""
    jobs = {row.id: row.job_id for row in release_renamed(selection, known)}
    return tuple(replace(row, job_id=jobs.get(row.id)) for row in rows(selection))


@pytest.mark.parametrize(
    "before",
    [
        [OLD, replace(NEW, name="ubuntu-b-1")],
        [replace(OLD, name="ubuntu-b-2"), NEW],
        [replace(OLD, name="ubuntu-b-2"), replace(NEW, name="ubuntu-c-1")],
    ],
    ids=["the newer one", "the older one", "both"],
)
def test_rename_into_one_group_removes_nothing_now_and_later(before: list[Share]) -> None:
    known = rows(step(before))
    after = step([OLD, NEW])

    for _ in range(3):
        assert superseded(after, known) == ()
        known = status_after(after, known)
    assert [one.verdict for one in after.matches] == [SELECTED, SUPERSEDED]


def test_rename_into_a_group_removes_no_older_image_at_the_next_build() -> None:
    oldest, newest = share(3, name="ubuntu-a-3"), share(0, name="ubuntu-a-0")
    two = selector(group_by=GROUP_BY, newest=2)
    before = rows(select(two, [oldest, replace(OLD, name="ubuntu-b-2")], (), NOW))
    renamed = select(two, [oldest, OLD], before, NOW)
    after = select(two, [oldest, OLD, newest], status_after(renamed, before), NOW)

    assert renamed.selected == ("image-2", "image-3")
    assert [one.verdict for one in after.matches] == [SELECTED, SELECTED, SUPERSEDED]
    assert superseded(after, status_after(renamed, before)) == ()


def test_rename_into_a_group_keeps_no_newer_image_from_removal() -> None:
    oldest, newest = share(3, name="ubuntu-a-3"), share(0, name="ubuntu-a-0")
    known = rows(step([replace(oldest, name="ubuntu-b-3"), OLD]))

    assert superseded(step([oldest, OLD, newest]), known) == ("image-2",)


def test_renamed_image_is_not_removed_when_a_newer_one_follows() -> None:
    known = rows(step([replace(OLD, name="ubuntu-b-2")]))
    renamed = status_after(step([OLD]), known)

    assert superseded(step([OLD, NEW]), renamed) == ()


def test_dry_run_shows_what_is_removed_when_the_successor_is_accepted() -> None:
    after = step([OLD, replace(NEW, membership=Membership.PENDING)])

    assert superseded(after, rows(step([OLD])), is_settled=True) == ("image-2",)


def test_row_without_a_name_counts_as_renamed() -> None:
    known = [replace(row, name=None) for row in rows(step([OLD]))]

    assert superseded(step([OLD, NEW]), known) == ()


def test_rename_keeps_the_job_of_a_selected_image_that_is_not_accepted() -> None:
    known = [replace(row, membership=Membership.PENDING) for row in rows(step([OLD]))]

    assert release_renamed(step([replace(OLD, name="ubuntu-b-2")]), known) == tuple(known)


def test_rows_stay_as_they_are_without_a_rename() -> None:
    known = rows(step([OLD]))

    assert release_renamed(step([OLD, NEW]), known) == known


# The latest images


def latest(
    shares: Sequence[Share],
    before: Sequence[LatestImage] = (),
    members: dict[str, Membership] | None = None,
    now: datetime = NOW,
) -> tuple[LatestImage, ...]:
    return latest_images(step(shares), members or {}, before, now)


def test_latest_image_of_each_group_is_listed_by_group() -> None:
    found = latest([share(1, name="ubuntu-b-1"), OLD, NEW])

    assert found == (
        LatestImage(
            group="ubuntu-a",
            id="image-1",
            name="ubuntu-a-1",
            owner=OWNER,
            created_at=NOW - DAY,
            since=NOW,
        ),
    )


def test_latest_image_keeps_its_time_and_moves_with_the_one_before() -> None:
    first = latest([OLD])
    same = latest([OLD], first, now=NOW + DAY)
    moved = latest([OLD, NEW], same, now=NOW + 2 * DAY)

    assert same == first
    assert [(one.id, one.since, one.previous_id) for one in moved] == [
        ("image-1", NOW + 2 * DAY, "image-2")
    ]
    assert latest([OLD, NEW], moved, now=NOW + 3 * DAY) == moved


@pytest.mark.parametrize(
    "successor",
    [
        replace(NEW, membership=Membership.PENDING),
        replace(NEW, status=None),
    ],
)
def test_latest_image_stays_until_its_successor_is_accepted_and_active(successor: Share) -> None:
    before = latest([OLD])

    assert latest([OLD, successor], before, now=NOW + DAY) == before


def test_only_the_latest_image_before_stays() -> None:
    pending = replace(NEW, membership=Membership.PENDING)
    shares = [share(3, name="ubuntu-a-3"), OLD, pending]

    assert latest(shares, latest(shares[:1]), now=NOW + DAY) == latest(shares[:1])
    assert latest(shares) == ()


def test_latest_images_are_ordered_by_group_also_where_one_stays() -> None:
    pending = replace(NEW, membership=Membership.PENDING)
    other = share(1, id="b", name="ubuntu-b-1")

    found = latest([OLD, pending, other], latest([OLD]))

    assert [one.group for one in found] == ["ubuntu-a", "ubuntu-b"]


def test_latest_image_does_not_stay_when_it_is_no_longer_accepted() -> None:
    pending = replace(NEW, membership=Membership.PENDING)

    assert latest([replace(OLD, membership=Membership.REJECTED), pending], latest([OLD])) == ()


def test_latest_image_is_by_the_membership_that_was_read_last() -> None:
    assert latest([OLD], members={"image-2": Membership.PENDING}) == ()


# Properties

NAMES = st.sampled_from([None, "ubuntu-a-1", "ubuntu-a-2", "ubuntu-b-1", "ubuntu-x", "debian-1"])
TIMES = st.none() | st.integers(-3, 3).map(lambda days: NOW - days * DAY)
SHARES = st.lists(
    st.builds(
        Share,
        id=st.integers(0, 9).map(lambda number: f"image-{number}"),
        membership=st.sampled_from([Membership.ACCEPTED, Membership.PENDING]),
        owner=st.sampled_from([OWNER, OTHER, "d" * 32]),
        name=NAMES,
        created_at=TIMES,
        status=st.sampled_from(["active", "active", None, "deactivated"]),
        os_type=st.sampled_from([None, "Linux", "Windows"]),
        full_server=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)
TERMS = st.lists(
    st.builds(
        SelectorTerm,
        owner=st.sampled_from([OWNER, OTHER]),
        name=st.sampled_from(["*", "ubuntu-*", "ubuntu-?-1", "*-2"]),
        os_type=st.none() | st.just(OsType.LINUX),
        full_server=st.booleans(),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
POLICIES = st.builds(
    SelectionPolicy,
    group_by=st.none() | st.just(GROUP_BY),
    newest=st.none() | st.integers(1, 3),
    min_age=st.sampled_from([timedelta(), DAY]),
    exclude=st.frozensets(st.just("image-3")),
    limit=st.integers(1, 4),
)
SELECTORS = st.builds(ImageSelector, terms=TERMS, policy=POLICIES)


@given(given_selector=SELECTORS, shares=SHARES, earlier=SHARES)
def test_selected_images_obey_every_rule(
    given_selector: ImageSelector, shares: list[Share], earlier: list[Share]
) -> None:
    policy = given_selector.policy
    known = rows(select(given_selector, earlier, (), NOW))

    result = select(given_selector, shares, known, NOW)

    chosen = [one for one in result.matches if one.verdict is SELECTED]
    assert len(chosen) <= policy.limit
    for one in chosen:
        assert one.reason is None
        assert one.share.owner in given_selector.owners
        assert any(failing_field(term, one.share) is None for term in given_selector.terms)
        assert one.share.id not in policy.exclude
        assert one.share.status in (None, "active")
        old_enough = one.share.created_at is not None and NOW - one.share.created_at >= DAY
        assert old_enough or not policy.min_age
    for group in {one.group for one in chosen}:
        assert sum(one.group == group for one in chosen) <= (policy.newest or policy.limit)
    if result.over_limit:
        before = {row.id for row in known if row.selection is SELECTED}
        assert {one.share.id for one in chosen} <= before


@given(given_selector=SELECTORS, shares=SHARES, earlier=SHARES, order=st.randoms())
def test_result_does_not_depend_on_the_order_of_the_list(
    given_selector: ImageSelector,
    shares: list[Share],
    earlier: list[Share],
    order: random.Random,
) -> None:
    known = rows(select(given_selector, earlier, (), NOW))
    shuffled = list(shares)
    order.shuffle(shuffled)

    assert select(given_selector, shuffled, known, NOW) == select(
        given_selector, shares, known, NOW
    )


@given(given_selector=SELECTORS, shares=SHARES)
def test_each_matching_share_has_one_verdict(
    given_selector: ImageSelector, shares: list[Share]
) -> None:
    result = select(given_selector, shares, (), NOW)

    matching = {
        one.id
        for one in shares
        if any(failing_field(term, one) is None for term in given_selector.terms)
    }
    assert sorted(one.share.id for one in result.matches) == sorted(matching)
    assert result.seen == sum(one.owner in given_selector.owners for one in shares)


@given(given_selector=SELECTORS, shares=SHARES)
def test_superseded_image_is_not_newer_than_a_selected_one_of_its_group(
    given_selector: ImageSelector, shares: list[Share]
) -> None:
    result = select(given_selector, shares, (), NOW)

    def key(one: SelectedShare) -> tuple[bool, timedelta, str]:
        at = one.share.created_at
        return at is None, timedelta() if at is None else NOW - at, one.share.id

    for one in result.matches:
        if one.verdict is SUPERSEDED:
            newer = [
                other
                for other in result.matches
                if other.group == one.group
                and other.verdict in (SELECTED, SelectionVerdict.OVER_LIMIT)
                and key(other) < key(one)
            ]
            assert len(newer) == given_selector.policy.newest


@given(given_selector=SELECTORS, shares=SHARES)
def test_selector_wakes_when_the_next_image_is_old_enough(
    given_selector: ImageSelector, shares: list[Share]
) -> None:
    result = select(given_selector, shares, (), NOW)

    waiting = {one.share.id for one in result.matches if one.verdict is TOO_YOUNG}
    if result.wake_at is None:
        later = select(given_selector, shares, (), NOW + 1000 * DAY)
        assert all(one.share.created_at is None for one in later.matches if one.share.id in waiting)
    else:
        before, then = (
            {
                one.share.id
                for one in select(given_selector, shares, (), at).matches
                if one.verdict is TOO_YOUNG
            }
            for at in (result.wake_at - timedelta(microseconds=1), result.wake_at)
        )
        assert before == waiting
        assert then < waiting


RENAMES = st.dictionaries(
    st.integers(0, 9).map(lambda number: f"image-{number}"), NAMES, max_size=3
)


@given(given_selector=SELECTORS, shares=SHARES, renames=RENAMES)
def test_renames_alone_never_remove_an_image(
    given_selector: ImageSelector, shares: list[Share], renames: dict[str, str | None]
) -> None:
    """Neither in the reconcile that sees the new names nor in later ones."""
    first = select(given_selector, shares, (), NOW)
    known = rows(first)
    due = set(superseded(first, known))  # without any rename
    after = [replace(one, name=renames.get(one.id, one.name)) for one in shares]

    for _ in range(3):
        result = select(given_selector, after, known, NOW)
        assert set(superseded(result, known)) <= due
        known = status_after(result, known)


BUILDS = st.lists(
    st.builds(
        share,
        st.integers(-3, 3),
        id=st.integers(0, 9).map(lambda number: f"image-{number}"),
        name=st.sampled_from(["ubuntu-a-1", "ubuntu-a-2", "ubuntu-b-1", "ubuntu-b-2"]),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
).map(lambda builds: newest_first(builds)[::-1])
"""The oldest first, in two groups; the same term matches each of the names."""


@given(
    newest=st.integers(1, 3),
    builds=BUILDS,
    count=st.integers(0, 8),
    renames=st.dictionaries(
        st.integers(0, 9).map(lambda number: f"image-{number}"),
        st.sampled_from(["ubuntu-a-3", "ubuntu-b-3"]),
        max_size=3,
    ),
)
def test_image_removed_after_renames_is_also_removed_without_them(
    newest: int, builds: list[Share], count: int, renames: dict[str, str]
) -> None:
    """The owner renames some of the first images, and then shares the others, one by one."""

    def removed(names: dict[str, str]) -> set[str]:
        found: set[str] = set()
        known: tuple[ImageStatus, ...] = ()
        for number in range(count, len(builds) + 1):
            shared = builds[:number]
            for after in ({}, names) if number == count else (names,):
                shares = [replace(one, name=after.get(one.id, one.name)) for one in shared]
                result = select(selector(group_by=GROUP_BY, newest=newest), shares, known, NOW)
                found |= set(superseded(result, known))
                seen = {row.id for row in known}
                new = tuple(row for row in rows(result) if row.id not in seen)
                known = (*(row for row in status_after(result, known) if row.id in seen), *new)
        return found

    early = {one.id for one in builds[:count]}
    assert removed({k: v for k, v in renames.items() if k in early}) <= removed({})


@given(given_selector=SELECTORS, shares=SHARES, earlier=SHARES)
def test_removed_image_was_accepted_here_and_has_a_usable_successor(
    given_selector: ImageSelector, shares: list[Share], earlier: list[Share]
) -> None:
    known = rows(select(given_selector, earlier, (), NOW))

    result = select(given_selector, shares, known, NOW)

    by_id = {one.share.id: one for one in result.matches}
    accepted = {row.id for row in known if row.membership is Membership.ACCEPTED}
    for image in superseded(result, known):
        one = by_id[image]
        assert image in accepted
        assert one.verdict in (SUPERSEDED, SelectionVerdict.EXCLUDED)
        assert not result.over_limit
        successors = [
            other.share
            for other in result.matches
            if other.group == one.group and other.verdict is SELECTED
        ]
        assert successors or one.verdict is SelectionVerdict.EXCLUDED
        assert all(
            other.membership is Membership.ACCEPTED and other.status == "active"
            for other in successors
        )


@given(given_selector=SELECTORS, lists=st.lists(SHARES, min_size=1, max_size=3))
def test_latest_image_was_seen_accepted_and_active(
    given_selector: ImageSelector, lists: list[list[Share]]
) -> None:
    before: tuple[LatestImage, ...] = ()
    for number, shares in enumerate(lists):
        at = NOW + number * DAY
        result = select(given_selector, shares, (), at)
        found = latest_images(result, {}, before, at)

        usable = {
            one.id
            for one in shares
            if one.membership is Membership.ACCEPTED and one.status == "active"
        }
        assert {one.id for one in found} <= usable
        assert [one.group for one in found] == sorted({one.group for one in found})
        assert latest_images(result, {}, found, at + DAY) == found
        before = found
