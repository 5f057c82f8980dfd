"""The claims of one resource during a reconcile, as the plan executor needs them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import ConditionType, Decision, Desired
from image_share_operator.controller.conflicts import UNDECIDED_WAIT, ClaimSet, ClaimState
from image_share_operator.controller.object_store import CachedObject, ObjectStore
from image_share_operator.planning.conflicts import Claim, row_message

FRESH = timedelta(minutes=1)
"""How long the acceptance of credentials is not recorded again."""


@dataclass(slots=True)
class ObjectClaims:
    """What `controller/conflicts.py` knows for one resource with this desired state."""

    store: ObjectStore
    entry: CachedObject
    desired: Desired
    _claim_set: ClaimSet = field(init=False)
    _removal: ClaimSet | None = None

    def __post_init__(self) -> None:
        """Build the claims once: each step uses them."""
        self._claim_set = self.entry.claim_set_of(self.desired, ClaimState.COUNTS)

    def select(self, images: tuple[str, ...], removed: tuple[str, ...]) -> None:
        """Claim these images from now on, and reject the removed ones."""
        if self.desired.selector is not None:
            self.desired = replace(self.desired, images=images)
            self._claim_set = self.entry.claim_set_of(self.desired, ClaimState.COUNTS)
            self.store.select(self.entry, images)
        self._removal = None
        if removed:
            self._removal = replace(self._claim_set, decision=Decision.REJECT, images=removed)

    def conflicts(self) -> Mapping[str, str]:
        """The images that another resource is in charge of, with the message of each row.

        A removed image is left as it is if any claim that counts accepts it, as at a deletion.
        """
        namespace = self.entry.key.namespace
        return {
            image: row_message(winner, namespace, claim_set.decision.opposite)
            for claim_set in self._claim_sets()
            for image, winner in self._winners(claim_set).items()
        }

    def opposite_orders(self) -> frozenset[str]:
        """The images for which another resource submitted the opposite decision latest."""
        opposite_orders = self.store.conflicts.opposite_orders
        return frozenset().union(*(opposite_orders(one) for one in self._claim_sets()))

    def _claim_sets(self) -> tuple[ClaimSet, ...]:
        return (self._claim_set,) if self._removal is None else (self._claim_set, self._removal)

    def changed_by_others(self, images: tuple[str, ...]) -> frozenset[str]:
        """The images whose membership the status of another resource reports as set by it."""
        conflicts = self.store.conflicts
        return frozenset(
            image
            for image in images
            if any(
                self._is_done_by(claim, image)
                for claim in conflicts.opponents(self._claim_set, image)
            )
        )

    def _is_done_by(self, claim: Claim, image: str) -> bool:
        other, wanted = self.store.get(claim.key), self._claim_set.decision.opposite.wanted
        return other is not None and any(
            row.id == image and row.membership is wanted and row.job_id is not None
            for row in other.known.images
        )

    def submitting(self, decision: Decision, images: tuple[str, ...]) -> None:
        """Record what is submitted now."""
        self.store.conflicts.note_order(replace(self._claim_set, decision=decision), images)

    def accepted(self, now: datetime) -> None:
        """Record that the cloud accepted the credentials for the project."""
        entry, endpoints = self.store.get(self.entry.key), self.desired.endpoints
        if entry is None or entry.uid != self.entry.uid or _may_not_decide(entry):
            return
        fresh = entry.accepted_at is not None and now < entry.accepted_at + FRESH
        if not fresh or entry.accepted_by != endpoints:
            self.store.accepted(entry, endpoints)

    def awaits_older(self, now: datetime) -> bool:
        """Whether an older claim is undecided; then its resource is asked for a read."""
        if self.desired.being_deleted:
            return False
        waiting = False
        for claim in self.store.conflicts.undecided(self._claim_set):
            older = self.store.get(claim.key)
            if older is not None and now < older.first_seen_at + UNDECIDED_WAIT:
                waiting = True
                if not older.check_requested:
                    self.store.request_check(older.key)
        return waiting

    def confirm_winners(self, now: datetime, max_age: timedelta) -> None:
        """Ask the resources in charge for a membership read where their last one is too old."""
        for claim in set(self._winners(self._claim_set).values()):
            winner = self.store.get(claim.key)
            if winner is not None and (
                winner.accepted_at is None or now >= winner.accepted_at + max_age
            ):
                self.store.request_check(winner.key)

    def _winners(self, claim_set: ClaimSet) -> Mapping[str, Claim]:
        removes = claim_set is self._removal
        return self.store.conflicts.winners(
            claim_set, being_deleted=removes or self.desired.being_deleted
        )


def _may_not_decide(entry: CachedObject) -> bool:
    """Whether its user could read the memberships, but not set them, at the last reconcile.

    A read then proves nothing: the claim would count until the next denied batch, each time.
    """
    ready = entry.known.condition(ConditionType.READY)
    return ready is not None and ready.reason is Reason.PERMISSION_DENIED
