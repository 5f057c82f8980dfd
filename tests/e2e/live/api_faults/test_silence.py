"""Connections that stay silent, without FIN or RST, as behind a router that drops all packets."""

import pytest

from e2e.live import impatient
from e2e.live.api_faults.proxied import CRDS, FIRST_PAGE, RESOURCES, start
from e2e.live.world import World
from envtest import eventually
from envtest.proxy import Effect, FaultyProxy, Hang, Stall

OUR_CRD = (
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/imageshareacceptances.ims.otc.dev"
)
RUN_ENDED = ("watch ended", "restarting kopf")
"""In the log when it was not the timeout of the connection that helped."""
DISCOVERY = "/apis/ims.otc.dev/v1alpha1"


@pytest.fixture(autouse=True)
def impatient_operator(world: World) -> None:
    """A watch may be silent for 4 s instead of 70 s."""
    world.operator.program = (impatient.__file__,)


@pytest.mark.parametrize(
    ("effect", "query"),
    [(Hang(), FIRST_PAGE), (Stall(300), FIRST_PAGE), (Stall(300), "continue=")],
    ids=["before its first byte", "in its first page", "in its second page"],
)
def test_list_that_falls_silent_is_sent_again(
    world: World, faulty: FaultyProxy, effect: Effect, query: str
) -> None:
    images = [world.image() for _ in range(3)]
    for number, image in enumerate(images):
        world.apply([image], name=f"web-{number}")
    faulty.limit_pages(2)
    faulty.fault("list", RESOURCES, effect, count=1, query=query)

    start(world, faulty)
    for number in range(3):
        world.wait_for("Accepted", name=f"web-{number}")

    assert world.sent() == sorted(images)
    assert sum(call.spoiled for call in faulty.calls("list", RESOURCES)) == 1
    assert not any(text in world.operator.log for text in RUN_ENDED)


def test_watch_that_is_silent_when_it_opens_is_opened_again(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("watch", RESOURCES, Hang(), count=1)
    faulty.end_watches(RESOURCES, reset=True)
    eventually(lambda: any(call.spoiled for call in faulty.calls("watch", RESOURCES)) or None)

    world.accept()

    assert not any(text in world.operator.log for text in RUN_ENDED)


def test_watch_of_crds_that_falls_silent_is_opened_again(world: World, faulty: FaultyProxy) -> None:
    """The watch of the resources works on meanwhile, and a later change of the CRD is noticed."""
    start(world, faulty)
    eventually(lambda: faulty.open_watches(CRDS) or None)
    faulty.silence_watches(CRDS)
    opened = len(faulty.calls("watch", CRDS))
    world.accept()

    eventually(lambda: len(faulty.calls("watch", CRDS)) > opened or None)
    faulty.unsilence_watches()
    scans = len(faulty.calls(path=DISCOVERY))
    world.control_plane.http.patch(
        OUR_CRD,
        headers={"Content-Type": "application/merge-patch+json"},
        json={"metadata": {"annotations": {"changed-by": world.namespace}}},
    ).raise_for_status()

    eventually(lambda: len(faulty.calls(path=DISCOVERY)) > scans or None)
    world.accept(name="later")
    assert not any(text in world.operator.log for text in RUN_ENDED)
