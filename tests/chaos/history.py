"""What users asked for and when, and what was out of order meanwhile. Data and pure questions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chaos.model import LINE_CHARS, Login, Spec, Target

LATE_SIGN_S = 2.0
"""After a freeze ends: what arrives then was perhaps sent before it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One generation of an object. Times are the machine's monotonic clock.

    Attributes:
        sent_s: just before the user's request: the operator cannot know it earlier.
        done_s: just after its answer.
        leaving: whether this is the object's deletion: its shares are rejected.
    """

    generation: int
    spec: Spec
    sent_s: float
    done_s: float
    leaving: bool = False

    @property
    def value(self) -> str:
        """The membership that it asks for."""
        return "rejected" if self.leaving else self.spec.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """When an object was first shown with this ``status.observedGeneration``."""

    at_s: float
    observed: int


@dataclass(slots=True, kw_only=True)
class Record:
    """The life of one object.

    Attributes:
        carried: (image, id of a job) as its status ever named them.
        deleted_s: when the user asked for its deletion.
        held: whether it was deleted with Reject and our finalizer on it.
        rejects: for a selector: the images that such a deletion must reject, by the first status
            seen after it: the selected ones, and those that a job of the object accepted.
    """

    target: Target
    versions: list[Version] = field(default_factory=list[Version])
    sights: list[Sight] = field(default_factory=list[Sight])
    carried: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    deleted: bool = False
    deleted_s: float = float("inf")
    held: bool = False
    rejects: frozenset[str] | None = None

    @property
    def latest(self) -> Version:
        """What is asked for now."""
        return self.versions[-1]

    def names(self, image: str) -> bool:
        """Whether any version names the image."""
        return any(version.spec.names(image) for version in self.versions)

    def seen_at(self, generation: int) -> float:
        """When the operator surely knew this generation or a later one; infinity: never."""
        return next((s.at_s for s in self.sights if s.observed >= generation), float("inf"))


class Owners:
    """Which objects ever named an image, in a project."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._by_image: dict[str, list[Record]] = {}
        self._by_line: dict[str, list[Record]] = {}
        for record in records:
            images = {image for version in record.versions for image in version.spec.images}
            for image in images:
                self._by_image.setdefault(image, []).append(record)
            selectors = {version.spec.selector for version in record.versions}
            for line in {one.line for one in selectors if one is not None}:
                self._by_line.setdefault(line, []).append(record)

    def of(self, image: str) -> Sequence[Record]:
        """The objects, in no order."""
        return [*self._by_image.get(image, ()), *self._by_line.get(image[:LINE_CHARS], ())]


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time."""

    start_s: float
    end_s: float

    def overlap(self, start_s: float, end_s: float) -> float:
        """For how long both last together."""
        return max(0.0, min(self.end_s, end_s) - max(self.start_s, start_s))


@dataclass(slots=True, kw_only=True)
class History:
    """All that happened.

    Attributes:
        kills: times of each ``kill -9``.
        stops: times of each SIGTERM.
        outages: when the operator or the API server could not know of changes.
        freezes: when the cloud stood still.
        offline: when the cloud refused connections; it dropped those that were open.
        lags: (time, seconds) of each change of how late the cloud shows what was done.
        hands: (time, image, project) of each change by other clients: drift, withdrawal, share.
        nudges: (time, object) of each request to try again at once.
        secrets_seen: places where a secret was seen.
    """

    logins: tuple[Login, ...]
    records: dict[Target, Record] = field(default_factory=dict[Target, Record])
    kills: list[float] = field(default_factory=list[float])
    stops: list[float] = field(default_factory=list[float])
    outages: list[Window] = field(default_factory=list[Window])
    freezes: list[Window] = field(default_factory=list[Window])
    offline: list[Window] = field(default_factory=list[Window])
    lags: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    hands: list[tuple[float, str, str]] = field(default_factory=list[tuple[float, str, str]])
    nudges: list[tuple[float, Target]] = field(default_factory=list[tuple[float, Target]])
    secrets_seen: list[str] = field(default_factory=list[str])

    def up_s(self, start_s: float, end_s: float) -> float:
        """How much of this span had nothing out of order; overlapping outages count once."""
        return max(0.0, end_s - start_s) - sum(
            window.overlap(start_s, end_s) for window in _merged(self.outages)
        )

    def sent_s(self, arrived_s: float) -> float:
        """When a request was sent, at the earliest: it may have waited while the cloud stood."""
        for window in self.freezes:
            if window.start_s <= arrived_s <= window.end_s + LATE_SIGN_S:
                return window.start_s
        return arrived_s

    def lag_s(self, start_s: float, end_s: float) -> float:
        """How late the cloud showed what was done, at most, at some time of this span."""
        before = [seconds for at_s, seconds in self.lags if at_s <= start_s][-1:]
        within = [seconds for at_s, seconds in self.lags if start_s < at_s <= end_s]
        return max((*before, *within), default=0.0)

    def killed_between(self, start_s: float, end_s: float) -> bool:
        """Whether the operator was killed in this span."""
        return any(start_s <= at <= end_s for at in self.kills)

    def deleted_between(self, image: str, start_s: float, end_s: float) -> bool:
        """Whether an object that ever named the image was deleted in this span."""
        return any(
            start_s <= record.deleted_s <= end_s and record.names(image)
            for record in self.records.values()
        )

    def stopped_between(self, start_s: float, end_s: float) -> bool:
        """Whether the operator received SIGTERM in this span."""
        return any(start_s <= at <= end_s for at in self.stops)


def _merged(windows: Sequence[Window]) -> list[Window]:
    merged: list[Window] = []
    for window in sorted(windows, key=lambda window: window.start_s):
        if merged and window.start_s <= merged[-1].end_s:
            last = merged.pop()
            merged.append(Window(last.start_s, max(last.end_s, window.end_s)))
        else:
            merged.append(window)
    return merged
