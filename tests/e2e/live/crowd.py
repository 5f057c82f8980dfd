"""Many resources of one tenant at once, and an operator that finds them all at once."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from e2e.conftest import Json
from e2e.live.world import World
from envtest import eventually
from otc_simulator.client import Simulator


def apply_crowd(count: int, *worlds: World, cloud: Simulator | None = None) -> list[str]:
    """Create resources of all these tenants in turn; return their names.

    Args:
        cloud: that all of them name as their own; ``None`` is the tenants'.
    """
    images = worlds[0].sim.add_images(count, shared_with=[world.project for world in worlds])

    def apply(number: int) -> str:
        world = worlds[number % len(worlds)]
        url = (cloud or world.sim).url
        return world.apply([images[number]], f"web-{number}", endpoints={"iam": url, "ims": url})

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(apply, range(count)))


@contextmanager
def stopped(world: World) -> Iterator[None]:
    """Stop the operator's process: all that is applied meanwhile waits for it together."""
    os.kill(world.operator.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(world.operator.pid, signal.SIGCONT)


def ready_reasons(world: World) -> list[str]:
    """The reasons of all Ready conditions of the tenant."""
    listed: list[Json] = world.control_plane.http.get(world.resources).json()["items"]
    return [
        row["reason"]
        for body in listed
        for row in body["status"].get("conditions", ())
        if row["type"] == "Ready"
    ]


def wait_for_all(count: int, world: World, reason: str) -> None:
    """Wait until so many resources of the tenant have this reason."""
    eventually(lambda: ready_reasons(world).count(reason) == count or None)
