"""What the cloud saw: counters and a bounded list of calls. Never a token, never a password."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

LONGEST_JOURNAL = 50_000
LONGEST_BATCH_LIST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    at_monotonic_s: float
    route: str
    path: str
    """Without the query."""
    status: int
    """0: the connection was reset instead of an answer."""
    project: str | None
    images: tuple[str, ...]
    faulty: bool
    """An injected fault took part."""

    def told(self) -> dict[str, object]:
        return {
            "at_monotonic_s": self.at_monotonic_s,
            "route": self.route,
            "path": self.path,
            "status": self.status,
            "project": self.project,
            "images": list(self.images),
            "faulty": self.faulty,
        }


@dataclass(slots=True, kw_only=True)
class Journal:
    calls: Counter[str] = field(default_factory=Counter)
    tokens_issued: int = 0
    logins_failed: int = 0
    signatures_failed: int = 0
    foreign_project_puts: int = 0
    images_per_put: deque[int] = field(default_factory=lambda: deque(maxlen=LONGEST_BATCH_LIST))
    _entries: deque[Call] = field(default_factory=lambda: deque(maxlen=LONGEST_JOURNAL))

    def record(self, call: Call) -> None:
        self._entries.append(call)

    def entries(self, route: str | None) -> Iterator[Call]:
        return (call for call in self._entries if route is None or call.route == route)

    def counters(self, *, most_jobs_per_image: int) -> dict[str, object]:
        return {
            "calls": dict(self.calls),
            "tokens_issued": self.tokens_issued,
            "logins_failed": self.logins_failed,
            "signatures_failed": self.signatures_failed,
            "images_per_put": list(self.images_per_put),
            "max_inflight_per_image": most_jobs_per_image,
            "foreign_project_puts": self.foreign_project_puts,
        }
