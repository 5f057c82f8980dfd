"""The kinds of actions and faults that chaos consists of. No I/O, no clock."""

from chaos.faults import FAULT_KINDS
from chaos.model import (
    Action,
    ClearFaults,
    CloudFault,
    CloudSettings,
    Content,
    Create,
    Delete,
    Drift,
    Edit,
    ExpireTokens,
    Freeze,
    Kill,
    Offline,
    RestartApiServer,
    Rotate,
    Share,
    Terminate,
    Withdraw,
)

EVERY = frozenset(
    {
        *(f"fault: {kind}" for kind in FAULT_KINDS),
        *(f"Secret: {content}" for content in Content),
        *(
            action.__name__
            for action in (
                ClearFaults,
                CloudSettings,
                Create,
                Delete,
                Drift,
                Edit,
                ExpireTokens,
                Freeze,
                Kill,
                Offline,
                RestartApiServer,
                Share,
                Terminate,
                Withdraw,
            )
        ),
    }
)


def kind_of(action: Action) -> str:
    """The kind of an action, one of `EVERY`."""
    match action:
        case CloudFault(kind=kind):
            return f"fault: {kind.removesuffix(' of some')}"
        case Rotate(content=content):
            return f"Secret: {content}"
        case _:
            return type(action).__name__
