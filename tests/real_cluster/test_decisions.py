"""The main scenarios of a user, with a real kubelet, scheduler and network below the operator."""

import time

from e2e.live.owners import check, publish, select, wait_for_membership
from e2e.live.test_lifecycle import is_gone
from e2e.live.world import World
from envtest import eventually
from real_cluster.conftest import Note
from real_cluster.release import Release


def test_share_is_accepted(world: World, note: Note) -> None:
    began = time.monotonic()
    image = world.accept()

    note(f"{time.monotonic() - began:.1f} s, of which the job took 1 s")
    assert world.membership(image) == "accepted"
    eventually(lambda: "Accepted" in world.events() or None)


def test_share_is_rejected(world: World) -> None:
    image = world.image(status="accepted")

    world.apply([image], decision="Reject")
    world.wait_for("Rejected")

    assert world.membership(image) == "rejected"


def test_selector_accepts_a_new_build(world: World) -> None:
    first = publish(world, "ubuntu-20260101")
    select(world, {"newest": 1})
    world.wait_for("Accepted")

    second = publish(world, "ubuntu-20260108")
    check(world)
    wait_for_membership(world, second, "accepted")

    assert world.sent() == sorted([first, second])


def test_wrong_password_is_reported_until_the_secret_changes(world: World, note: Note) -> None:
    world.secret(**{**world.credentials(), "password": "wrong"})
    image = world.image()
    world.apply([image])

    ready = world.wait_for("CredentialsInvalid")
    assert "otc-credentials" in ready["message"]
    world.secret()
    began = time.monotonic()
    world.wait_for("Accepted")

    note(f"Accepted {time.monotonic() - began:.1f} s after the change")
    assert world.membership(image) == "accepted"


def test_deletion_rejects_the_share_first(world: World) -> None:
    image = world.accept(deletionPolicy="Reject")

    world.delete()
    eventually(lambda: is_gone(world))

    assert world.membership(image) == "rejected"


def test_logs_have_no_password(world: World, release: Release) -> None:
    world.accept()

    lines = release.logs()

    assert world.namespace in lines
    assert world.password not in lines
