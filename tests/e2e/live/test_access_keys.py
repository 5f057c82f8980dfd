"""Access keys: signed requests, refused keys, and the lock that they must not cause."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.world import LOGIN, Operator, World, eventually

LIST = "GET /v2/cloudimages"
WRONG = "sk-wrong-horse-battery"


@pytest.fixture
def operator(kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    """An operator of the test's own: some restart it."""
    process = Operator(kubeconfig, tmp_path / "log")
    process.start()
    yield process
    process.kill()


def key_of(world: World) -> str:
    return f"AK{world.namespace}".upper()


def secret_of(world: World) -> str:
    return f"sk-of-{world.namespace}"


def add_key(world: World, **key: object) -> None:
    """Give the user of the test an access key, and put it into the Secret."""
    world.sim.add_access_key(world.user_id, key_of(world), secret_of(world), **key)
    world.secret(accessKey=key_of(world), secretKey=secret_of(world))


def failed(world: World) -> int:
    return int(world.sim.counters()["signatures_failed"])


def shown(world: World) -> str:
    """All that others than the owner of the Secret can read."""
    return f"{world.operator.log} {world.statuses()}"


@pytest.mark.parametrize("form", ["scoped", "plain"])
def test_access_key_accepts_images_without_a_token(
    world: World, kubeconfig: Path, tmp_path: Path, form: str
) -> None:
    if form == "plain":
        world.operator.kill()
        world.operator = Operator(kubeconfig, tmp_path / "plain", ISA_SIGNING_FORM="plain")
        world.operator.start()
    world.sim.settings(signing_form=form)
    add_key(world)
    images = [world.image() for _ in range(3)]

    try:
        world.apply(images)
        world.wait_for("Accepted")
    finally:
        world.sim.settings(signing_form="both")
        if form == "plain":
            world.operator.kill()

    assert [world.membership(image) for image in images] == ["accepted"] * 3
    assert len(world.puts()) == 1
    assert world.calls(LOGIN) == 0
    assert secret_of(world) not in shown(world)
    assert key_of(world) not in shown(world)


def test_wrong_key_of_many_objects_is_sent_twice_and_locks_nothing(world: World) -> None:
    """A hundred objects in five projects, two Secrets with the same key; then a restart."""
    add_key(world)
    for name in ("otc-credentials", "copy"):
        world.secret(name=name, accessKey=key_of(world), secretKey=WRONG)
    projects = [world.sim.add_project(f"eu-de_{n}-{world.namespace}") for n in range(5)]
    image, before = world.image(), failed(world)
    for number in range(100):
        world.apply(
            [image],
            name=f"web-{number}",
            projectID=projects[number % 5],
            credentialsSecretRef={"name": "copy" if number % 2 else "otc-credentials"},
        )
    for number in range(100):
        ready = world.wait_for("CredentialsInvalid", name=f"web-{number}")
        assert "accessKey or secretKey is wrong; correct the Secret" in ready["message"]
    assert failed(world) - before == 2

    world.operator.kill()
    world.operator.start()
    world.apply([image], name="later", projectID=projects[0])
    world.wait_for("CredentialsInvalid", name="later")

    assert failed(world) - before == 2
    assert WRONG not in shown(world)
    assert key_of(world) not in shown(world)
    world.secret(accessKey=key_of(world), secretKey=secret_of(world))
    world.apply([world.image()], name="right")
    world.wait_for("Accepted", name="right")


def test_locked_key_is_reported_and_not_sent_again(world: World) -> None:
    add_key(world)
    world.sim.fault(
        LIST,
        projects=[world.project],
        status=401,
        code="APIGW.0301",
        message="Incorrect IAM authentication information: AK access failed to reach the limit",
    )

    for number in range(3):
        world.apply([world.image()], name=f"web-{number}")
    for number in range(3):
        ready = world.wait_for("AccountLocked", name=f"web-{number}")
        assert "the access key is locked after refused requests" in ready["message"]

    assert world.calls(LIST) == 1


@pytest.mark.parametrize("minutes", [20, -20])
def test_clock_skew_is_reported_in_minutes(world: World, minutes: int) -> None:
    add_key(world)
    world.sim.settings(clock_skew_seconds=minutes * 60)

    try:
        world.apply([world.image()])
        ready = world.wait_for("CloudUnavailable")
    finally:
        world.sim.settings(clock_skew_seconds=0)

    side = "behind" if minutes > 0 else "ahead of"
    assert f"the clock of the operator is about 20 minutes {side} that of the" in ready["message"]
    assert world.calls(LIST) == 1


def test_temporary_key_that_ends_is_reported_and_replaced(world: World) -> None:
    token = {"securityToken": f"st-of-{world.namespace}"}
    add_key(world, security_token=token["securityToken"], ttl_seconds=900)
    world.secret(accessKey=key_of(world), secretKey=secret_of(world), **token)
    image = world.accept(interval="1m")

    world.sim.change_access_key(key_of(world), end=True)
    world.annotate(**{"ims.otc.dev/reconcile-at": "after its end"})
    ready = world.wait_for("CredentialsInvalid")
    assert "the temporary access key has expired; put a new one into" in ready["message"]

    world.sim.add_access_key(world.user_id, "AKNEXT", "sk-next", security_token="st-next")
    world.secret(accessKey="AKNEXT", secretKey="sk-next", securityToken="st-next")
    world.wait_for("Accepted")

    assert world.membership(image) == "accepted"
    assert world.calls(LOGIN) == 0
    assert "st-of-" not in shown(world)


def test_rotated_access_key_serves_a_ready_object_without_a_restart(world: World) -> None:
    add_key(world)
    image = world.accept()
    pid = world.operator.pid

    next_key = f"{key_of(world)}2"
    world.sim.add_access_key(world.user_id, next_key, "sk-next")
    world.secret(accessKey=next_key, secretKey="sk-next")
    world.sim.delete_access_key(key_of(world))
    world.sim.set_membership(image, world.project, "rejected")
    world.annotate(**{"ims.otc.dev/reconcile-at": "after the rotation"})

    eventually(lambda: world.membership(image) == "accepted" or None)
    world.wait_for("Accepted")
    assert world.operator.pid == pid
