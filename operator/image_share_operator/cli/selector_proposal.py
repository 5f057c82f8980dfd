"""Proposes a selector for the images that are shared with a project now. No I/O, no clock.

An image whose name ends with a date or a version (`base-20260504`, `base-v2.1`, `base-1.4.2`) is
one build of a series. One term matches the whole series, also its future builds: `base-*`, or
`base-v*`. Other names are matched as they are: `ubuntu-24.04` is a release, and not a build.

The proposal selects all images of today that are pending, or that already have the decided
membership. It excludes the others that its terms match: a user decided otherwise.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from image_share_operator.api import patterns
from image_share_operator.api.selector import (
    ANY_NAME,
    DEFAULT_LIMIT,
    MAX_SELECTED,
    MAX_TERMS,
    SelectorTerm,
)
from image_share_operator.api.types import Decision, Membership, Share
from image_share_operator.planning.matching import failing_field
from image_share_operator.planning.selection import ACTIVE

FORMS = (
    "[0-9]{8}",
    "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "[0-9]{8}[-T]?[0-9]{4,6}Z?",
    "v[0-9]+(?:[.][0-9]+)*",
    "[0-9]+[.][0-9]+[.][0-9]+",
)
"""Ends of names that tell one build from another: dates, a time too, and versions."""
SEPARATORS = "-_."
MIN_NEWEST = 3
"""Builds of a series to keep at least, so that there is one to go back to."""
_BUILDS = tuple(re.compile(rf"(.+?)([{SEPARATORS}])(?:{form})") for form in FORMS)
OWNER = re.compile("[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""IDs of projects, as the CRD accepts them."""
_NO_GLOB = re.compile(r"[\[\]\\]")


class TooManyImagesError(ValueError):
    """No selector can cover the images; the message tells why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedTerm:
    """A term, and the images of today that it is for."""

    term: SelectorTerm
    images: tuple[Share, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A selector.

    Attributes:
        group_by: ``None`` when no image is one build of a series; then ``newest`` is ``None``, too.
        exclude: images that the terms match, and that are decided otherwise.
        covered: the images that the selector is for.
        full_servers: images that are left out because full-server images need a vault.
        nameless: images that are left out because they have no name or no valid owner.
    """

    terms: tuple[ProposedTerm, ...]
    group_by: str | None
    newest: int | None
    limit: int
    exclude: tuple[Share, ...]
    covered: tuple[Share, ...]
    full_servers: int
    nameless: int


@dataclass(frozen=True, slots=True)
class _Build:
    """What the name of one build of a series ends with.

    Attributes:
        prefix: what all names of the series begin with.
    """

    prefix: str
    separator: str
    form: str


def propose(shares: Sequence[Share], decision: Decision) -> Proposal:
    """Propose a selector that selects all pending images, and those decided in the same way.

    Raises:
        TooManyImagesError: a selector may not have so many terms, or select so many images.
    """
    due = [share for share in shares if share.membership in (Membership.PENDING, decision.wanted)]
    named = [share for share in due if share.name and OWNER.fullmatch(share.owner)]
    accepts = decision is Decision.ACCEPT
    covered = tuple(share for share in named if not (accepts and share.full_server))
    builds = [build for share in covered if (build := _build(share.name or "")) is not None]
    group_by = _group_by(builds) if builds else None
    limit = _limit(covered)
    terms = _terms(covered)
    exclude = tuple(
        share
        for share in shares
        if share.membership not in (Membership.PENDING, decision.wanted)
        and any(failing_field(one.term, share) is None for one in terms)
    )
    if len(exclude) > MAX_SELECTED:
        raise TooManyImagesError(
            f"the terms would match {len(exclude)} images that are decided otherwise, and "
            f"exclude may have {MAX_SELECTED}"
        )
    return Proposal(
        terms=terms,
        group_by=group_by,
        newest=_newest(group_by, covered) if group_by else None,
        limit=limit,
        exclude=exclude,
        covered=covered,
        full_servers=len(named) - len(covered),
        nameless=len(due) - len(named),
    )


def _build(name: str) -> _Build | None:
    """What makes this a name of one build of a series; ``None`` for any other name."""
    found = [
        _Build(match[1] + match[2] + ("v" if form.startswith("v") else ""), match[2], form)
        for form, pattern in zip(FORMS, _BUILDS, strict=True)
        if (match := pattern.fullmatch(name)) is not None
    ]
    return min(found, key=lambda build: len(build.prefix), default=None)


def _group_by(builds: Iterable[_Build]) -> str:
    """The expression that captures the name of the series.

    The shortest one where several forms fit: `base-2026-05-04` ends with a date, not with `04`.
    """
    seen = list(builds)
    forms = [form for form in FORMS if any(build.form == form for build in seen)]
    separators = "".join(one for one in SEPARATORS if any(b.separator == one for b in seen))
    separator = separators if separators in ("-", "_") else f"[{separators}]"
    if len(forms) == 1:
        return f"^(.+){separator}{forms[0]}$"
    return f"^(.+?){separator}(?:{'|'.join(forms)})$"


def _terms(covered: Sequence[Share]) -> tuple[ProposedTerm, ...]:
    """One term for each series and each other name; for all names of an owner if needed."""
    images: dict[SelectorTerm, list[Share]] = {}
    for share in covered:
        images.setdefault(_term(share), []).append(share)
    images = _merged(images, _without_narrower(images))
    while len(images) > MAX_TERMS:
        owners = Counter((term.owner, term.full_server) for term in images)
        (owner, full_server), count = owners.most_common(1)[0]
        if count == 1:
            raise TooManyImagesError(
                f"{len(owners)} projects share images, and a selector may have {MAX_TERMS} terms"
            )
        images = _merged(images, [SelectorTerm(owner=owner, full_server=full_server)])
    order = sorted(images, key=lambda term: (term.owner, term.full_server, term.name))
    return tuple(ProposedTerm(term=term, images=tuple(images[term])) for term in order)


def _term(share: Share) -> SelectorTerm:
    name = share.name or ""
    build = _build(name)
    pattern = name if build is None else f"{build.prefix}*"
    return SelectorTerm(
        owner=share.owner, name=_NO_GLOB.sub("?", pattern), full_server=share.full_server
    )


def _without_narrower(terms: Iterable[SelectorTerm]) -> list[SelectorTerm]:
    """The terms that no other term includes."""
    return [one for one in terms if not any(_includes(other, one) for other in terms)]


def _merged(
    images: Mapping[SelectorTerm, list[Share]], wide: Sequence[SelectorTerm]
) -> dict[SelectorTerm, list[Share]]:
    """The images by term, where the terms in ``wide`` replace those that they include."""
    merged: dict[SelectorTerm, list[Share]] = {}
    for term, shares in images.items():
        covering = next((one for one in wide if one == term or _includes(one, term)), term)
        merged.setdefault(covering, []).extend(shares)
    return merged


def _includes(wide: SelectorTerm, narrow: SelectorTerm) -> bool:
    """Whether another term matches all that ``narrow`` does. Only the last `*` is a wildcard."""
    return (
        wide != narrow
        and (wide.owner, wide.full_server) == (narrow.owner, narrow.full_server)
        and wide.name.endswith(ANY_NAME)
        and narrow.name.startswith(wide.name.removesuffix(ANY_NAME))
    )


def _newest(group_by: str, covered: Sequence[Share]) -> int:
    """As many as the largest group has, so that all images of today are selected."""
    groups = Counter(
        patterns.captured(group_by, share.name or "")
        for share in covered
        if share.status in (None, ACTIVE)
    )
    return max(MIN_NEWEST, *groups.values(), 0)


def _limit(covered: Sequence[Share]) -> int:
    """The default, or the next hundred above the images of today."""
    if len(covered) > MAX_SELECTED:
        raise TooManyImagesError(
            f"{len(covered)} images are shared, and a selector may select {MAX_SELECTED}"
        )
    return max(DEFAULT_LIMIT, -(-len(covered) // 100) * 100)
