"""One tenant's crowd, hung cloud or bad Secret is not another tenant's problem.

Here on a real API server, with as many objects as a small machine can make in seconds, and passes
in proportion. `unit/controller/test_fairness.py` has the size that is promised.
"""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.live.process import Operator
from e2e.live.world import World
from envtest import ControlPlane
from otc_simulator.client import Simulator

CROWD = 300
HUNG = 6
"""Namespaces of objects whose cloud hangs: together they would have all passes."""
PASSES = 128
PASSES_OF_ONE = 32
DELAY_S = 2.0
"""What another tenant may cost at most, where one object alone takes `ALONE_S`."""
ALONE_S = 0.8
"""An object alone, of which its job takes 0.4 s: measured on two idle cores."""


@pytest.fixture(scope="module")
def operator(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    process = Operator(
        kubeconfig,
        tmp_path_factory.mktemp("operator") / "log",
        ISA_WORKERS=str(PASSES),
        ISA_NAMESPACE_WORKERS=str(PASSES_OF_ONE),
    )
    process.start()
    yield process
    process.terminate()


@pytest.fixture
def neighbours(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator
) -> Iterator[list[World]]:
    """Other tenants of the same operator and the same cloud."""
    made = []
    for _ in range(HUNG):
        name = control_plane.create_namespace("neighbour")
        made.append(World(control_plane, simulator, operator, name))
        made[-1].secret()
    yield made
    for world in made:
        control_plane.http.delete(world.resources).raise_for_status()


@pytest.fixture
def neighbour(neighbours: list[World]) -> World:
    return neighbours[0]


def apply_crowd(*worlds: World, cloud: Simulator | None = None) -> None:
    """Create objects of all these tenants in turn."""
    images = [worlds[number % len(worlds)].image() for number in range(CROWD)]

    def apply(number: int) -> None:
        world = worlds[number % len(worlds)]
        url = (cloud or world.sim).url
        world.apply([images[number]], f"web-{number}", endpoints={"iam": url, "ims": url})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(apply, range(CROWD)))


def seconds_to_ready(world: World, name: str = "alone") -> float:
    began = time.monotonic()
    world.apply([world.image()], name=name)
    world.wait_for("Accepted", name=name, within_s=30)
    return time.monotonic() - began


def allowed_s(world: World) -> float:
    """The most that an object may take here and now: a slow machine has more time for the same."""
    alone_s = seconds_to_ready(world)
    return alone_s + DELAY_S * max(1.0, alone_s / ALONE_S)


def test_crowd_of_one_tenant_does_not_delay_another(world: World, neighbour: World) -> None:
    """The operator stands still until all of them wait for it."""
    most_s = allowed_s(world)
    os.kill(world.operator.pid, signal.SIGSTOP)
    try:
        apply_crowd(neighbour)
        world.apply([world.image()], name="lone")
    finally:
        os.kill(world.operator.pid, signal.SIGCONT)
    began = time.monotonic()

    world.wait_for("Accepted", name="lone", within_s=30)

    assert time.monotonic() - began < most_s
    assert neighbour.status(f"web-{CROWD - 1}").get("summary") != "1/1"
    for number in range(CROWD):
        neighbour.wait_for("Accepted", name=f"web-{number}", within_s=40)


@pytest.mark.parametrize("tenants", [1, HUNG])
def test_cloud_that_hangs_does_not_delay_the_tenants_of_another(
    world: World, neighbours: list[World], tenants: int
) -> None:
    most_s = allowed_s(world)
    with Simulator() as hung:
        hung.freeze()
        try:
            apply_crowd(*neighbours[:tenants], cloud=hung)

            assert seconds_to_ready(world, "lone") < most_s
        finally:
            hung.thaw()


def test_bad_secret_of_one_tenant_does_not_delay_another(world: World, neighbour: World) -> None:
    most_s = allowed_s(world)
    neighbour.secret(username=neighbour.user, password="wrong", domainName=neighbour.sim.domain)
    apply_crowd(neighbour)

    assert seconds_to_ready(world, "lone") < most_s
    neighbour.wait_for("CredentialsInvalid", name="web-0", within_s=30)
