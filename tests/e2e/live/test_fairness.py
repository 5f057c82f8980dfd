"""One tenant's crowd, hung cloud or bad Secret is not another tenant's problem.

Here on a real API server, with as many resources as a small machine can create in seconds, and
workers in proportion. `unit/controller/test_fairness.py` has the size that is promised.
"""

from collections.abc import Iterator

import pytest

from e2e.live.crowd import apply_crowd, ready_reasons, stopped, wait_for_all
from e2e.live.programs import operator_fixture
from e2e.live.world import LOGIN, PUT, World
from envtest import ControlPlane, Operator
from otc_simulator.client import Simulator

CROWD = 120
HUNG = 6
"""Namespaces of resources whose cloud hangs: together they could take all workers."""
WORKERS = 64
WORKERS_OF_ONE = 16


operator = operator_fixture(
    ISA_WORKERS=str(WORKERS),
    ISA_NAMESPACE_WORKERS=str(WORKERS_OF_ONE),
    ISA_REQUEST_TIMEOUT_S="300",  # the requests that hang last longer than the tests
)


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


def test_crowd_of_one_tenant_does_not_delay_another(world: World, neighbour: World) -> None:
    """The lone resource was applied last. First come, first served would send it last."""
    with stopped(world):
        apply_crowd(CROWD, neighbour)
        world.apply([world.image()], name="lone")

    world.wait_for("Accepted", name="lone")
    wait_for_all(CROWD, neighbour, "Accepted")

    puts = world.sim.journal(PUT)
    (position,) = (number for number, put in enumerate(puts) if put["project"] == world.project)
    before = [put for put in puts[:position] if put["project"] == neighbour.project]
    assert sum(len(put["images"]) for put in before) < CROWD / 2


@pytest.mark.parametrize("tenants", [1, HUNG])
def test_cloud_that_hangs_does_not_delay_the_tenants_of_another(
    world: World, neighbours: list[World], tenants: int
) -> None:
    """The lone resource is Ready while no request to the cloud that hangs has ended."""
    with Simulator() as hung:
        hung.freeze()
        try:
            apply_crowd(CROWD, *neighbours[:tenants], cloud=hung)
            world.apply([world.image()], name="lone")

            world.wait_for("Accepted", name="lone")

            reasons = {reason for each in neighbours for reason in ready_reasons(each)}
            assert reasons <= {"Progressing"}
        finally:
            hung.thaw()


def test_bad_secret_of_one_tenant_does_not_delay_another(world: World, neighbour: World) -> None:
    """The crowd waits for one login together; the lone resource does not wait for the crowd."""
    neighbour.secret(username=neighbour.user, password="wrong", domainName=neighbour.sim.domain)
    with stopped(world):
        apply_crowd(CROWD, neighbour)
        world.apply([world.image()], name="lone")

    world.wait_for("Accepted", name="lone")

    wait_for_all(CROWD, neighbour, "CredentialsInvalid")
    assert neighbour.calls(LOGIN) <= 3  # two of the crowd, one of the lone resource
