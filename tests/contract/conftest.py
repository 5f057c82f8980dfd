"""Images of the simulated cloud, and callers of its two accounts."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from contract.caller import Caller
from otc_simulator.client import Simulator


@pytest.fixture
def images(sim: Simulator) -> list[str]:
    """Three images shared with the default project, pending."""
    return sim.add_images(3, shared_with=[sim.project_id])


@pytest.fixture
def image(images: list[str]) -> str:
    return images[0]


@pytest.fixture
def recipient(sim: Simulator) -> Iterator[Caller]:
    with closing(Caller(sim)) as caller:
        yield caller


@pytest.fixture
def owner(sim: Simulator) -> Iterator[Caller]:
    login = (sim.owner_user, sim.owner_password, sim.owner_domain)
    with closing(Caller(sim, sim.owner_project_id, login)) as caller:
        yield caller
