"""What the owner of images does, and resources that select them."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from e2e.conftest import Json
from e2e.live.world import World
from envtest import eventually
from otc_simulator.client import Simulator

OWNER = Simulator.owner_project_id
FOREIGN = "f" * 32
"""Another project that shares images with names of the same kind."""
LIST = "GET /v2/cloudimages"
RECONCILE_AT = "ims.otc.dev/reconcile-at"

_numbers = itertools.count(1)


def publish(world: World, name: str, *, age: timedelta = timedelta(), **image: Any) -> str:
    """Let an owner share an image of this age."""
    created_at = datetime.now(UTC) - age
    return world.sim.publish(name, shared_with=[world.project], created_at=created_at, **image)


def days(count: float) -> timedelta:
    return timedelta(days=count)


def select(
    world: World,
    policy: Mapping[str, object] | None = None,
    *,
    name: str = "web",
    pattern: str = "ubuntu-*",
    **changes: object,
) -> str:
    """Create a resource that selects images of `OWNER` by their names."""
    terms = [{"owner": OWNER, "name": pattern}]
    fields: dict[str, Any] = {"imageSelectorTerms": terms, "imageSelectionPolicy": policy}
    return world.apply(None, name, **fields | changes)


def check(world: World, name: str = "web") -> Json:
    """Ask for a check; return the status after it."""
    asked = f"check-{next(_numbers)}"
    world.annotate(name, **{RECONCILE_AT: asked})

    def handled() -> Json | None:
        status = world.status(name)
        return status if status.get("lastHandledReconcileAt") == asked else None

    return eventually(handled)


def rows(world: World, name: str = "web") -> dict[str, Json]:
    """The rows of the images, by their IDs."""
    return {row["id"]: row for row in world.status(name).get("images", ())}


def selections(world: World, name: str = "web") -> dict[str, str]:
    """The verdict on each image."""
    return {image: row["selection"] for image, row in rows(world, name).items()}


def latest(world: World, name: str = "web") -> dict[str, str]:
    """The latest image of each group."""
    return {row["group"]: row["id"] for row in world.status(name).get("latest", ())}


def wait_for_membership(world: World, image: str, status: str | None) -> None:
    eventually(lambda: True if world.membership(image) == status else None)


def wait_for_latest(world: World, image: str, name: str = "web", group: str = "") -> None:
    eventually(lambda: True if latest(world, name).get(group) == image else None)


def wait_for_event(world: World, reason: str, name: str = "web") -> None:
    eventually(lambda: reason in world.events(name) or None)


def batches(world: World) -> list[list[str]]:
    """The images of each batch, in the order of their arrival."""
    return [put["images"] for put in world.puts()]
