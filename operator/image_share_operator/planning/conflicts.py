"""Which of two resources is in charge of an image that both select. No I/O, no clock.

The index in `controller/conflicts.py` finds the claims; this module decides between them.
"""

from typing import NamedTuple

from image_share_operator.api.types import Decision, Key

ROW_PREFIX = "conflict with "
"""How the message of an image in conflict begins, in `status.images`: the next process reads it."""
ANOTHER_NAMESPACE = "a resource in another namespace"
"""Names a resource that the user may not be allowed to see."""


class Claim(NamedTuple):
    """A resource that decides about an image. The oldest claim is the smallest.

    Attributes:
        created_at: ``creationTimestamp``, whose texts sort by time.
    """

    created_at: str
    namespace: str
    name: str

    @property
    def key(self) -> Key:
        """The key of the resource."""
        return Key(self.namespace, self.name)


def winner_over(claim: Claim, *, same: Claim | None, opposite: Claim | None) -> Claim | None:
    """The claim that keeps ``claim`` from submitting an image; ``None`` when it may submit.

    Args:
        same: the oldest claim that counts and has the same decision; may be ``claim``.
        opposite: the oldest claim that counts and has the opposite decision.
    """
    mine = claim if same is None else min(claim, same)
    return opposite if opposite is not None and opposite < mine else None


def row_message(winner: Claim, namespace: str, decision: Decision) -> str:
    """The message of an image in conflict.

    Args:
        namespace: of the resource that reads the message.
        decision: of the resource in charge.
    """
    other = winner.name if winner.namespace == namespace else ANOTHER_NAMESPACE
    return f"{ROW_PREFIX}{other}, which is older and has the decision {decision}"


def is_conflict(row_message: str | None) -> bool:
    """Whether the image was in conflict when its row was reported."""
    return row_message is not None and row_message.startswith(ROW_PREFIX)
