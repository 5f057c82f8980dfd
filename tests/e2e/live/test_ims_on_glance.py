"""The client of IMS against the memberships and lists of a real Glance, by tokens of Keystone."""

from collections.abc import Iterator

import pytest

from e2e.live.openstack_world import ImsOnGlanceWorld
from e2e.live.programs import operator_fixture
from e2e.live.world import Operator
from envtest import ControlPlane
from openstack_cloud import OpenStackCloud
from openstack_cloud.ims import ImsOnGlance

operator = operator_fixture(ISA_SHARE_POLL_S="1")


@pytest.fixture(scope="module")
def ims(openstack: OpenStackCloud) -> Iterator[ImsOnGlance]:
    with ImsOnGlance(openstack.identity.url, openstack.image.url) as running:
        yield running


@pytest.fixture
def world(
    control_plane: ControlPlane,
    openstack: OpenStackCloud,
    ims: ImsOnGlance,
    operator: Operator,
    namespace: str,
) -> ImsOnGlanceWorld:
    made = ImsOnGlanceWorld(control_plane, openstack, operator, namespace)
    made.ims = ims
    made.secret()
    return made


def test_batch_is_accepted_then_rejected(world: ImsOnGlanceWorld) -> None:
    images = {world.image(), world.image()}
    world.apply(sorted(images))
    world.wait_for("Accepted")

    assert world.memberships() == dict.fromkeys(images, "accepted")
    assert world.status()["job"]["status"] == "SUCCESS"

    world.edit(decision="Reject")
    world.wait_for("Rejected")

    assert world.memberships() == dict.fromkeys(images, "rejected")
    assert world.batches() == [("accepted", images), ("rejected", images)]


def test_withdrawn_share_is_reported_and_a_new_one_accepted(world: ImsOnGlanceWorld) -> None:
    image = world.accept()
    world.glance.withdraw(image, world.project)
    world.check()
    world.wait_for("NotShared")

    world.glance.share(image, world.project)
    world.wait_for("Accepted")

    assert world.memberships() == {image: "accepted"}
    assert world.batches() == [("accepted", {image})] * 2


def test_images_without_a_share_keep_back_no_other(world: ImsOnGlanceWorld) -> None:
    good, public = world.image(), world.image()
    world.cloud.publish(public)
    of_others = world.glance.image("not shared with us")
    world.apply([good, public, of_others])
    status = world.wait_for_summary("1/3")
    rows = {row["id"]: row for row in status["images"]}

    assert world.memberships()[good] == "accepted"
    assert {rows[image]["membership"] for image in (public, of_others)} == {"notShared"}
    assert "not shared with project" in rows[of_others]["message"]


def test_selector_takes_images_of_its_owner_from_all_pages(world: ImsOnGlanceWorld) -> None:
    """Glance returns up to 100 images on a page, the oldest ones on the last page.

    Its lists also have the images that the recipient itself shares.
    """
    image = world.publish("ubuntu-1")
    world.glance.images(110, shared_with=[world.project], name="debian")
    foreign = world.share_as_another_owner("ubuntu-2")
    world.share_own_image("ubuntu-3")
    world.select()
    world.wait_for("Accepted")

    assert world.batches() == [("accepted", {image})]
    assert [row["id"] for row in world.status()["images"]] == [image]
    assert world.membership(foreign) == "pending"


def test_rejected_and_accepted_images_stay_selected(world: ImsOnGlanceWorld) -> None:
    """Glance lists each membership on its own, so that no image drops out after its decision."""
    image = world.publish("ubuntu-1")
    world.select()
    world.wait_for("Accepted")
    world.set_member(image, "rejected")
    world.check()
    world.wait_for_membership(image, "accepted")
    later = world.publish("ubuntu-2")
    world.check()
    world.wait_for_membership(later, "accepted")

    assert world.wait_for_summary("2/2")["selected"] == 2


def test_wrong_password_is_sent_once(world: ImsOnGlanceWorld) -> None:
    world.secret(**{**world.credentials(), "password": "wrong"})
    world.apply([world.image()])
    world.wait_for("CredentialsInvalid")
    world.check()

    assert world.failed_logins() == 1

    world.secret()
    world.wait_for("Accepted")
