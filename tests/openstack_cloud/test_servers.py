"""The cloud of the tests itself: it starts, keeps its data, and counts requests."""

import time

import httpx
import pytest

from openstack_cloud import OpenStackCloud
from openstack_cloud.cloud import TOKEN_CACHE_S


@pytest.fixture
def project(openstack: OpenStackCloud) -> str:
    return openstack.keystone.project()


@pytest.fixture
def token(openstack: OpenStackCloud, project: str) -> str:
    user = openstack.keystone.user(f"user-of-{project}", "password", project)
    return openstack.keystone.token({"id": user, "password": "password"}, project)


def status_of(openstack: OpenStackCloud, token: str) -> int:
    """What Glance answers to a request with this token."""
    headers = {"X-Auth-Token": token}
    return httpx.get(f"{openstack.image_url}/v2/images", headers=headers, timeout=60).status_code


def test_copied_images_can_be_accepted_one_by_one(
    openstack: OpenStackCloud, project: str, token: str
) -> None:
    images = openstack.glance.images(3, shared_with=[project])
    before = openstack.image.log.position()
    answer = httpx.put(
        f"{openstack.image_url}/v2/images/{images[2]}/members/{project}",
        headers={"X-Auth-Token": token},
        json={"status": "accepted"},
        timeout=60,
    )

    assert answer.json()["status"] == "accepted"
    assert openstack.glance.memberships(project) == {
        images[0]: "pending",
        images[1]: "pending",
        images[2]: "accepted",
    }
    assert len(openstack.image.log.since(before, "PUT", f"/v2/images/{images[2]}/members/")) == 1


def test_glance_keeps_its_data_and_url_over_a_restart(openstack: OpenStackCloud) -> None:
    image = openstack.glance.image("kept")
    openstack.image.kill()
    openstack.image.start()
    openstack.image.wait()

    assert openstack.glance.http.get(f"/images/{image}").json()["name"] == "kept"


def test_tokens_end_when_the_keys_of_keystone_are_replaced(
    openstack: OpenStackCloud, token: str
) -> None:
    assert status_of(openstack, token) == 200

    openstack.rotate_keys()
    time.sleep(TOKEN_CACHE_S)

    assert status_of(openstack, token) == 401
