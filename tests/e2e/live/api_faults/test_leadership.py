"""A leader and an API server that does not answer it for a while."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.api_faults.proxied import RESOURCES, start
from e2e.live.world import World
from envtest import SYSTEM, Operator, eventually
from envtest.proxy import Cut, FaultyProxy

LEASE = "*/leases/*"
LEADS = "became leader as "


@pytest.fixture
def operator(
    faulty: FaultyProxy, kubeconfig: Path, tmp_path: Path, namespace: str
) -> Iterator[Operator]:
    process = Operator(
        faulty.kubeconfig(kubeconfig, tmp_path / "kubeconfig"),
        tmp_path / "log",
        ISA_LEADER_ELECTION="true",
        ISA_LEASE_NAMESPACE=SYSTEM,
        ISA_LEASE_NAME=namespace,
    )
    yield process
    process.kill()


def test_short_absence_of_the_api_server_keeps_the_lead(world: World, faulty: FaultyProxy) -> None:
    start(world, faulty)
    renewed = renewals(faulty)

    # Two renewals fail, of the five that there are before the lead is lost.
    faulty.fault("*", LEASE, Cut(), count=2)
    faulty.end_watches(RESOURCES, reset=True)
    world.apply([world.image()])
    eventually(lambda: renewals(faulty) > renewed or None)

    world.wait_for("Accepted")
    assert sum(call.spoiled for call in faulty.calls("*", LEASE)) == 2
    assert world.operator.log.count(LEADS) == 1
    assert world.operator.exit_code is None


def renewals(faulty: FaultyProxy) -> int:
    return sum(not call.spoiled for call in faulty.calls("update", LEASE))


def test_long_absence_of_the_api_server_ends_the_process(world: World, faulty: FaultyProxy) -> None:
    """Started again, it waits for the API server, and leads."""
    start(world, faulty)

    faulty.fault("*", "*", Cut())
    faulty.end_watches(reset=True)
    ended_with = eventually(lambda: world.operator.exit_code)
    world.operator.start()
    tries = len(faulty.calls("get", LEASE)) + 1
    eventually(lambda: len(faulty.calls("get", LEASE)) > tries or None)
    world.apply([world.image()])
    faulty.clear()

    world.wait_for("Accepted")
    assert ended_with == 1
    assert world.operator.log.count(LEADS) == 2
    assert "Traceback" not in world.operator.log
