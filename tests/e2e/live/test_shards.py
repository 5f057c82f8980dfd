"""Two parts at once: no object is served twice, none is forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.process import SYSTEM, Operator, eventually
from e2e.live.world import World
from envtest import ControlPlane
from image_share_operator.shard import Shard
from otc_simulator.client import Simulator

PARTS = 2
NAMESPACES = 6


@pytest.fixture
def parts(kubeconfig: Path, tmp_path: Path) -> Iterator[list[Operator]]:
    running: list[Operator] = []
    for index in range(PARTS):
        part = Operator(
            kubeconfig,
            tmp_path / f"part-{index}",
            ISA_SHARD=f"{index}/{PARTS}",
            ISA_LEADER_ELECTION="true",
            ISA_LEASE_NAMESPACE=SYSTEM,
            ISA_LEASE_NAME="parted",
        )
        part.start()
        running.append(part)
    yield running
    for part in running:
        part.terminate()


def test_two_parts_share_the_work(
    control_plane: ControlPlane, simulator: Simulator, parts: list[Operator]
) -> None:
    simulator.clear_faults()
    worlds = [
        World(control_plane, simulator, parts[0], control_plane.create_namespace("parted"))
        for _ in range(NAMESPACES)
    ]
    eventually(lambda: all("leads as" in part.log for part in parts) or None)
    images = {}
    for world in worlds:
        world.secret()
        images[world.namespace] = [world.image(), world.image()]
        for number, image in enumerate(images[world.namespace]):
            world.apply([image], name=f"web-{number}")

    for world in worlds:
        for number in range(2):
            world.wait_for("Accepted", name=f"web-{number}")

    for world in worlds:
        assert world.sent() == sorted(images[world.namespace])
        owner = next(i for i in range(PARTS) if Shard(i, PARTS).owns(world.namespace))
        for index, part in enumerate(parts):
            assert (f"{world.namespace}/web-0: Ready" in part.log) == (index == owner)
        control_plane.http.delete(world.resources).raise_for_status()
