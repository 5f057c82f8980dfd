"""What holds a resource and what lets it go. No I/O, no clock."""

from dataclasses import replace
from enum import Enum, auto

from image_share_operator.api.errors import InvalidSpecError
from image_share_operator.api.types import Decision, DeletionPolicy, Desired
from image_share_operator.controller.object_store import Entry


class Hold(Enum):
    """What to do about the finalizer before anything else."""

    NOTHING = auto()
    """It is as it should be: go on."""
    PUT_ON = auto()
    """The shares are to be rejected at the end: hold the resource before they are accepted."""
    TAKE_OFF = auto()
    """Nothing is to be done at the end (any more)."""
    GONE = auto()
    """The resource goes, and not by us."""


def hold(entry: Entry, desired: Desired | InvalidSpecError) -> Hold:
    """Compare the finalizer with what the spec asks for.

    A spec that can't be served changes nothing: it may be corrected, and the skip annotation
    always helps.
    """
    rejects = (
        entry.held
        if isinstance(desired, InvalidSpecError)
        else desired.deletion_policy is DeletionPolicy.REJECT
    )
    if entry.deleting:
        if not entry.held:
            return Hold.GONE
        return Hold.NOTHING if rejects and not entry.skip_reject else Hold.TAKE_OFF
    if rejects == entry.held:
        return Hold.NOTHING
    return Hold.PUT_ON if rejects else Hold.TAKE_OFF


def helpless(entry: Entry, desired: Desired | InvalidSpecError) -> bool:
    """Whether it is held, and nothing is done to reject its shares as things are.

    Each may go on when a person helps; in a namespace that goes, nobody will.
    """
    if not entry.deleting:
        return False
    if isinstance(desired, InvalidSpecError) or desired.suspend:
        return True
    return entry.known.secret_version == ""  # there was no Secret


def leaving(desired: Desired) -> Desired:
    """What a resource that is being deleted asks for: everything rejected, then it may go."""
    return replace(desired, decision=Decision.REJECT, vault_id=None, leaving=True)
