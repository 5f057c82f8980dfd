"""The operator against a real Keystone and a real Glance."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.openstack_world import PASSWORD, OpenStackWorld
from e2e.live.world import Operator, eventually
from envtest import ControlPlane
from openstack_cloud import OpenStackCloud
from openstack_cloud.keystone import LOCKOUT_ATTEMPTS

MANY = 300
STEP = 50
"""Images between two writes of the status."""
MAX_CONCURRENT_WRITES = 8
READ_ACCESS = {"service": "image", "method": "GET", "path": "/v2/images"}
SECOND_S = 1.1
"""Longer than the precision of ``creationTimestamp``."""


@pytest.fixture(scope="module")
def operator(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    process = Operator(
        kubeconfig, tmp_path_factory.mktemp("operator") / "log", ISA_SHARE_POLL_S="1"
    )
    process.start()
    yield process
    process.terminate()


@pytest.fixture
def world(
    control_plane: ControlPlane, openstack: OpenStackCloud, operator: Operator, namespace: str
) -> OpenStackWorld:
    made = OpenStackWorld(control_plane, openstack, operator, namespace)
    made.secret()
    return made


def test_images_are_accepted_then_rejected_without_a_job(world: OpenStackWorld) -> None:
    images = [world.image(), world.image()]
    world.apply(images)
    world.wait_for("Accepted")

    assert world.memberships() == dict.fromkeys(images, "accepted")
    assert [row.status for row in world.requests()] == [200, 200]
    status = world.status()
    assert "job" not in status
    assert status["summary"] == "2/2"
    assert status["credentialsAcceptedBy"] == {
        "authURL": world.cloud.auth_url,
        "interface": "public",
    }

    world.edit(decision="Reject")
    world.wait_for("Rejected")

    assert world.memberships() == dict.fromkeys(images, "rejected")


def test_many_images_are_accepted_in_steps(world: OpenStackWorld) -> None:
    images = world.glance.images(MANY, shared_with=[world.project])
    written = world.statuses_until("Accepted", images)

    assert [status["summary"] for status in written] == [
        f"{count}/{MANY}" for count in range(STEP, MANY + 1, STEP)
    ]
    message = written[0]["conditions"][0]["message"]
    assert message == "50 of 300 images accepted; the operator continues."
    assert world.memberships() == dict.fromkeys(images, "accepted")
    assert world.puts_per_image() == dict.fromkeys(images, 1)


def test_each_kill_costs_one_put_per_image_at_most(world: OpenStackWorld) -> None:
    images = world.glance.images(100, shared_with=[world.project])
    world.apply(images)
    kills = (20, 70)  # in the middle of both steps
    for puts in kills:
        world.wait_for_puts(puts)
        world.operator.kill()
        world.operator.start()
    world.wait_for("Accepted")
    puts_per_image = world.puts_per_image()

    assert world.memberships() == dict.fromkeys(images, "accepted")
    assert set(puts_per_image) == set(images)
    assert max(puts_per_image.values()) <= 1 + len(kills)
    # What Glance had done was not sent again: only the requests in flight at a kill are.
    assert puts_per_image.total() <= len(images) + len(kills) * MAX_CONCURRENT_WRITES


def test_deletion_rejects_the_images_first(world: OpenStackWorld) -> None:
    image = world.image()
    world.apply([image], deletionPolicy="Reject")
    world.wait_for("Accepted")
    world.delete()
    eventually(lambda: world.find() is None or None)

    assert world.membership(image) == "rejected"


def test_changed_membership_is_restored(world: OpenStackWorld) -> None:
    image = world.image()
    world.apply([image])
    world.wait_for("Accepted")
    world.set_member(image, "rejected")
    world.check()
    world.wait_for_membership(image, "accepted")

    eventually(lambda: "DriftDetected" in world.events() or None)


def test_withdrawn_share_is_reported_and_a_new_one_accepted(world: OpenStackWorld) -> None:
    image = world.image()
    world.apply([image])
    world.wait_for("Accepted")
    world.glance.withdraw(image, world.project)
    world.check()
    world.wait_for("NotShared")
    world.glance.share(image, world.project)
    world.wait_for("Accepted")

    assert world.membership(image) == "accepted"


def test_images_that_are_no_shares_keep_back_no_other(world: OpenStackWorld) -> None:
    good, community, public, deleted, hidden, inactive = (world.image() for _ in range(6))
    world.glance.change(community, visibility="community")
    world.cloud.publish(public)
    world.glance.change(hidden, os_hidden=True)
    world.glance.deactivate(inactive)
    world.glance.delete(deleted)
    world.apply([good, community, public, deleted, hidden, inactive])
    rows = {row["id"]: row for row in world.wait_for_summary("3/6")["images"]}

    assert {world.membership(image) for image in (good, hidden, inactive)} == {"accepted"}
    assert "not shared with project" in rows[deleted]["message"]
    assert {rows[image]["membership"] for image in (community, public)} == {"notShared"}


def test_image_that_was_published_meanwhile_keeps_its_membership(world: OpenStackWorld) -> None:
    image = world.accept()
    world.glance.change(image, visibility="community")
    world.check()
    world.wait_for("NotShared")
    world.glance.change(image, visibility="shared")
    world.wait_for("Accepted")

    assert world.puts_per_image() == {image: 1}


def test_image_with_a_full_member_quota_is_accepted(world: OpenStackWorld) -> None:
    image = world.image()
    world.glance.fill_member_quota(image)
    world.apply([image])
    world.wait_for("Accepted")

    assert world.membership(image) == "accepted"


def test_selector_takes_images_of_its_owner_from_all_pages(world: OpenStackWorld) -> None:
    """Glance returns up to 100 images on a page, the oldest ones on the last page.

    Its lists also have the images that the recipient itself shares.
    """
    image = world.publish("ubuntu-1")
    world.glance.images(110, shared_with=[world.project], name="debian")
    world.share_as_another_owner("ubuntu-2")
    world.share_own_image("ubuntu-3")
    world.select()
    world.wait_for("Accepted")

    assert world.puts_per_image() == {image: 1}
    assert [row["id"] for row in world.status()["images"]] == [image]


def test_excluded_image_is_rejected_by_policy(world: OpenStackWorld) -> None:
    good, bad, of_others = (world.publish(f"ubuntu-{number}") for number in range(3))
    exclude = [of_others]
    world.set_member(of_others, "accepted")
    world.select(policy={"exclude": exclude}, removalPolicy="Reject")
    world.wait_for("Accepted")
    world.edit(imageSelectionPolicy={"exclude": [*exclude, bad]})
    world.wait_for_membership(bad, "rejected")

    assert world.memberships() == {good: "accepted", bad: "rejected", of_others: "accepted"}


def test_hidden_image_stays_selected(world: OpenStackWorld) -> None:
    """An owner hides old images; Glance then lists them no more, and they can still be used."""
    image = world.publish("ubuntu-1")
    world.select(removalPolicy="Reject")
    world.wait_for("Accepted")
    world.glance.change(image, os_hidden=True)
    status = world.check()

    assert [(row["id"], row["selection"]) for row in status["images"]] == [(image, "Selected")]
    assert world.membership(image) == "accepted"


def test_dry_run_and_suspended_resources_send_nothing(world: OpenStackWorld) -> None:
    images = [world.image(), world.image()]
    world.apply(images[:1], dryRun=True)
    world.apply(images[1:], "second", suspend=True)
    ready = world.wait_for("DryRun")
    world.check("second")

    assert "1 image would be accepted" in ready["message"]
    assert world.requests() == []

    world.edit(dryRun=False)
    world.edit("second", suspend=False)
    world.wait_for("Accepted")
    world.wait_for("Accepted", "second")

    assert world.memberships() == dict.fromkeys(images, "accepted")


def test_older_resource_stays_in_charge_until_it_is_deleted(world: OpenStackWorld) -> None:
    image, free = world.image(), world.image()
    world.apply([image], "older", decision="Reject")
    world.wait_for("Rejected", "older")
    time.sleep(SECOND_S)
    world.apply([image, free])

    assert "conflict with older" in world.wait_for("Conflict")["message"]
    assert world.memberships() == {image: "rejected", free: "accepted"}
    assert world.puts_per_image() == {image: 1, free: 1}

    world.delete("older")
    world.wait_for("Accepted")

    assert world.memberships() == {image: "accepted", free: "accepted"}


def test_wrong_password_is_sent_once_until_the_secret_changes(world: OpenStackWorld) -> None:
    image = world.image()
    before = world.failed_logins()
    world.secret(userID=world.user_id, password="wrong")
    world.apply([image])
    message = world.wait_for("CredentialsInvalid")["message"]
    world.check()
    world.check()

    assert "Secret otc-credentials: Keystone login of user" in message
    assert world.failed_logins() - before == 1

    world.secret()
    world.wait_for("Accepted")


def test_wrong_password_does_not_lock_the_user(world: OpenStackWorld) -> None:
    """Six resources, two projects and two processes of the operator use it."""
    projects = (world.project, world.other_project())
    images, names = [world.image()], [f"web-{number}" for number in range(6)]
    world.secret(userID=world.user_id, password="wrong")
    for number, name in enumerate(names):
        world.apply(images, name, projectID=projects[number % 2])
    for name in names:
        world.wait_for("CredentialsInvalid", name)
    world.operator.kill()
    world.operator.start()
    for name in names:
        world.check(name)

    assert 1 <= world.failed_logins() <= len(projects) < LOCKOUT_ATTEMPTS
    assert world.token()  # Keystone refuses the right password of a locked user


@pytest.mark.parametrize("fault", ["disabled", "locked"])
def test_unusable_user_is_named_with_the_other_causes(world: OpenStackWorld, fault: str) -> None:
    keystone, images = world.cloud.keystone, [world.image()]
    if fault == "disabled":
        keystone.change_user(world.user_id, enabled=False)
    else:
        keystone.lock(world.user_id)
    before = world.failed_logins()
    world.apply(images)

    message = world.wait_for("CredentialsInvalid")["message"]

    assert "disabled, locked or without a role" in message
    assert world.failed_logins() - before == 1


def test_expired_password_is_named(world: OpenStackWorld) -> None:
    world.cloud.expire_password(world.user_id)
    world.apply([world.image()])

    message = world.wait_for("CredentialsInvalid")["message"]

    assert "the password has expired; change it in Keystone, then correct the Secret" in message


def test_application_credential_accepts_images(world: OpenStackWorld) -> None:
    made = world.application_credential()
    world.secret(applicationCredentialID=made["id"], applicationCredentialSecret=made["secret"])
    world.accept()


@pytest.mark.parametrize("fault", ["expired", "deleted", "reader", "other project", "access rules"])
def test_unusable_application_credential_is_named(world: OpenStackWorld, fault: str) -> None:
    keystone = world.cloud.keystone
    reason, words = "CredentialsInvalid", "it was deleted, or the ID is wrong"
    match fault:
        case "expired":
            made = world.application_credential()
            world.cloud.expire_application_credential(made["id"])
            words = "it has expired, its secret is wrong"
        case "deleted":
            made = world.application_credential()
            keystone.delete_application_credential(world.user_id, made["id"])
        case "reader":
            keystone.grant(world.user_id, world.project, "reader")
            made = world.application_credential(roles=("reader",))
            reason, words = "PermissionDenied", "needs the role member in the project"
        case "access rules":
            made = world.application_credential(access_rules=(READ_ACCESS,))
            reason, words = "PermissionDenied", "access rules of the application credential"
        case _:
            other = world.other_project()
            made = world.application_credential(project=other)
            words = f"application credential {made['id']} is for project {other}"
    world.secret(applicationCredentialID=made["id"], applicationCredentialSecret=made["secret"])
    world.apply([world.image()])

    assert words in world.wait_for(reason)["message"]


def test_revoked_token_is_replaced(world: OpenStackWorld) -> None:
    world.accept()
    world.cloud.keystone.change_user(world.user_id, password="another-password")
    world.cloud.keystone.change_user(world.user_id, password=PASSWORD)  # revokes its tokens
    world.accept(name="second")


def test_new_fernet_keys_need_a_new_login_only(world: OpenStackWorld) -> None:
    world.accept()
    world.cloud.rotate_keys()
    world.accept(name="second")


def test_keystone_that_is_down_is_reported_and_then_used(world: OpenStackWorld) -> None:
    """Glance returns 401 for a token that it can't check; then a login has no response."""
    made = world.application_credential()
    world.secret(
        "second",
        applicationCredentialID=made["id"],
        applicationCredentialSecret=made["secret"],
    )
    world.accept()
    new, second = world.image(), world.image()
    world.cloud.identity.stop()
    try:
        eventually(lambda: world.cloud.cannot_check_tokens() or None)
        world.edit(images=[new])
        with_token = world.wait_for("CloudUnavailable")["message"]
        world.apply([second], "second", credentialsSecretRef={"name": "second"})
        at_login = world.wait_for("CloudUnavailable", "second")["message"]
    finally:
        world.cloud.identity.start()
        world.cloud.identity.wait()
    world.wait_for("Accepted")
    world.wait_for("Accepted", "second")

    for message in (with_token, at_login):
        assert "no connection to 127.0.0.1" in message


def test_glance_that_is_down_is_reported_and_then_used(world: OpenStackWorld) -> None:
    image = world.image()
    world.cloud.image.stop()
    try:
        world.apply([image])
        message = world.wait_for("CloudUnavailable")["message"]
    finally:
        world.cloud.image.start()
        world.cloud.image.wait()
    world.wait_for("Accepted")

    assert "no connection to 127.0.0.1" in message


@pytest.mark.parametrize(
    "settings",
    [{"auth_url": "http://127.0.0.1:9/identity"}, {"admin_user": "nobody"}],
    ids=["no connection to Keystone", "wrong service credentials"],
)
def test_glance_that_can_not_check_tokens_is_reported_and_then_used(
    world: OpenStackWorld, settings: dict[str, str]
) -> None:
    """Glance returns 401 for each token, and Keystone accepts the login."""
    image = world.image()
    with world.cloud.glance_settings(**settings):
        before, began = world.logins(), time.monotonic()
        world.apply([image])
        message = world.wait_for("CloudUnavailable")["message"]
        world.check()
        logins, minutes = world.logins() - before, (time.monotonic() - began) // 60
    world.wait_for("Accepted")

    assert "the image service refuses a token that Keystone has just issued" in message
    assert 2 <= logins <= 2 + minutes
    assert world.membership(image) == "accepted"


def test_url_of_another_server_is_named(world: OpenStackWorld) -> None:
    """Glance returns status 300 for a path that it does not know."""
    world.apply([world.image()], openstack={"authURL": world.cloud.image_url})

    message = world.wait_for("CloudUnavailable")["message"]

    assert "not a login response of Keystone; check spec.openstack.authURL" in message


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no region", "no image endpoint for region Nowhere and interface public. It has region"),
        ("no interface", "no image endpoint for interface admin"),
    ],
)
def test_wrong_place_is_named(world: OpenStackWorld, fault: str, words: str) -> None:
    changes: dict[str, object] = {
        "no region": {"authURL": world.cloud.auth_url, "region": "Nowhere"},
        "no interface": {"authURL": world.cloud.auth_url, "interface": "admin"},
    }
    world.apply([world.image()], openstack=changes[fault])

    assert words in world.wait_for("InvalidRequest")["message"]


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ([], "no image endpoint for interface public, and none at all for images"),
        (["one", "two", "three"], "3 image endpoints for interface public"),
    ],
    ids=["none", "three"],
)
def test_catalog_without_one_image_endpoint_is_named(
    world: OpenStackWorld, hosts: list[str], words: str
) -> None:
    images = [world.image()]
    with world.cloud.image_endpoints(*(f"http://{host}.invalid/image" for host in hosts)):
        world.apply(images)
        message = world.wait_for("InvalidRequest")["message"]
    world.check()
    world.wait_for("Accepted")

    assert words in message
    assert "or set spec.openstack.imageEndpoint" in message


def test_project_of_another_domain_without_a_role_is_refused(world: OpenStackWorld) -> None:
    domain = world.cloud.keystone.domain(f"domain-{world.namespace}")
    project = world.cloud.keystone.project("elsewhere", domain)
    world.apply([world.image()], projectID=project)

    assert "without a role in the project" in world.wait_for("CredentialsInvalid")["message"]


def test_project_of_another_domain_with_a_role_is_served(world: OpenStackWorld) -> None:
    keystone = world.cloud.keystone
    domain = keystone.domain(f"domain-{world.namespace}")
    project = keystone.project("elsewhere", domain)
    keystone.grant(world.user_id, project)
    image = world.glance.image(shared_with=[project])
    world.apply([image], projectID=project)
    world.wait_for("Accepted")

    assert world.glance.memberships(project) == {image: "accepted"}
