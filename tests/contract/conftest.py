"""One simulator process for the suite, reset before each test."""

from collections.abc import Iterator

import pytest

from contract.caller import Caller
from otc_simulator.client import Simulator


@pytest.fixture(scope="session")
def _process() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def sim(_process: Simulator) -> Simulator:
    _process.reset()
    return _process


@pytest.fixture
def images(sim: Simulator) -> list[str]:
    """Three images shared with the default project, pending."""
    return sim.add_images(3, shared_with=[sim.project_id])


@pytest.fixture
def image(images: list[str]) -> str:
    return images[0]


@pytest.fixture
def recipient(sim: Simulator) -> Iterator[Caller]:
    caller = Caller(
        sim,
        user=sim.user,
        password=sim.password,
        domain=sim.domain,
        project_id=sim.project_id,
    )
    yield caller
    caller.close()


@pytest.fixture
def owner(sim: Simulator) -> Iterator[Caller]:
    caller = Caller(
        sim,
        user=sim.owner_user,
        password=sim.owner_password,
        domain=sim.owner_domain,
        project_id=sim.owner_project_id,
    )
    yield caller
    caller.close()
