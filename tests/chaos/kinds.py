"""The kinds of actions and faults that chaos consists of. No I/O, no clock."""

from typing import get_args

from chaos.faults import FAULT_KINDS
from chaos.model import Action, CloudFault, Content, Rotate

EVERY = frozenset(
    {
        *(f"fault: {kind}" for kind in FAULT_KINDS),
        *(f"Secret: {content}" for content in Content),
        *(action.__name__ for action in get_args(Action) if action not in (CloudFault, Rotate)),
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
