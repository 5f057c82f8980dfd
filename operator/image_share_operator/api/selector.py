"""Image selectors: which of the images that are shared with a project a spec selects. No I/O.

`planning/selection.py` applies them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self

from image_share_operator.api import fields, patterns
from image_share_operator.api.errors import InvalidSpecError

MAX_TERMS = 16
DEFAULT_LIMIT = 100
MAX_SELECTED = 500
"""Of `newest` and `limit`: as many as `spec.images` may list."""
MAX_OWNER_CHARS = 64
ANY_NAME = "*"


class OsType(StrEnum):
    """The values of ``__os_type`` in IMS."""

    LINUX = "Linux"
    WINDOWS = "Windows"
    OTHER = "Other"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorTerm:
    """One term; its fields are ANDed.

    Attributes:
        owner: ID of the project that shares the image; there is no wildcard.
        name: glob (``*`` and ``?``) for the whole name, case-sensitive.
        os_type: ``None`` for any.
        full_server: whether full-server images match instead of the others.
    """

    owner: str
    name: str = ANY_NAME
    os_type: OsType | None = None
    full_server: bool = False

    @classmethod
    def parse(cls, raw: Mapping[str, Any], path: str = "imageSelectorTerms") -> Self:
        """Parse a term that the API server accepted.

        Args:
            path: of the term, for messages.

        Raises:
            InvalidSpecError: a field is missing or can't be served; the message names it.
        """
        given = _at(raw, path)
        owner = fields.text(given, f"{path}.owner")
        if len(owner) > MAX_OWNER_CHARS:
            raise InvalidSpecError(f"spec.{path}.owner must be the ID of the project that shares")
        name = fields.optional_text(given, f"{path}.name") or ANY_NAME
        try:
            patterns.compile_glob(name)
        except ValueError as exc:
            raise InvalidSpecError(f"spec.{path}.name {exc}") from None
        os_type = fields.optional_text(given, f"{path}.osType")
        try:
            return cls(
                owner=owner,
                name=name,
                os_type=None if os_type is None else OsType(os_type),
                full_server=raw.get("fullServer") is True,
            )
        except ValueError:
            raise InvalidSpecError(
                f"spec.{path}.osType {os_type!r} is not Linux, Windows or Other"
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionPolicy:
    """Which of the matching images are selected.

    Attributes:
        group_by: RE2 with at most one capture group; images whose names have the same captured
            text are one group. ``None``: all images are one group.
        newest: images selected of each group; ``None`` for all.
        min_age: since the image was created; younger images wait.
        exclude: canonical IDs of images that are never selected.
        limit: images selected at most.
    """

    group_by: str | None = None
    newest: int | None = None
    min_age: timedelta = timedelta()
    exclude: frozenset[str] = frozenset()
    limit: int = DEFAULT_LIMIT

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """Parse a policy that the API server accepted.

        Raises:
            InvalidSpecError: a field is missing or can't be served; the message names it.
        """
        path = "imageSelectionPolicy"
        given = _at(raw, path)
        group_by = fields.optional_text(given, f"{path}.groupBy")
        if group_by is not None:
            try:
                patterns.check_regex(group_by)
            except ValueError as exc:
                raise InvalidSpecError(f"spec.{path}.groupBy {exc}") from None
        exclude = f"{path}.exclude"
        images = fields.texts(given, exclude) if raw.get("exclude") else ()
        return cls(
            group_by=group_by,
            newest=_count(given, f"{path}.newest"),
            min_age=fields.duration(given, f"{path}.minAge", timedelta()),
            exclude=frozenset(image.lower() for image in images),
            limit=_count(given, f"{path}.limit") or DEFAULT_LIMIT,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSelector:
    """Terms and policy of a spec. An image matches when any term matches."""

    terms: tuple[SelectorTerm, ...]
    policy: SelectionPolicy = SelectionPolicy()

    @property
    def owners(self) -> tuple[str, ...]:
        """The projects whose images may be selected, without duplicates."""
        return tuple(dict.fromkeys(term.owner for term in self.terms))

    @classmethod
    def parse(cls, spec: Mapping[str, Any]) -> Self | None:
        """Parse the selector of a spec; ``None`` for a spec that lists images.

        Raises:
            InvalidSpecError: a field is missing or can't be served; the message names it.
        """
        terms = spec.get("imageSelectorTerms")
        if terms is None:
            return None
        if not isinstance(terms, list) or not 1 <= len(terms) <= MAX_TERMS:
            raise InvalidSpecError(f"spec.imageSelectorTerms must have 1 to {MAX_TERMS} terms")
        rows = [row for row in terms if isinstance(row, Mapping)]
        if len(rows) < len(terms):
            raise InvalidSpecError("spec.imageSelectorTerms must have objects only")
        policy = spec.get("imageSelectionPolicy") or {}
        if not isinstance(policy, Mapping):
            raise InvalidSpecError("spec.imageSelectionPolicy must be an object")
        return cls(
            terms=tuple(
                SelectorTerm.parse(row, f"imageSelectorTerms[{index}]")
                for index, row in enumerate(rows)
            ),
            policy=SelectionPolicy.parse(policy),
        )


def _at(raw: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The same values by their paths in the spec, so that each error names its field."""
    return {f"{path}.{field}": value for field, value in raw.items()}


def _count(given: Mapping[str, Any], path: str) -> int | None:
    value = given.get(path)
    if value is None:
        return None
    if not isinstance(value, int) or not 1 <= value <= MAX_SELECTED:
        raise InvalidSpecError(f"spec.{path} must be 1 to {MAX_SELECTED}")
    return value
