"""Generates the table of the selection: examples, as `planning/selection.py` decides them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from image_share_operator.api.selector import ImageSelector, OsType, SelectionPolicy, SelectorTerm
from image_share_operator.api.types import (
    ImageStatus,
    LatestImage,
    Membership,
    SelectionVerdict,
    Share,
)
from image_share_operator.planning import selection
from image_share_operator.planning.matching import mismatch
from image_share_operator.planning.selection import latest_images, select, superseded

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HEAD = """# Selection table

This page shows how a selector (`spec.imageSelectorTerms`) selects images. `hack/generate.py`
generates it from `planning/selection.py`: its docstring has the rules, and its functions return the
verdicts in the tables. `make check` fails when the page is out of date.

## Rules

"""
EXAMPLES = """
## Examples

The time is `{now}`. Unless a row says otherwise, project A shares the images, they are accepted,
their OS type is Linux, their status is `active`, and they were created on the day in their name.
"""
TERM = SelectorTerm(owner="A", name="ubuntu-*")
GROUP_BY = "^(.+)-[0-9]{8}$"

Table = tuple[Sequence[str], Sequence[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Example:
    """A selector and the shares that it is shown with.

    Attributes:
        shares: by what a row shows of each.
        selected_before: IDs of the images that the last status shows as selected.
    """

    title: str
    spec: str
    selector: ImageSelector
    shares: Mapping[str, Share]
    selected_before: Sequence[str] = ()


def render() -> str:
    """Return the page."""
    rules = (selection.__doc__ or "").partition("\n**1. Match.**")
    parts = [HEAD, rules[1].lstrip(), rules[2], EXAMPLES.format(now=f"{NOW:%Y-%m-%dT%H:%M:%SZ}")]
    parts.append("\n### Match\n\n")
    parts.append(_table(_matches()))
    for example in _examples():
        parts.append(f"\n### {example.title}\n\n{example.spec}\n\n")
        parts.append(_table(_verdicts(example)))
    parts.append(f"\n### Removal\n\n{REMOVAL}\n\n")
    parts.append(_table(_removals()))
    parts.append(f"\n### Latest\n\n{LATEST}\n\n")
    parts.append(_table(_latest()))
    return "".join(parts)


def _table(table: Table) -> str:
    head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _share(name: str, day: int, **fields: object) -> Share:
    """An image whose ID is its name."""
    share = Share(
        id=name,
        membership=Membership.ACCEPTED,
        owner="A",
        name=name,
        created_at=NOW.replace(day=day, hour=0),
        status="active",
        os_type="Linux",
    )
    return replace(share, **fields)  # type: ignore[arg-type] # by the names of the fields


def _matches() -> Table:
    share = _share("ubuntu-24.04", 1)
    linux = replace(TERM, os_type=OsType.LINUX)
    cases = [
        ("`owner: A, name: ubuntu-*`", "", TERM, share),
        ("`owner: A, name: ubuntu-*`", "shared by project B", TERM, replace(share, owner="B")),
        ("`owner: A, name: ubuntu-??.04`", "", replace(TERM, name="ubuntu-??.04"), share),
        ("`owner: A, name: ubuntu`", "", replace(TERM, name="ubuntu"), share),
        ("`owner: A, name: Ubuntu-*`", "", replace(TERM, name="Ubuntu-*"), share),
        ("`owner: A`", "no name", replace(TERM, name="*"), replace(share, name=None)),
        ("`owner: A, name: ubuntu-*`", "no name", TERM, replace(share, name=None)),
        ("`owner: A, osType: Linux`", "", linux, share),
        ("`owner: A, osType: Linux`", "no OS type", linux, replace(share, os_type=None)),
        ("`owner: A`", "full-server image", TERM, replace(share, full_server=True)),
        ("`owner: A, fullServer: true`", "", replace(TERM, full_server=True), share),
    ]
    rows = [
        (words, facts, "yes" if why is None else "no", why or "")
        for words, facts, term, one in cases
        for why in [mismatch(term, one)]
    ]
    return ("term", "the image `ubuntu-24.04`", "matches", "why not"), rows


def _examples() -> Iterator[Example]:
    days = ("ubuntu-22.04-20260110", "ubuntu-24.04-20260110", "ubuntu-24.04-20260120")
    builds = {name: _share(name, int(name[-2:])) for name in days}
    by_name = _selector(group_by=GROUP_BY, newest=1)
    yield Example("Without a policy", "`name: ubuntu-*`", _selector(), builds)
    yield Example("One group", "`name: ubuntu-*`, `newest: 1`", _selector(newest=1), builds)
    yield Example(
        "Groups",
        f"`name: ubuntu-*`, `groupBy: {GROUP_BY}`, `newest: 1`",
        by_name,
        {
            **builds,
            "ubuntu-test": _share("ubuntu-test", 5),
            "ubuntu-24.04-20260131, no `created_at`": _share(
                "ubuntu-24.04-20260131", 31, created_at=None
            ),
        },
    )
    yield Example(
        "Images that wait or are left out",
        f"`name: ubuntu-*`, `groupBy: {GROUP_BY}`, `newest: 1`, `minAge: 72h`, "
        "`exclude: [ubuntu-24.04-20260122]`",
        _selector(
            group_by=GROUP_BY,
            newest=1,
            min_age=timedelta(hours=72),
            exclude=frozenset({"ubuntu-24.04-20260122"}),
        ),
        {
            **builds,
            "ubuntu-24.04-20260121, status `deactivated`": _share(
                "ubuntu-24.04-20260121", 21, status="deactivated"
            ),
            "ubuntu-24.04-20260122": _share("ubuntu-24.04-20260122", 22),
            "ubuntu-24.04-20260123, no status": _share("ubuntu-24.04-20260123", 23, status=None),
            "ubuntu-24.04-20260129": _share("ubuntu-24.04-20260129", 29),
            "ubuntu-24.04-20260130, no `created_at`": _share(
                "ubuntu-24.04-20260130", 30, created_at=None
            ),
        },
    )
    yield Example(
        "Limit",
        "`name: ubuntu-*`, `limit: 2`. The last status shows both builds of 24.04 as `Selected`.",
        _selector(limit=2),
        {**builds, "ubuntu-24.04-20260125": _share("ubuntu-24.04-20260125", 25)},
        days[1:],
    )


def _selector(**policy: object) -> ImageSelector:
    given = replace(SelectionPolicy(), **policy)  # type: ignore[arg-type] # by their names
    return ImageSelector(terms=(TERM,), policy=given)


def _verdicts(example: Example) -> Table:
    known = [
        _row(example.shares[image], selection=SelectionVerdict.SELECTED)
        for image in example.selected_before
    ]
    words = {share.id: text for text, share in example.shares.items()}
    result = select(example.selector, tuple(example.shares.values()), known, NOW)
    rows = [
        (words[one.share.id], f"`{one.group}`" if one.group else "", one.verdict, one.reason or "")
        for one in result.matches
    ]
    return ("image, in the order of the status", "group", "verdict", "reason"), rows


def _row(share: Share, selection: SelectionVerdict | None = None) -> ImageStatus:
    return ImageStatus(
        id=share.id,
        membership=share.membership,
        job_id="a job",
        name=share.name,
        selection=selection,
    )


OLD, NEW = _share("ubuntu-20260110", 10), _share("ubuntu-20260120", 20)
REMOVAL = (
    f"`name: ubuntu-*`, `groupBy: {GROUP_BY}`, `newest: 1`, `removalPolicy: Reject`. OLD is "
    "`ubuntu-20260110`, NEW is `ubuntu-20260120`. A job of this resource accepted OLD."
)
LATEST = "The same selector. The last status has OLD in `latest`."


def _removals() -> Table:
    row = _row(OLD)
    pending = replace(NEW, membership=Membership.PENDING)
    excluding = _selector(group_by=GROUP_BY, exclude=frozenset({OLD.id}))
    limited = _selector(group_by=GROUP_BY, newest=1, limit=1)
    another = _share("ubuntu-b-20260120", 20)
    usual = _selector(group_by=GROUP_BY, newest=1)
    cases = [
        ("NEW is pending", usual, (OLD, pending), row),
        ("NEW is accepted", usual, (OLD, NEW), row),
        ("NEW has no status", usual, (OLD, replace(NEW, status=None)), row),
        ("NEW is accepted; no job of this resource accepted OLD", usual, (OLD, NEW), _no_job(row)),
        ("OLD is in `exclude`", excluding, (OLD,), row),
        ("more images than `limit`", limited, (OLD, NEW, another), row),
        ("OLD is not in the list", usual, (NEW,), row),
        ("OLD had another name in the last status", usual, (OLD, NEW), replace(row, name="x")),
        ("OLD had no name in the last status", usual, (OLD, NEW), replace(row, name=None)),
    ]
    rows = [
        (words, "yes" if superseded(select(selector, shares, [known], NOW), [known]) else "no")
        for words, selector, shares, known in cases
    ]
    return ("situation", "OLD is rejected"), rows


def _no_job(row: ImageStatus) -> ImageStatus:
    return replace(row, job_id=None)


def _latest() -> Table:
    usual = _selector(group_by=GROUP_BY, newest=1)
    before = _latest_of(usual, (OLD,), ())
    pending = replace(NEW, membership=Membership.PENDING)
    cases: list[tuple[str, tuple[Share, ...]]] = [
        ("only OLD is shared", (OLD,)),
        ("NEW is pending", (OLD, pending)),
        ("NEW is accepted", (OLD, NEW)),
        ("NEW is accepted, its status is `deactivated`", (OLD, replace(NEW, status="deactivated"))),
        ("NEW is pending, OLD is `deactivated`", (replace(OLD, status="deactivated"), pending)),
    ]
    names = {OLD.id: "OLD", NEW.id: "NEW"}
    rows: list[tuple[str, ...]] = []
    for words, shares in cases:
        found = _latest_of(usual, shares, before)
        columns = [(names[one.id], names.get(one.previous_id or "", "")) for one in found]
        rows.append((words, *(columns[0] if columns else ("none", ""))))
    return ("situation", "`latest`", "`previousID`"), rows


def _latest_of(
    selector: ImageSelector, shares: Sequence[Share], before: Sequence[LatestImage]
) -> tuple[LatestImage, ...]:
    return latest_images(select(selector, shares, (), NOW), {}, before, NOW)
