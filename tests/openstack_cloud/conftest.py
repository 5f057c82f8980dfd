"""The clouds that the same tests run against."""

from collections.abc import Iterator

import pytest

from openstack_cloud.ims import ImsOnGlance
from openstack_cloud.targets import Glance, Simulated, Target
from otc_simulator.client import Simulator


@pytest.fixture(scope="module", params=["glance", "simulator"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    if request.param == "glance":
        cloud = request.getfixturevalue("openstack")
        with ImsOnGlance(cloud.identity.url, cloud.image.url) as ims:
            yield Glance(cloud, ims)
        return
    with Simulator() as sim:
        made = Simulated(sim)
        yield made
        for caller in made.callers.values():
            caller.close()
