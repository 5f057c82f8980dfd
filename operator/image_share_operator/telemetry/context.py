"""Which pass the running task is part of: for log lines and traces, never for decisions."""

import random
from contextvars import Context, ContextVar
from dataclasses import dataclass, field

_ids = random.Random()  # noqa: S311 - tells passes apart, guards nothing


def _new_id() -> str:
    return f"{_ids.getrandbits(32):08x}"


@dataclass(slots=True, kw_only=True)
class ReconcileContext:
    """One pass over one object.

    Attributes:
        generation: of the spec that is worked on, as soon as it is known.
        reconcile_id: the same in all lines of the pass, another in the next.
    """

    namespace: str
    name: str
    generation: int | None = None
    reconcile_id: str = field(default_factory=_new_id)

    @property
    def attributes(self) -> dict[str, str]:
        """Of the pass's span."""
        return {
            "k8s.namespace.name": self.namespace,
            "imageshareacceptance.name": self.name,
            "reconcile.id": self.reconcile_id,
        }


_current: ContextVar[ReconcileContext | None] = ContextVar("scope", default=None)


def enter(namespace: str, name: str) -> ReconcileContext:
    """Begin a pass; it lasts as long as the running task."""
    scope = ReconcileContext(namespace=namespace, name=name)
    _current.set(scope)
    return scope


def current() -> ReconcileContext | None:
    """The pass that the running task is part of."""
    return _current.get()


def works_on(generation: int) -> None:
    """Note which spec the pass works on."""
    scope = _current.get()
    if scope is not None:
        scope.generation = generation


def shared() -> Context:
    """For a task that works for many passes: it is part of none of them."""
    return Context()
