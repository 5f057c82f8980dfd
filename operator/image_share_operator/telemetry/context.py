"""The reconcile that the current task belongs to. For logs and traces only, not for decisions."""

import random
from contextvars import Context, ContextVar
from dataclasses import dataclass, field

_ids = random.Random()  # noqa: S311 - only distinguishes reconciles


def _new_id() -> str:
    return f"{_ids.getrandbits(32):08x}"


@dataclass(slots=True, kw_only=True)
class ReconcileContext:
    """One reconcile of one resource.

    Attributes:
        generation: generation of the spec; ``None`` until the reconcile has read it.
        reconcile_id: random ID of the reconcile, in all its log lines.
    """

    namespace: str
    name: str
    generation: int | None = None
    reconcile_id: str = field(default_factory=_new_id)

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of the span of the reconcile."""
        return {
            "k8s.namespace.name": self.namespace,
            "imageshareacceptance.name": self.name,
            "reconcile.id": self.reconcile_id,
        }


_current: ContextVar[ReconcileContext | None] = ContextVar("reconcile", default=None)


def enter(namespace: str, name: str) -> ReconcileContext:
    """Start a reconcile in the current task."""
    context = ReconcileContext(namespace=namespace, name=name)
    _current.set(context)
    return context


def current() -> ReconcileContext | None:
    """Return the reconcile of the current task; ``None`` if there is none."""
    return _current.get()


def works_on(generation: int) -> None:
    """Set the generation of the spec that the reconcile works on."""
    context = _current.get()
    if context is not None:
        context.generation = generation


def shared() -> Context:
    """Return a context without a reconcile, for a task that serves several reconciles."""
    return Context()
