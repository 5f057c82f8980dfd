"""Which images a list shows, in which order, as which rows (reference, 5). No I/O, no clock."""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from otc_simulator import answers
from otc_simulator.membership import STATUSES, VISIBILITIES, Image, Registry
from otc_simulator.settings import Settings

# Filters that compare a row's key with the text of the query. With those of `_matches`, these are
# the filters of this list; all others that are documented narrow nothing here, as unknown ones do.
EQUALITY = ("id", "name", "owner", "status", "disk_format", "container_format", "__os_type")
TIMES = ("created_at", "updated_at")
COMPARISONS: Mapping[str, Callable[[datetime, datetime], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "eq": operator.eq,
    "neq": operator.ne,
}
SORT_KEYS = ("created_at", "name", "status", "id", "disk_format", "container_format", "size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks, when, at what."""

    project_id: str
    registry: Registry
    now: datetime
    settings: Settings


def row(image: Image, registry: Registry) -> dict[str, Any]:
    """Return an image as the lists and ``GET /v2/images/{id}`` show it."""
    kind = image_type(image, registry)
    told = {
        "id": image.id,
        "name": image.name,
        "owner": image.owner,
        "status": image.status,
        "visibility": {"gold": "public"}.get(kind, kind),
        "__imagetype": kind,
        "virtual_env_type": "FusionCompute",
        "__isregistered": "true",
        "__os_type": image.os_type,
        "__image_size": str(image.size_gb << 30),
        "min_disk": image.size_gb,
        "min_ram": 0,
        "disk_format": "zvhd2",
        "container_format": "bare",
        "protected": False,
        "size": image.size_gb << 30,
        "virtual_size": None,
        "tags": [],
        "created_at": _stamp(image.created_at),
        "updated_at": _stamp(image.updated_at),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
        **({"__whole_image": "true"} if image.whole else {}),
        **({"os_hidden": True} if image.os_hidden else {}),
        **image.extra,
    }
    for name in image.hidden:
        told.pop(name, None)
    return told


@lru_cache(1 << 15)
def _stamp(at: datetime) -> str:
    """Kept, since a page of a list has a thousand of them."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def image_type(image: Image, registry: Registry) -> str:
    if image.visibility != "shared":
        return {"public": "gold"}.get(image.visibility, image.visibility)
    return "shared" if registry.shared_out(image.id) else "private"


def page(viewer: Viewer, query: Mapping[str, str], *, default_limit: int) -> list[Image]:
    """Return one page of what the viewer's project sees; raises RefusalError."""
    limit = min(_limit(query.get("limit"), default_limit), viewer.settings.max_limit)
    images = _listed(viewer, query)
    return images[_after_marker(viewer, images, query) :][:limit]


def _listed(viewer: Viewer, query: Mapping[str, str]) -> list[Image]:
    """Return all pages as one; kept until an image or a member changes, for the next page.

    With lags, time changes it as well.
    """
    settings, lists = viewer.settings, viewer.registry.lists
    if settings.imagetype_is_property and "__imagetype" in query:
        return []
    if settings.share_lag_seconds or settings.visibility_lag_seconds:
        return _sorted(viewer, query)
    filters = frozenset((name, query[name]) for name in query if name not in ("limit", "marker"))
    key = (viewer.project_id, filters, settings)
    if key not in lists:
        lists[key] = _sorted(viewer, query)
    return lists[key]


def _sorted(viewer: Viewer, query: Mapping[str, str]) -> list[Image]:
    ignored = {"owner"} if viewer.settings.ignores_owner else set()
    asked = tuple(name for name in EQUALITY if name in query and name not in ignored)
    times = [(name, *_time_filter(name, query[name])) for name in TIMES if name in query]
    return sorted(
        (
            image
            for image in _visible(viewer, query)
            if _matches(image, viewer.registry, query, asked)
            and all(
                compare(getattr(image, name).replace(microsecond=0), at)
                for name, compare, at in times
            )
        ),
        key=lambda image: _sort_key(image, query.get("sort_key", "created_at")),
        reverse=query.get("sort_dir", "desc") == "desc",
    )


def _visible(viewer: Viewer, query: Mapping[str, str]) -> Iterator[Image]:
    """Yield own images, those shared with the project in the wanted status, public ones."""
    wanted = query.get("member_status", "accepted")
    if wanted not in STATUSES:
        raise answers.glance(400, f"Invalid member status: {wanted}")
    visibility = query.get("visibility")
    if visibility not in (None, *VISIBILITIES):
        raise answers.glance(400, f"Invalid visibility value: {visibility}")
    registry, settings = viewer.registry, viewer.settings
    yield from registry.owned(viewer.project_id)
    hidden = (
        wanted == "pending"
        and settings.imagetype_hides_pending
        and query.get("__imagetype") == "shared"
    )
    if not hidden:
        for member in registry.shares_with(viewer.project_id):
            image = registry.images[member.image_id]
            if (
                image.visibility == "shared"
                and member.visible_status(viewer.now, settings) == wanted
            ):
                yield image
    for image in registry.public():
        listed = image.visibility == "public" or visibility == "community"
        if listed and image.owner != viewer.project_id:
            yield image


def _matches(
    image: Image, registry: Registry, query: Mapping[str, str], asked: tuple[str, ...]
) -> bool:
    if image.os_hidden != (query.get("os_hidden", "").lower() == "true"):
        return False
    kind = image_type(image, registry)
    if query.get("__imagetype", kind) != kind:
        return False
    visibility = {"gold": "public"}.get(kind, kind)
    if query.get("visibility", visibility) != visibility:
        return False
    whole = query.get("__whole_image")
    if whole is not None and (whole.lower() == "true") != image.whole:
        return False
    if not asked:
        return True
    # Not from the row where it can be known without: a list of thousands is filtered per page.
    own = {
        "id": image.id,
        "name": image.name,
        "owner": image.owner,
        "status": image.status,
        "__os_type": image.os_type,
    }
    if image.extra or not own.keys() >= set(asked):
        own |= row(image, registry)
    return all(str(own.get(name)) == query[name] for name in asked)


def _time_filter(name: str, raw: str) -> tuple[Callable[[datetime, datetime], bool], datetime]:
    """Read ``gte:2026-01-31T00:00:00Z``; a time alone is ``eq``."""
    word, _, text = raw.partition(":")
    if word not in COMPARISONS:
        word, text = "eq", raw
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise answers.glance(400, f"Invalid {name} filter: {raw}") from exc
    return COMPARISONS[word], at if at.tzinfo else at.replace(tzinfo=UTC)


def _sort_key(image: Image, name: str) -> tuple[Any, str]:
    match name:
        case "created_at":
            return image.created_at, image.id
        case "size":
            return image.size_gb, image.id
        case "name" | "status" | "id":
            return getattr(image, name), image.id
        case _ if name in SORT_KEYS:
            return "", image.id
        case _:
            raise answers.glance(400, f"Invalid sort key: {name}")


def _limit(raw: str | None, default: int) -> int:
    if raw is None:
        return default
    if not raw.isdecimal():
        raise answers.glance(400, "limit param must be a non-negative integer")
    return int(raw)


def _after_marker(viewer: Viewer, images: list[Image], query: Mapping[str, str]) -> int:
    """Return where the page starts: after the marker, which is exclusive."""
    marker = query.get("marker")
    if marker is None:
        return 0
    for index, image in enumerate(images):
        if image.id == marker:
            return index + 1
    unlisted = viewer.registry.images.get(marker)
    if unlisted is None or viewer.settings.marker == "listed":
        raise answers.glance(400, f"Invalid marker: {marker}")
    if not viewer.registry.sees(
        viewer.project_id, unlisted, now=viewer.now, settings=viewer.settings
    ):
        raise answers.glance(403, f"Forbidding request, image {marker} not visible")
    name = query.get("sort_key", "created_at")
    is_later = operator.lt if query.get("sort_dir", "desc") == "desc" else operator.gt
    at = _sort_key(unlisted, name)
    return sum(not is_later(_sort_key(image, name), at) for image in images)
