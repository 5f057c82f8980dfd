"""What the cloud saw, in the detail that the verdict needs. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One image of one PUT.

    Attributes:
        held: its membership when the PUT arrived, lags aside; ``None``: not shared.
        coming: what jobs under way then made of it later, in that order: (job id, value).
        applied: whether the PUT's own job set it.
    """

    image: str
    held: str | None
    coming: tuple[tuple[str, str], ...] = ()
    applied: bool = False

    def changes_nothing(self, value: str) -> bool:
        """Whether the image would have had this value without the PUT."""
        return (self.coming[-1][1] if self.coming else self.held) == value


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """One ``PUT /v1/cloudimages/members`` that arrived.

    Attributes:
        at_s: when it arrived, by the machine's monotonic clock, which all processes share.
        user: name of the user that the cloud issued its token or key for; ``None``: no known one.
        token_project: that the token is scoped to.
        body_project: that the body names.
        status: of the answer; 0: a reset.
        effects: parts of the fault that it met, e.g. ``status``, ``job``.
        job: id of the job that it started; ``None`` when it was refused.
        failed: whether that job reports FAIL, also when it set images.
    """

    at_s: float
    user: str | None
    token_project: str | None
    body_project: str | None
    value: str | None
    settings: tuple[Setting, ...]
    status: int
    effects: tuple[str, ...] = ()
    job: str | None = None
    failed: bool = False

    @property
    def images(self) -> tuple[str, ...]:
        """All images of its body."""
        return tuple(row.image for row in self.settings)

    def needless(self) -> tuple[Setting, ...]:
        """Images that it set to what they were or were about to be."""
        if self.job is None or self.value is None:
            return ()
        return tuple(row for row in self.settings if row.changes_nothing(self.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How often a token's owner asked for a path; distinct in all but ``count``."""

    user: str | None
    token_project: str | None
    route: str
    path: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """All that was recorded; ``puts`` in the order of their arrival.

    Attributes:
        faulty_calls: how many calls met a fault.
    """

    puts: tuple[Put, ...]
    uses: tuple[Use, ...]
    faulty_calls: int


def read(told: Mapping[str, Any]) -> Tape:
    """Read the recorder's JSON."""
    return Tape(
        puts=tuple(_put(row) for row in told["puts"]),
        uses=tuple(Use(**row) for row in told["uses"]),
        faulty_calls=told["faulty_calls"],
    )


def _put(row: Mapping[str, Any]) -> Put:
    settings = tuple(
        Setting(**{**each, "coming": tuple(map(tuple, each["coming"]))}) for each in row["settings"]
    )
    return Put(**{**row, "settings": settings, "effects": tuple(row["effects"])})
