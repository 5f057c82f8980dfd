"""Conflicts: which resources claim which images, and which of them is in charge.

Theory of operation
-------------------

Two resources conflict when they have the same image and project at the same endpoints, and
opposite decisions. Without this module each would change the membership in turns. The older
resource (``creationTimestamp``, then namespace and name) is in charge. The other one submits
nothing for this image, and is Stalled with reason Conflict.

**Which claims count.** Anyone who may create a resource can name any project. So a claim counts
only when IAM and IMS accepted the credentials of the resource for this project at these endpoints.
The endpoints of both are compared: an IAM server of a tenant's own proves nothing elsewhere. A
resource that is suspended, in a dry run or being deleted, or whose spec is not valid, does not
count.

The evidence is a membership read. The status keeps it (``credentialsAcceptedBy``), so a restart
changes no winner. It ends when IAM or IMS refuses the credentials, or when the endpoints
change. An outage ends nothing: otherwise the first resource that reaches the cloud again would
take over, and the older one would take over again a moment later. The same holds for a locked
account: a tenant who locks the account of another gains nothing.

**When the evidence is old.** Credentials can expire while nothing is read with them. A resource in
conflict is reconciled every `Policy.conflict_check`. If the evidence of the winner is older, or
from an earlier process, the winner is asked for a new membership read. When it is refused, the
other one takes over at once.

**Who takes over, and when.** `ObjectStore` reports each change of a claim to `Conflicts.replace`.
Where this changes who is in charge of an image, all claims on the image are woken. They decide
again before each submission, not only at the start of a reconcile.

**Before all claims are known.** Two cases would let a younger resource submit first:

- After a start, the older one may be in a later part of the list. So new resources, and those
  which were in conflict, wait until the first list is complete (`Reconciler.is_synced`). Those with
  ``removalPolicy: Reject`` wait, too: another one may accept what they would reject.
- Both are new, and the younger one reads its memberships first. So a resource waits while an older
  claim is undecided, up to `UNDECIDED_WAIT` after the older one was first seen. Each object gets
  this time once in a process: no tenant can block others by editing an object again and again.
  Before its first list, a selector may select any image of the project: it waits for all of these
  older claims, and younger ones wait for it. A list that becomes a selector claims its images until
  then.

**Own changes are no drift.** `Conflicts` keeps the latest decision that was submitted for an image.
When a membership differs because another resource of this operator submitted it, the planner
submits again and reports no drift. After a restart, the status of the other resource shows this: it
has the membership that its own job set. A resource that takes over ignores what its status
reported while it was in conflict.

**Deletion.** A resource with ``deletionPolicy: Reject`` leaves an image as it is if a claim that
counts accepts it.

**Limits.** A shard sees only its namespaces: conflicts between shards are not detected. When a new
image is shared that the selectors of both resources select, the younger one may list it first and
submit once before the older one takes over. Latest decisions are lost in a restart, so the change
of a resource that is suspended or deleted at about the same time may be reported as drift.

**Cost.** A lookup per reconcile where no resource of the project has the opposite decision, else a
lookup per image. Memory is bounded by the images of all specs that are stored, and `MAX_ORDERS`.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from types import MappingProxyType

from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Cloud, Decision, Key
from image_share_operator.planning.conflicts import Claim, winner_over

REFUSED = frozenset({Reason.CREDENTIALS_INVALID, Reason.SECRET_NOT_FOUND, Reason.PERMISSION_DENIED})
"""Reasons after which a claim no longer counts."""
UNDECIDED_WAIT = timedelta(seconds=30)
"""How long younger claims wait for the first membership read of an older one. It takes about a
second; one request may take 30 s."""
MAX_ORDERS = 10_000
"""Images whose latest decision is kept. All are dropped when there are more: the next change by
another resource of this operator is then reported as drift."""

ANY_IMAGE = "*"
"""In place of an image ID: what a selector claims before its first list."""

Project = tuple[Cloud, str]
"""A project ID and the endpoints where it is valid."""
NO_CLAIMS: Mapping[str, tuple[Claim, ...]] = MappingProxyType({})


class ClaimState(Enum):
    """Whether a claim counts."""

    COUNTS = auto()
    """The cloud accepted the credentials for the project."""
    UNDECIDED = auto()
    """No membership was read yet, in this process or an earlier one."""


@dataclass(frozen=True, slots=True)
class ClaimSet:
    """What one resource claims.

    Attributes:
        images: IDs, or only `ANY_IMAGE`.
    """

    project: Project
    decision: Decision
    images: tuple[str, ...]
    claim: Claim
    claim_state: ClaimState


class ClaimIndex:
    """The claims on each image of a project, by decision, the oldest first."""

    def __init__(self) -> None:
        self._claims: dict[tuple[Project, Decision], dict[str, tuple[Claim, ...]]] = {}

    def of(self, project: Project, decision: Decision) -> Mapping[str, tuple[Claim, ...]]:
        """The claims with this decision by image; none of the tuples is empty."""
        return self._claims.get((project, decision), NO_CLAIMS)

    def add(self, claim_set: ClaimSet) -> None:
        """Add a claim on each image."""
        by_image = self._claims.setdefault((claim_set.project, claim_set.decision), {})
        alone = (claim_set.claim,)  # shared by all its images: most have no other claim
        for image in claim_set.images:
            others = by_image.get(image)
            by_image[image] = alone if others is None else _with(others, claim_set.claim)

    def remove(self, claim_set: ClaimSet) -> None:
        """Remove a claim that was added."""
        key = claim_set.project, claim_set.decision
        by_image = self._claims[key]
        for image in claim_set.images:
            left = _without(by_image[image], claim_set.claim)
            if left:
                by_image[image] = left
            else:
                del by_image[image]
        if not by_image:
            del self._claims[key]

    def first(self, project: Project, decision: Decision, image: str) -> Claim | None:
        """The oldest claim on an image; ``None`` when there is none."""
        claims = self.of(project, decision).get(image)
        return None if claims is None else claims[0]


def _with(claims: tuple[Claim, ...], claim: Claim) -> tuple[Claim, ...]:
    changed = list(claims)
    insort(changed, claim)
    return tuple(changed)


def _without(claims: tuple[Claim, ...], claim: Claim) -> tuple[Claim, ...]:
    place = bisect_left(claims, claim)
    return claims[:place] + claims[place + 1 :]


class Conflicts:
    """All claims, and the latest decisions that were submitted.

    Args:
        wake: called with each resource that must decide again.
    """

    def __init__(self, wake: Callable[[Key], None] = lambda _: None) -> None:
        self._wake = wake
        self._counting = ClaimIndex()
        self._undecided = ClaimIndex()
        self._orders: dict[tuple[Project, Decision], set[str]] = {}
        self._order_count = 0

    def replace(self, old: ClaimSet | None, new: ClaimSet | None) -> None:
        """Replace the claims of one resource; wake all claims on an image with a new winner."""
        if old == new:
            return
        contested = {*self._contested(old), *self._contested(new)}
        before = {place: self._in_charge(*place) for place in contested}
        if old is not None:
            self._index_of(old).remove(old)
        if new is not None:
            self._index_of(new).add(new)
        changed = [place for place in contested if self._in_charge(*place) != before[place]]
        own = {one.claim for one in (old, new) if one is not None}
        for claim in {one for place in changed for one in self._claims(*place)} - own:
            self._wake(claim.key)

    def _index_of(self, claim_set: ClaimSet) -> ClaimIndex:
        return self._counting if claim_set.claim_state is ClaimState.COUNTS else self._undecided

    def _contested(self, claim_set: ClaimSet | None) -> Iterable[tuple[Project, str]]:
        """The images on which claims with the opposite decision count."""
        if claim_set is None or claim_set.claim_state is not ClaimState.COUNTS:
            return ()
        theirs = self._counting.of(claim_set.project, claim_set.decision.opposite)
        if not theirs:
            return ()
        return [(claim_set.project, image) for image in claim_set.images if image in theirs]

    def _in_charge(self, project: Project, image: str) -> tuple[Claim, Decision] | None:
        """The claim in charge of an image, with its decision."""
        firsts = ((self._counting.first(project, one, image), one) for one in Decision)
        return min(((claim, one) for claim, one in firsts if claim is not None), default=None)

    def _claims(self, project: Project, image: str) -> Iterable[Claim]:
        for decision in Decision:
            yield from self._counting.of(project, decision).get(image, ())

    def winners(self, claim_set: ClaimSet, *, being_deleted: bool) -> Mapping[str, Claim]:
        """The claims that keep a resource from submitting images, by image.

        Args:
            claim_set: with the decision that the resource would submit.
            being_deleted: whether any claim that counts wins, regardless of its age.
        """
        project, decision = claim_set.project, claim_set.decision
        theirs = self._counting.of(project, decision.opposite)
        if not theirs:
            return {}
        found: dict[str, Claim] = {}
        for image in claim_set.images:
            claims = theirs.get(image)
            if claims is None:
                continue
            winner = (
                claims[0]
                if being_deleted
                else winner_over(
                    claim_set.claim,
                    same=self._counting.first(project, decision, image),
                    opposite=claims[0],
                )
            )
            if winner is not None:
                found[image] = winner
        return found

    def undecided(self, claim_set: ClaimSet) -> set[Claim]:
        """The older claims with the opposite decision for which no membership was read yet."""
        theirs = self._undecided.of(claim_set.project, claim_set.decision.opposite)
        if not theirs:
            return set()
        may_be_any = ANY_IMAGE in claim_set.images
        return {
            claim
            for image in (theirs if may_be_any else (*claim_set.images, ANY_IMAGE))
            for claim in theirs.get(image, ())
            if claim < claim_set.claim
        }

    def note_order(self, claim_set: ClaimSet, images: Iterable[str]) -> None:
        """Record that the decision of a resource was submitted for images."""
        project, decision = claim_set.project, claim_set.decision
        if self._order_count >= MAX_ORDERS:
            self._orders.clear()  # simpler than an LRU list
            self._order_count = 0
        same = self._orders.setdefault((project, decision), set())
        other = self._orders.get((project, decision.opposite), set())
        for image in images:
            self._order_count += (image not in same) - (image in other)
            same.add(image)
            other.discard(image)

    def opposite_orders(self, claim_set: ClaimSet) -> frozenset[str]:
        """The images for which the opposite decision was submitted latest."""
        theirs = self._orders.get((claim_set.project, claim_set.decision.opposite))
        if not theirs:
            return frozenset()
        return frozenset(image for image in claim_set.images if image in theirs)

    def opponents(self, claim_set: ClaimSet, image: str) -> tuple[Claim, ...]:
        """The claims that count and may have submitted the opposite decision latest.

        None when this process submitted the decision of ``claim_set`` latest.
        """
        if image in self._orders.get((claim_set.project, claim_set.decision), ()):
            return ()
        return self._counting.of(claim_set.project, claim_set.decision.opposite).get(image, ())
