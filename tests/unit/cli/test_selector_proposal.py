"""The proposed selector: its terms by example, and that it selects what it must, for any list."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_share_operator.api import patterns
from image_share_operator.api.selector import ImageSelector, SelectionPolicy
from image_share_operator.api.types import Decision, Membership, Share
from image_share_operator.cli.selector_proposal import Proposal, TooManyImagesError, propose
from image_share_operator.planning.selection import select

NOW = datetime(2026, 5, 10, tzinfo=UTC)
OWNER, OTHER = "b" * 32, "c" * 32
LONGEST_PATTERN = 128
"""As in the CRD."""


def share(number: int, name: str | None, **fields: Any) -> Share:
    known = {
        "id": f"00000000-0000-4000-8000-{number:012}",
        "membership": Membership.PENDING,
        "owner": OWNER,
        "name": name,
        "created_at": NOW - timedelta(days=number),
        "status": "active",
    }
    return Share(**known | fields)


def shares(*names: str, **fields: Any) -> list[Share]:
    return [share(number, name, **fields) for number, name in enumerate(names)]


def terms(proposal: Proposal) -> list[tuple[str, str]]:
    return [(one.term.owner[0], one.term.name) for one in proposal.terms]


def selected(proposal: Proposal, listed: Sequence[Share]) -> set[str]:
    policy = SelectionPolicy(
        group_by=proposal.group_by,
        newest=proposal.newest,
        exclude=frozenset(one.id for one in proposal.exclude),
        limit=proposal.limit,
    )
    selector = ImageSelector(terms=tuple(one.term for one in proposal.terms), policy=policy)
    return set(select(selector, listed, (), NOW).selected)


@pytest.mark.parametrize(
    ("names", "pattern", "group_by"),
    [
        (["base-20260504"], "base-*", "^(.+)-[0-9]{8}$"),
        (["base_20260504", "base_20260511"], "base_*", "^(.+)_[0-9]{8}$"),
        (["base.2026-05-04"], "base.*", "^(.+)[.][0-9]{4}-[0-9]{2}-[0-9]{2}$"),
        (["base-20260504-0430"], "base-*", "^(.+)-[0-9]{8}[-T]?[0-9]{4,6}Z?$"),
        (["base-20260504T043000Z"], "base-*", "^(.+)-[0-9]{8}[-T]?[0-9]{4,6}Z?$"),
        (["base-v2", "base-v2.1"], "base-v*", "^(.+)-v[0-9]+(?:[.][0-9]+)*$"),
        (["base-v2.20260504"], "base-v*", "^(.+)-v[0-9]+(?:[.][0-9]+)*$"),
        (["base-1.4.2"], "base-*", "^(.+)-[0-9]+[.][0-9]+[.][0-9]+$"),
        (["ubuntu-24.04"], "ubuntu-24.04", None),
        (["postgres-17"], "postgres-17", None),
        (["20260504"], "20260504", None),
        (["a[1]\\b-20260504"], "a?1??b-*", "^(.+)-[0-9]{8}$"),
    ],
)
def test_term_is_for_the_series_of_a_name(
    names: list[str], pattern: str, group_by: str | None
) -> None:
    proposal = propose(shares(*names), Decision.ACCEPT)

    assert terms(proposal) == [("b", pattern)]
    assert proposal.group_by == group_by


def test_group_is_the_series_where_names_end_in_several_ways() -> None:
    names = ["base-2026-05-04", "ubuntu-24.04-20260504", "app_v1.2", "app_v1", "db-1.2.3", "plain"]
    proposal = propose(shares(*names, "os-20260504T0430"), Decision.ACCEPT)

    assert proposal.group_by is not None
    groups = [patterns.captured(proposal.group_by, name) for name in names]
    assert groups == ["base", "ubuntu-24.04", "app", "app", "db", "plain"]
    assert len(proposal.group_by) <= LONGEST_PATTERN
    patterns.check_regex(proposal.group_by)


def test_each_owner_has_its_own_terms() -> None:
    listed = [share(1, "a-20260504"), share(2, "b-20260504", owner=OTHER), share(3, "a-20260511")]

    assert terms(propose(listed, Decision.ACCEPT)) == [("b", "a-*"), ("c", "b-*")]


def test_term_that_another_term_includes_is_left_out() -> None:
    proposal = propose(shares("a-20260504", "a-b-20260504", "a-c"), Decision.ACCEPT)

    assert terms(proposal) == [("b", "a-*")]
    assert len(proposal.terms[0].images) == 3


@pytest.mark.parametrize(("builds", "newest"), [(1, 3), (3, 3), (5, 5)])
def test_newest_is_at_least_three_and_all_of_today(builds: int, newest: int) -> None:
    names = [f"base-2026050{number}" for number in range(builds)]

    listed = shares(*names, "other-20260504", status=None)
    deactivated = shares(*names, status="deactivated")

    assert propose([*listed, *deactivated], Decision.ACCEPT).newest == newest


def test_rejected_image_that_a_term_matches_is_excluded() -> None:
    listed = [
        share(1, "base-20260504"),
        share(2, "base-20260511", membership=Membership.ACCEPTED),
        share(3, "base-20260427", membership=Membership.REJECTED),
        share(4, "other-20260427", membership=Membership.REJECTED),
    ]

    accept, reject = (propose(listed, decision) for decision in Decision)

    assert [one.id[-1] for one in accept.exclude] == ["3"]
    assert [one.id[-1] for one in reject.exclude] == ["2"]
    assert [one.id[-1] for one in accept.covered] == ["1", "2"]


def test_full_server_image_is_left_out_unless_it_is_rejected() -> None:
    """The CRD requires a vault only to accept one."""
    listed = [share(1, "base-20260504"), share(2, "backup-20260504", full_server=True)]

    accept, reject = (propose(listed, decision) for decision in Decision)

    assert (terms(accept), accept.full_servers) == ([("b", "base-*")], 1)
    assert [(one.term.name, one.term.full_server) for one in reject.terms] == [
        ("base-*", False),
        ("backup-*", True),
    ]


@pytest.mark.parametrize("odd", [{"name": None}, {"name": ""}, {"owner": ""}, {"owner": "B" * 32}])
def test_image_without_a_name_or_valid_owner_is_left_out(odd: dict[str, Any]) -> None:
    proposal = propose([share(1, **{"name": "base", **odd})], Decision.ACCEPT)

    assert (proposal.terms, proposal.nameless) == ((), 1)


def test_more_than_sixteen_names_become_one_term_for_all_names() -> None:
    listed = shares(*(f"image{number}" for number in range(16)))
    listed.append(share(20, "other", owner=OTHER))

    assert terms(propose(listed, Decision.ACCEPT)) == [("b", "*"), ("c", "other")]
    assert len(propose(listed[1:], Decision.ACCEPT).terms) == 16


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (shares(*["base-20260504"] * 501), "501 images are shared, and a selector may select 500"),
        (
            [share(1, "a-20260504")]
            + [share(n, "a-20260504", membership=Membership.REJECTED) for n in range(2, 503)],
            "the terms would match 501 images that are decided otherwise, and exclude may have 500",
        ),
        (
            [share(number, "base", owner=f"{number:032}") for number in range(17)],
            "17 projects share images, and a selector may have 16 terms",
        ),
    ],
)
def test_too_many_images_for_a_selector_are_refused(listed: list[Share], message: str) -> None:
    with pytest.raises(TooManyImagesError, match=message):
        propose(listed, Decision.ACCEPT)


@pytest.mark.parametrize(("count", "limit"), [(1, 100), (100, 100), (101, 200), (500, 500)])
def test_limit_has_room_for_all_images(count: int, limit: int) -> None:
    proposal = propose(shares(*["base-20260504"] * count), Decision.ACCEPT)

    assert proposal.limit == limit


ENDS = st.sampled_from(
    ["", "-20260504", "-20260511", "_2026-05-04", "-v1.2", ".v3", "-1.2.3", "-20260504-0430", "-7"]
)
NAMES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["a", "a-b", "ubuntu-24.04", "a*", "x[y]", "…", "a?"]),
    ENDS,
    ENDS,
)
LISTS: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        name=st.one_of(NAMES, st.none()),
        owner=st.sampled_from([OWNER, OTHER, ""]),
        membership=st.sampled_from([Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED]),
        status=st.sampled_from(["active", "deactivated", None]),
        full_server=st.booleans(),
    ),
    max_size=40,
)


@given(rows=LISTS, decision=st.sampled_from(Decision))
def test_proposal_selects_what_is_due_and_nothing_else(
    rows: list[dict[str, Any]], decision: Decision
) -> None:
    listed = [share(number, **row) for number, row in enumerate(rows)]
    proposal = propose(listed, decision)

    active = {one.id for one in proposal.covered if one.status in ("active", None)}
    assert (selected(proposal, listed) if proposal.terms else set()) == active
    due = {one.id for one in listed if one.membership in (Membership.PENDING, decision.wanted)}
    assert {one.id for one in proposal.covered} <= due
    assert len(proposal.covered) + proposal.full_servers + proposal.nameless == len(due)
    assert all(len(one.term.name) <= LONGEST_PATTERN for one in proposal.terms)
