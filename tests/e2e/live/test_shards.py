"""Parts at once: no object is served twice, none is forgotten."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.live.world import World
from envtest import SYSTEM, ControlPlane, Operator, eventually
from envtest.proxy import Call, FaultyProxy
from image_share_operator.sharding import Shard
from otc_simulator.client import Simulator

PARTS = 2
EACH = 2
"""Namespaces of a part, and objects of a namespace."""
WRITES = 2
"""Of a status: that the job runs, and that it is done."""


@dataclass(frozen=True, slots=True)
class Part:
    """An operator, and what it asks of the API server."""

    operator: Operator
    api: FaultyProxy

    def writes(self) -> Counter[tuple[str, str]]:
        """How often it wrote which object's status, by namespace and name."""
        paths = [call.path.split("/") for call in self.api.calls("patch", "*/status")]
        return Counter((path[5], path[7]) for path in paths)

    def lists(self) -> list[Call]:
        return self.api.calls("list", "*/imageshareacceptances")


@contextmanager
def running(
    control_plane: ControlPlane, kubeconfig: Path, directory: Path, *settings: dict[str, str]
) -> Iterator[list[Part]]:
    """Parts with these settings, each with a Lease, all of which are held."""
    with ExitStack() as stack:
        parts = []
        for index, chosen in enumerate(settings):
            api = stack.enter_context(FaultyProxy(control_plane.url, ca_file=control_plane.ca_file))
            operator = Operator(
                api.kubeconfig(kubeconfig, directory / f"kubeconfig-{index}"),
                directory / f"part-{index}",
                ISA_LEADER_ELECTION="true",
                ISA_LEASE_NAMESPACE=SYSTEM,
                **chosen,
            )
            operator.start()
            stack.callback(operator.terminate)
            parts.append(Part(operator, api))
        eventually(lambda: all("became leader as" in part.operator.log for part in parts) or None)
        yield parts


def leases(control_plane: ControlPlane) -> set[str]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
    answer = control_plane.http.get(path).raise_for_status()
    return {row["metadata"]["name"] for row in answer.json()["items"]}


def namespaces(control_plane: ControlPlane, prefix: str) -> list[str]:
    """As many of each part, whichever their names fall to."""
    owned: list[list[str]] = [[] for _ in range(PARTS)]
    while any(len(names) < EACH for names in owned):
        name = control_plane.create_namespace(prefix)
        next(owned[i] for i in range(PARTS) if Shard(i, PARTS).owns(name)).append(name)
    return [name for names in owned for name in names[:EACH]]


def serve(
    control_plane: ControlPlane, simulator: Simulator, parts: list[Part], names: Sequence[str]
) -> list[World]:
    """Let objects in all namespaces be accepted; each image was sent once."""
    worlds = [World(control_plane, simulator, parts[0].operator, name) for name in names]
    images = {}
    for world in worlds:
        world.secret()
        images[world.namespace] = [world.image() for _ in range(EACH)]
        for number, image in enumerate(images[world.namespace]):
            world.apply([image], name=f"web-{number}")
    for world in worlds:
        for number in range(EACH):
            world.wait_for("Accepted", name=f"web-{number}")
        assert world.sent() == sorted(images[world.namespace])
    return worlds


def expected(names: Sequence[str]) -> dict[tuple[str, str], int]:
    return {(name, f"web-{number}"): WRITES for name in names for number in range(EACH)}


@pytest.fixture
def cloud(simulator: Simulator) -> Simulator:
    simulator.resume()
    simulator.clear_faults()
    return simulator


def test_parts_share_the_work(
    control_plane: ControlPlane, cloud: Simulator, kubeconfig: Path, tmp_path: Path
) -> None:
    names = namespaces(control_plane, "parted")
    settings = [
        {"ISA_SHARD": f"{index}/{PARTS}", "ISA_LEASE_NAME": "parted"} for index in range(PARTS)
    ]
    with running(control_plane, kubeconfig, tmp_path, *settings) as parts:
        worlds = serve(control_plane, cloud, parts, names)

        assert {"parted-0", "parted-1"} <= leases(control_plane)
        for index, part in enumerate(parts):
            owned = [name for name in names if Shard(index, PARTS).owns(name)]
            assert len(owned) == EACH
            assert part.writes() == expected(owned)
        for world in worlds:
            control_plane.http.delete(world.resources).raise_for_status()
        assert_no_census(parts)


def assert_no_census(parts: list[Part]) -> None:
    """Objects were deleted: each part goes on counting, but reads no list of all there is."""
    seen = [len(part.lists()) for part in parts]
    eventually(
        lambda: all(len(part.lists()) >= n + 2 for part, n in zip(parts, seen, strict=True)) or None
    )
    for part, before in zip(parts, seen, strict=True):
        assert {call.query for call in part.lists()[before:]} == {"limit=1"}


def test_operators_that_watch_other_namespaces_share_the_work(
    control_plane: ControlPlane, cloud: Simulator, kubeconfig: Path, tmp_path: Path
) -> None:
    names = [control_plane.create_namespace("listed") for _ in range(PARTS * EACH)]
    watched = [names[index::PARTS] for index in range(PARTS)]
    settings = [
        {"ISA_NAMESPACES": ",".join(owned), "ISA_LEASE_NAME": f"listed-{index}"}
        for index, owned in enumerate(watched)
    ]
    with running(control_plane, kubeconfig, tmp_path, *settings) as parts:
        worlds = serve(control_plane, cloud, parts, names)

        assert {"listed-0", "listed-1"} <= leases(control_plane)
        for part, owned in zip(parts, watched, strict=True):
            assert part.writes() == expected(owned)
        for world in worlds:
            control_plane.http.delete(world.resources).raise_for_status()
