"""The clouds of `suite.py`: each is started once, and has its own projects and users."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from openstack_cloud import OpenStackCloud
from openstack_cloud.ims import ImsOnGlance
from openstack_cloud.suite import Caller, Cloud, Servers, Simulated, token_of
from otc_simulator.client import Simulator
from otc_simulator.settings import OPENSTACK

SERVERS, AS_OPENSTACK, AS_IMS = "servers", "as_openstack", "as_ims"
"""Names of fixtures, and of the clouds in the names of tests."""
of_openstack = pytest.mark.parametrize("cloud", [SERVERS, AS_OPENSTACK], indirect=True)
"""For what the Open Telekom Cloud does not have, or does not document."""
of_ims = pytest.mark.parametrize("cloud", [SERVERS, AS_IMS], indirect=True)
"""For the routes that only IMS has."""


@pytest.fixture(scope="session")
def servers(openstack: OpenStackCloud) -> Iterator[Cloud]:
    with (
        ImsOnGlance(openstack.identity.url, openstack.image.url) as ims,
        closing(Servers(openstack, ims)) as cloud,
    ):
        yield cloud


@pytest.fixture(scope="session")
def as_openstack() -> Iterator[Cloud]:
    with Simulator() as sim:
        sim.settings(**OPENSTACK)
        with closing(Simulated(sim, has_ims=False)) as cloud:
            yield cloud


@pytest.fixture(scope="session")
def as_ims() -> Iterator[Cloud]:
    with Simulator() as sim, closing(Simulated(sim, has_ims=True)) as cloud:
        yield cloud


@pytest.fixture(scope="module", params=[SERVERS, AS_OPENSTACK, AS_IMS])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    found: Cloud = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def token(cloud: Cloud) -> str:
    """Of the user of the project."""
    return token_of(cloud, cloud.user_id, cloud.project)


@pytest.fixture
def recipient(cloud: Cloud, token: str) -> Caller:
    """The user of the project that images are shared with."""
    return Caller(cloud, token)


@pytest.fixture
def owner(cloud: Cloud) -> Caller:
    """The owner of the images."""
    return Caller(cloud, cloud.owner_token())
