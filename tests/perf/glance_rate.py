"""Measures 300 images against a real Glance: the operator, a plain loop, and the OpenStack client.

    python tests/perf/glance_rate.py

One after the other in the same run, each with images and a project of its own. The loop and the
operator form pairs: what else the machine does changes from minute to minute.
"""

import asyncio
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

from e2e.live.openstack_world import OpenStackWorld
from e2e.live.world import Operator, install_rights
from envtest import ControlPlane
from image_share_operator.cloud.openstack_session import MAX_CONCURRENT_WRITES
from openstack_cloud import OpenStackCloud

IMAGES = 300
CLIENT_IMAGES = 10
PAIRS = 3
CRDS = Path(__file__).parents[2] / "deploy/crds"


def images_of(world: OpenStackWorld, count: int) -> list[str]:
    """New images that are shared with the project of the world."""
    return world.glance.images(count, shared_with=[world.project])


def operator_s(world: OpenStackWorld) -> float:
    """Seconds from the creation of the resource until it is Ready."""
    images = images_of(world, IMAGES)
    world.secret()
    began = time.monotonic()
    world.apply(images)
    world.wait_for("Accepted")
    return time.monotonic() - began


def loop_s(world: OpenStackWorld) -> float:
    """Seconds of a loop that sends the same requests, with the same concurrency."""
    images = images_of(world, IMAGES)
    began = time.monotonic()
    asyncio.run(_send(world, images))
    return time.monotonic() - began


async def _send(world: OpenStackWorld, images: list[str]) -> None:
    seats = asyncio.Semaphore(MAX_CONCURRENT_WRITES)
    async with httpx.AsyncClient(headers={"X-Auth-Token": world.token()}, timeout=60) as http:

        async def accept(image: str) -> None:
            async with seats:
                url = f"{world.cloud.image_url}/v2/images/{image}/members/{world.project}"
                (await http.put(url, json={"status": "accepted"})).raise_for_status()

        await asyncio.gather(*map(accept, images))


def client_s(world: OpenStackWorld) -> float:
    """Seconds of `openstack image set --accept` for all images, by a part of them."""
    images = images_of(world, CLIENT_IMAGES)
    env = world.client_env()
    began = time.monotonic()
    for image in images:
        command = [str(world.cloud.command("openstack")), "image", "set", "--accept", image]
        subprocess.run(command, env=env, check=True, capture_output=True)
    return (time.monotonic() - began) * IMAGES / CLIENT_IMAGES


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory, ControlPlane() as control_plane:
        control_plane.apply_crds(CRDS)
        operator = Operator(install_rights(control_plane), Path(directory) / "log")
        operator.start()
        try:
            with OpenStackCloud() as cloud:

                def world() -> OpenStackWorld:
                    namespace = control_plane.create_namespace("perf")
                    return OpenStackWorld(control_plane, cloud, operator, namespace)

                for _ in range(PAIRS):
                    loop, ours = loop_s(world()), operator_s(world())
                    print(  # noqa: T201
                        f"loop {loop:6.1f} s  operator {ours:6.1f} s  ratio {ours / loop:.2f}",
                        flush=True,
                    )
                print(f"client {client_s(world()):6.1f} s", flush=True)  # noqa: T201
        finally:
            operator.terminate()


if __name__ == "__main__":
    main()
