"""What other tenants do costs a lone object two seconds at most, at the size that is promised.

The scene of the outages: all that the operator does between its watch and the wire, on a virtual
clock. The machine's own speed is no part of it: see `e2e/live/test_fairness.py`.
"""

import pytest
from controller.test_outage import A, B, Scene, never_answers, scene

pytestmark = pytest.mark.looptime(noop_cycles=2)

CROWD = 5000
ALONE_S = 1.25
"""An object alone, of which its job takes 1 s."""
DELAY_S = 2.0


async def seconds(world: Scene, host: str = A) -> float:
    """How long one object takes of a tenant that has no other."""
    (key,) = world.add(1, hosts=(host,), namespace="lone")
    return await world.accepted(key)


def crowd(
    world: Scene, namespaces: int = 1, secret: str = "", hosts: tuple[str, ...] = (A,)
) -> None:
    for number in range(namespaces):
        world.add(CROWD // namespaces, hosts, f"crowd-{number}", secret)


async def test_object_of_a_tenant_that_is_alone() -> None:
    async with scene() as world:
        assert await seconds(world) == pytest.approx(ALONE_S, abs=0.06)


@pytest.mark.parametrize("secret", ["", "one"], ids=["an identity each", "one identity"])
@pytest.mark.parametrize("namespaces", [1, 10])
async def test_crowd_does_not_delay_another_tenant(namespaces: int, secret: str) -> None:
    async with scene() as world:
        crowd(world, namespaces, secret)

        assert await seconds(world) <= ALONE_S + DELAY_S
        assert world.cluster.reasons()["Accepted"] < CROWD / 2


@pytest.mark.parametrize("secret", ["", "one"], ids=["an identity each", "one identity"])
@pytest.mark.parametrize("namespaces", [1, 10, 100])
@pytest.mark.parametrize("hosts", [1, 40])
async def test_cloud_that_hangs_does_not_delay_the_tenants_of_another(
    hosts: int, namespaces: int, secret: str
) -> None:
    names = tuple(f"hung-{number}.test" for number in range(hosts))
    async with scene() as world:
        world.clouds.down = dict.fromkeys(names, never_answers)
        crowd(world, namespaces, secret, names)

        assert await seconds(world, B) <= ALONE_S + DELAY_S


@pytest.mark.parametrize("namespaces", [1, 10])
async def test_bad_credentials_do_not_delay_another_tenant(namespaces: int) -> None:
    async with scene() as world:
        world.clouds.strangers = frozenset(f"secret-{number}" for number in range(CROWD))
        crowd(world, namespaces)

        assert await seconds(world) <= ALONE_S + DELAY_S
        assert world.cluster.reasons()["CredentialsInvalid"] > 0


async def slow_jobs(world: Scene) -> None:
    """Let the jobs of 20 objects take a minute; later jobs take a second."""
    world.clouds.job_s = 60.0
    slow = world.add(20, hosts=(A,), namespace="slow", secret="one")
    await world.accepted(slow[0])
    world.clouds.job_s = 1.0


async def test_slow_jobs_of_one_tenant_do_not_delay_another() -> None:
    async with scene() as world:
        await slow_jobs(world)

        assert await seconds(world) == pytest.approx(ALONE_S, abs=0.06)


async def test_slow_jobs_do_not_delay_the_next_one_of_the_same_tenant_for_long() -> None:
    async with scene() as world:
        await slow_jobs(world)
        (quick,) = world.add(1, hosts=(A,), namespace="slow", secret="one")

        assert await world.accepted(quick) <= ALONE_S + DELAY_S
