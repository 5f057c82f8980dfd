"""Which of the shared images a selector selects. No I/O, no clock.

The input is the complete list of the images that are shared with the project, the selector, the
rows of the last status, and the time. The result is one verdict for each image that a term matches.
`docs/selection.md` shows it for examples.

**1. Match.** A term matches an image when all of its fields do: `owner` is equal; `name` is a glob
for the whole name, with case; `osType` is equal, if the term has it; `fullServer` is equal. An
image matches when any term does. Other images get no verdict. What the cloud did not return is
unknown: an image without a name matches only a term without `name`, an image without an OS type
only a term without `osType`. An image that is not reported as a full-server image is none.

The name is the line that the status shows: `?` in place of control and direction characters, cut
after 127 characters and `…`. So an image can't match by characters that a person can't see.

**2. Group.** Without `groupBy`, all images are one group with an empty name. With it, the group of
an image is what the expression captures of the image's name: the capture group; the whole match,
if the expression has no capture group; the whole name, if it does not match.

**3. Verdict of each image alone.** The first of these that applies:

- `Excluded`: its ID is in `exclude`;
- `Inactive`: the cloud returned a status, and it is not `active`;
- `TooYoung`: `minAge` is not zero, and less than `minAge` has passed since `created_at`. A
  `created_at` in the future is young, too. Without `created_at` an image is always too young.

**4. Rank.** The images that are left are ordered within their group: the newest `created_at` first,
images without `created_at` last, equal ones by ID. The first `newest` are candidates, the others
are `Superseded`. An image of step 3 supersedes nothing.

**5. Limit.** Up to `limit` candidates are `Selected`. If there are more, those that the last status
shows as `Selected` stay, up to `limit`, in the order of the result; all others are `OverLimit`.
So nothing new is submitted above the limit, and nothing changes at random.

**Removal** (`superseded`). `removalPolicy: Reject` rejects an image only if all of this is known:

- it is `Superseded` or `Excluded`, and no image is `OverLimit`;
- the last status shows it as accepted by a job of this resource;
- all selected images of its group are accepted and `active`, so that there is something to use;
- no rename is the cause. `release_renamed` removes the job from the row of a renamed image, and
  from the rows of older images in the group that it is in now: it pushes them out at once, or when
  the next builds follow. They stay accepted, also after the status has the new name. A row without
  a name counts as renamed.

An image that no term matches is never rejected: its owner renamed, changed or withdrew it. An image
that matches for the first time is a new image, also if its owner only renamed it: it supersedes
older ones as any new build does.

**Latest** (`latest_images`). For each group, the newest selected image that is accepted and
`active`. Until there is one, the latest image before stays, if it is superseded and still accepted
and `active`: a consumer sees no gap while its successor is accepted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from image_share_operator.api import patterns
from image_share_operator.api.selector import ImageSelector, SelectionPolicy
from image_share_operator.api.types import (
    ImageStatus,
    LatestImage,
    Membership,
    SelectionVerdict,
    Share,
    Status,
)
from image_share_operator.planning import matching
from image_share_operator.timestamps import zulu

ACTIVE = "active"
"""The status of an image that can be used."""

_NEWEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedShare:
    """A share that a term matches.

    Attributes:
        group: the text that `groupBy` captured, or the whole name; empty without `groupBy`.
        reason: why, in words for the status; ``None`` for `SelectionVerdict.SELECTED`.
    """

    share: Share
    group: str
    verdict: SelectionVerdict
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The result for one list of shares.

    Attributes:
        matches: the shares that a term matches, in the order of the status: selected ones first,
            by group, the newest first; then the others, the newest first.
        seen: number of shares of the owners that the terms name.
        wake_at: when the next image becomes old enough; ``None`` for never.
        why_nothing: a part of a sentence; empty when an image is selected.
    """

    matches: tuple[SelectedShare, ...]
    seen: int
    wake_at: datetime | None = None
    why_nothing: str = ""

    @property
    def selected(self) -> tuple[str, ...]:
        """The IDs of the selected images."""
        return tuple(
            one.share.id for one in self.matches if one.verdict is SelectionVerdict.SELECTED
        )

    def count(self, verdict: SelectionVerdict) -> int:
        """How many matches have this verdict."""
        return sum(one.verdict is verdict for one in self.matches)

    @property
    def over_limit(self) -> bool:
        """Whether more images would be selected than the limit allows."""
        return any(one.verdict is SelectionVerdict.OVER_LIMIT for one in self.matches)


def select(
    selector: ImageSelector,
    shares: Sequence[Share],
    known: Sequence[ImageStatus],
    now: datetime,
) -> Selection:
    """Select images.

    Args:
        shares: all shares of the named owners that the cloud returned; others are ignored.
        known: the rows of the last status. Above the limit, images that are selected there stay.
    """
    policy = selector.policy
    offered = matching.of_owners(selector, shares)
    ordered = matching.newest_first(matching.matches(selector, offered))
    ranks: Counter[str] = Counter()
    candidates: list[SelectedShare] = []
    others: list[SelectedShare] = []
    for share in ordered:
        verdict, reason = _alone(share, policy, now)
        group = _group(share, policy)
        if verdict is SelectionVerdict.SELECTED:
            ranks[group] += 1
            if policy.newest is not None and ranks[group] > policy.newest:
                verdict = SelectionVerdict.SUPERSEDED
                reason = f"newest is {policy.newest}: newer images of its group are selected"
        one = SelectedShare(share=share, group=group, verdict=verdict, reason=reason)
        (candidates if verdict is SelectionVerdict.SELECTED else others).append(one)
    candidates.sort(key=lambda one: one.group)
    selected, beyond = _limited(candidates, policy.limit, known)
    if beyond:
        order = {share.id: index for index, share in enumerate(ordered)}
        others = sorted([*others, *beyond], key=lambda one: order[one.share.id])
    return Selection(
        matches=(*selected, *others),
        seen=len(offered),
        wake_at=_next_age(
            (one.share.created_at for one in others if one.verdict is SelectionVerdict.TOO_YOUNG),
            policy.min_age,
        ),
        why_nothing="" if selected else _why_nothing(selector, offered, others),
    )


def unlisted_share(row: ImageStatus, selector: ImageSelector, status: Status) -> Share:
    """The share of an image that was selected, is still shared, and is missing in a complete list.

    It left one list and was not in the next one yet. What the status does not have is taken from
    the list before: a term matched, and the latest image of a group was active.
    """
    share = Share(
        id=row.id,
        membership=row.membership,
        owner=row.owner or "",
        name=row.name,
        created_at=row.created_at,
        status=ACTIVE if row.id in {one.id for one in status.latest} else None,
    )
    term = matching.term_by_name(selector, share)
    if term is None:
        return share
    return replace(share, os_type=term.os_type, full_server=term.full_server)


def wakes_at(selector: ImageSelector | None, rows: Sequence[ImageStatus]) -> datetime | None:
    """When the next image of a status is old enough; ``None`` for never."""
    if selector is None:
        return None
    return _next_age(
        (row.created_at for row in rows if row.selection is SelectionVerdict.TOO_YOUNG),
        selector.policy.min_age,
    )


def superseded(
    selection: Selection,
    known: Sequence[ImageStatus],
    members: Mapping[str, Membership] | None = None,
    *,
    is_settled: bool = False,
) -> tuple[str, ...]:
    """The images that `removalPolicy: Reject` rejects, in the order of the selection.

    These are the superseded and excluded images that the last status shows as accepted by this
    resource; see "Removal" above. Only after a complete list.

    Args:
        members: as the cloud returned them after the list; the list is used for an image that it
            does not have.
        is_settled: whether the selected images count as accepted, as a dry run supposes.
    """
    if selection.over_limit:
        return ()
    read = members or {}
    accepted = {row.id for row in release_renamed(selection, known) if row.accepted_by_us}
    incomplete = {
        one.group
        for one in selection.matches
        if one.verdict is SelectionVerdict.SELECTED
        and not is_settled
        and not _usable(one.share, read.get(one.share.id, one.share.membership))
    }
    removable = (SelectionVerdict.SUPERSEDED, SelectionVerdict.EXCLUDED)
    return tuple(
        one.share.id
        for one in selection.matches
        if one.verdict in removable and one.share.id in accepted and one.group not in incomplete
    )


def release_renamed(selection: Selection, known: Sequence[ImageStatus]) -> tuple[ImageStatus, ...]:
    """The rows of the last status, without the job where a rename would cause a rejection.

    The status must be written from these rows: it gets the new names with the same write, and the
    next reconcile can't see the rename. A selected image that is not accepted yet keeps its job,
    which may still run.
    """
    names = {row.id: row.name for row in known}
    renamed = {
        one.share.id
        for one in selection.matches
        if one.share.id in names and names[one.share.id] != one.share.name
    }
    if not renamed:
        return tuple(known)
    released = renamed | _pushed_back(selection, renamed)
    selected = set(selection.selected)
    return tuple(
        replace(row, job_id=None)
        if row.id in released and (row.membership is Membership.ACCEPTED or row.id not in selected)
        else row
        for row in known
    )


def _pushed_back(selection: Selection, renamed: set[str]) -> set[str]:
    """The images that are older than a renamed one of their group, by the order of the ranks.

    Not those that `exclude` has: they are rejected for that.
    """
    matches = {one.share.id: one for one in selection.matches}
    entered: set[str] = set()
    found: set[str] = set()
    for share in matching.newest_first(one.share for one in selection.matches):
        match = matches[share.id]
        if share.id in renamed:
            entered.add(match.group)
        elif match.group in entered and match.verdict is not SelectionVerdict.EXCLUDED:
            found.add(share.id)
    return found


def latest_images(
    selection: Selection,
    members: Mapping[str, Membership],
    before: Sequence[LatestImage],
    now: datetime,
) -> tuple[LatestImage, ...]:
    """The newest image of each group that is selected, accepted and active, by group.

    Args:
        members: as the cloud returned them in this reconcile; the list of shares is used for an
            image that it does not have.
        before: as in the last status; an image that stays keeps its time.
    """
    was = {one.group: one for one in before}
    found: dict[str, Share] = {}
    for one in selection.matches:  # selected ones come first, the newest first
        share, last = one.share, was.get(one.group)
        stays = (
            one.verdict is SelectionVerdict.SUPERSEDED and last is not None and last.id == share.id
        )
        if (one.verdict is SelectionVerdict.SELECTED or stays) and _usable(
            share, members.get(share.id, share.membership)
        ):
            found.setdefault(one.group, share)
    return tuple(
        _latest(group, share, was.get(group), now) for group, share in sorted(found.items())
    )


def _group(share: Share, policy: SelectionPolicy) -> str:
    return "" if policy.group_by is None else patterns.captured(policy.group_by, share.name or "")


def _alone(
    share: Share, policy: SelectionPolicy, now: datetime
) -> tuple[SelectionVerdict, str | None]:
    """The verdict of an image without the others; `Selected` for a candidate."""
    if share.id in policy.exclude:
        return SelectionVerdict.EXCLUDED, "its ID is in exclude"
    if share.status is not None and share.status != ACTIVE:
        return SelectionVerdict.INACTIVE, f"the image status is {share.status}, not {ACTIVE}"
    if not policy.min_age:
        return SelectionVerdict.SELECTED, None
    if share.created_at is None:
        return SelectionVerdict.TOO_YOUNG, "its age is unknown: the cloud returned no created_at"
    if now - share.created_at < policy.min_age:
        until = _after(share.created_at, policy.min_age)
        return SelectionVerdict.TOO_YOUNG, f"younger than minAge until {zulu(until, 'seconds')}"
    return SelectionVerdict.SELECTED, None


def _limited(
    candidates: Sequence[SelectedShare], limit: int, known: Sequence[ImageStatus]
) -> tuple[Sequence[SelectedShare], list[SelectedShare]]:
    """The candidates that are selected, and those over the limit."""
    if len(candidates) <= limit:
        return candidates, []
    before = {row.id for row in known if row.selection is SelectionVerdict.SELECTED}
    stay = [one for one in candidates if one.share.id in before][:limit]
    staying = {one.share.id for one in stay}
    reason = f"more images match than the limit of {limit}"
    return stay, [
        SelectedShare(
            share=one.share, group=one.group, verdict=SelectionVerdict.OVER_LIMIT, reason=reason
        )
        for one in candidates
        if one.share.id not in staying
    ]


def _next_age(times: Iterable[datetime | None], age: timedelta) -> datetime | None:
    """When the first of these reaches the age."""
    return min((_after(time, age) for time in times if time is not None), default=None)


def _why_nothing(
    selector: ImageSelector, offered: Sequence[Share], others: Sequence[SelectedShare]
) -> str:
    if not others:
        return matching.why_none_matches(selector, offered)
    counts = Counter(one.verdict for one in others)
    found = ", ".join(f"{number} {verdict.value}" for verdict, number in sorted(counts.items()))
    return f"{matching.count(len(others))} match, and none is selected: {found}"


def _after(time: datetime, span: timedelta) -> datetime:
    """The sum; the last possible time where it is later than that."""
    return time + min(span, _NEWEST - time)


def _usable(share: Share, membership: Membership) -> bool:
    """Whether the image was seen accepted and active."""
    return membership is Membership.ACCEPTED and share.status == ACTIVE


def _latest(group: str, share: Share, last: LatestImage | None, now: datetime) -> LatestImage:
    same = last is not None and last.id == share.id
    return LatestImage(
        group=group,
        id=share.id,
        name=share.name,
        owner=share.owner,
        created_at=share.created_at,
        since=last.since if last is not None and same else now,
        previous_id=None if last is None else last.previous_id if same else last.id,
    )
