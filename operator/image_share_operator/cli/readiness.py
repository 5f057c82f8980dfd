"""What the status of a resource reports, for a person and for a command that waits. No I/O.

It reads the JSON directly, so that it also understands the status of a newer operator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self, cast

from image_share_operator.api.types import Key

HEAD = ("NAMESPACE", "NAME", "DECISION", "READY", "REASON", "IMAGES", "AGE", "PROJECT", "MESSAGE")
WIDE = ("PROJECT", "MESSAGE")
"""Columns of ``-o wide`` only."""
DROP = ("AGE", "DECISION", "IMAGES")
"""Columns that a narrow terminal does not show, the first one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One resource, as far as the commands show it.

    Attributes:
        ready: status of the Ready condition; ``-`` before the first reconcile.
        current: whether the status is about the current spec.
        handled: the last value of the annotation that the operator handled.
    """

    key: Key
    decision: str
    project: str
    suspended: bool
    deleting: bool
    ready: str
    stalled: bool
    reason: str
    message: str
    images: str
    current: bool
    handled: str | None
    created: datetime

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> Self:
        """Read a resource as the API server returns it."""
        metadata, spec = resource["metadata"], resource["spec"]
        status = cast("Mapping[str, Any]", resource.get("status") or {})
        rows = cast("Sequence[Mapping[str, str]]", status.get("conditions") or ())
        conditions = {row["type"]: row for row in rows}
        ready = conditions.get("Ready", {})
        return cls(
            key=Key(metadata["namespace"], metadata["name"]),
            decision=spec.get("decision", "Accept"),
            project=spec.get("projectID", "-"),
            suspended=spec.get("suspend") is True,
            deleting="deletionTimestamp" in metadata,
            ready=ready.get("status", "-"),
            stalled=conditions.get("Stalled", {}).get("status") == "True",
            reason=ready.get("reason", "-"),
            message=ready.get("message", ""),
            images=status.get("summary", "-"),
            current=status.get("observedGeneration") == metadata.get("generation"),
            handled=status.get("lastHandledReconcileAt"),
            created=datetime.fromisoformat(metadata["creationTimestamp"]),
        )

    @property
    def is_ready(self) -> bool:
        """Whether the resource is Ready for its current spec."""
        return self.current and self.ready == "True"

    @property
    def needs_attention(self) -> bool:
        """Whether its message is shown: it is not Ready, or it is suspended."""
        return not self.is_ready or self.suspended

    def settled(self, request: str | None) -> bool:
        """Whether the operator handled the spec and the request, and is Ready or Stalled."""
        handled = request is None or self.handled == request
        return self.current and handled and (self.ready == "True" or self.stalled)

    def row(self, now: datetime) -> tuple[str, ...]:
        """Return the cells of `HEAD`."""
        return (
            self.key.namespace,
            self.key.name,
            self.decision,
            self.ready,
            self.reason,
            self.images,
            age(now - self.created),
            self.project,
            self.message or "-",
        )


def age(span: timedelta) -> str:
    """Return a time span in its largest unit."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
