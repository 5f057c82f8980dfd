"""Wrong credentials lock no account, and right ones are rotated without a restart."""

import json
import time

import httpx

from e2e.live.programs import operator_fixture
from e2e.live.world import JOB, LOGIN, World, eventually

WRONG = "wrong-horse-battery-staple"
NEXT = "the-next-password-of-all"


operator = operator_fixture("function")


def credentials(world: World, password: str) -> dict[str, str]:
    return {"username": world.user, "password": password, "domainName": world.sim.domain}


def login(world: World, password: str) -> httpx.Response:
    """Log in as a person would."""
    domain = {"name": world.sim.domain}
    user = {"name": world.user, "password": password, "domain": domain}
    auth = {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"id": world.project}},
    }
    url = f"{world.sim.url}/v3/auth/tokens"
    return httpx.post(url, json={"auth": auth}, trust_env=False)


def add_projects(world: World, count: int) -> list[str]:
    return [world.sim.add_project(f"eu-de_{n}-{world.namespace}") for n in range(count)]


def test_wrong_password_of_many_projects_is_tried_twice_and_locks_nothing(world: World) -> None:
    """Seven objects in as many projects, two Secrets with the same password."""
    world.secret(**credentials(world, WRONG))
    world.secret(name="copy", **credentials(world, WRONG))
    for number, project in enumerate(add_projects(world, 7)):
        secret = {"name": "copy"} if number % 2 else {"name": "otc-credentials"}
        world.apply(
            [world.image()], name=f"web-{number}", projectID=project, credentialsSecretRef=secret
        )

    for number in range(7):
        world.wait_for("CredentialsInvalid", name=f"web-{number}")

    assert world.calls(LOGIN) == 2
    assert login(world, world.password).status_code == httpx.codes.CREATED
    assert WRONG not in world.operator.log


def test_refused_password_is_not_tried_again_by_the_next_process(world: World) -> None:
    """Neither for a job that is under way, nor for a new object, nor for a new project."""
    projects = add_projects(world, 2)
    world.sim.settings(job_seconds=300)
    world.apply([world.image()])
    world.wait_for("JobRunning")
    eventually(lambda: world.calls(JOB) or None)
    world.sim.set_password(NEXT, user_id=world.user_id)
    world.wait_for("CredentialsInvalid")
    world.apply([world.image()], name="second", projectID=projects[0])
    world.wait_for("CredentialsInvalid", name="second")
    tried = world.calls(LOGIN)

    for number in range(3):
        world.operator.kill()
        world.operator.start()
        world.apply([world.image()], name=f"new-{number}")
        world.apply([world.image()], name=f"elsewhere-{number}", projectID=projects[1])
        world.wait_for("CredentialsInvalid", name=f"new-{number}")
        world.wait_for("CredentialsInvalid", name=f"elsewhere-{number}")

    assert world.calls(LOGIN) == tried
    assert world.status()["job"]["status"] in ("INIT", "RUNNING")
    world.secret(**credentials(world, NEXT))
    world.wait_for("JobRunning")


def look_again_after_a_change_by_hand(world: World, image: str) -> None:
    """The answer that the object stands for comes back; so the cloud took the new credentials."""
    world.sim.set_membership(image, world.project, "rejected")
    world.annotate(**{"ims.otc.dev/reconcile-at": str(time.monotonic_ns())})
    eventually(lambda: world.membership(image) == "accepted" or None)
    world.wait_for("Accepted")


def test_rotated_password_serves_a_ready_object_without_a_restart(world: World) -> None:
    image = world.accept()
    pid = world.operator.pid

    world.sim.set_password(NEXT, user_id=world.user_id)
    world.secret(**credentials(world, NEXT))
    look_again_after_a_change_by_hand(world, image)

    assert world.operator.pid == pid
    assert world.calls(LOGIN) <= 3  # one with the old password, if the Secret was just read
    assert login(world, world.password).status_code == httpx.codes.UNAUTHORIZED


def test_rotated_token_serves_a_ready_object_without_a_restart(world: World) -> None:
    first = login(world, world.password).headers["X-Subject-Token"]
    world.secret(token=first)
    image = world.accept()

    world.sim.expire_tokens()
    world.secret(token=login(world, world.password).headers["X-Subject-Token"])
    look_again_after_a_change_by_hand(world, image)

    assert world.calls(LOGIN) == 2  # ours


def clouds_yaml(**auth: str) -> dict[str, str]:
    """The keys of a Secret with one cloud."""
    return {"clouds.yaml": json.dumps({"clouds": {"otc": {"auth": auth}}})}


def test_secret_changes_from_kind_to_kind_without_a_restart(world: World) -> None:
    """Each time, all credentials that worked before stop working first."""
    image, pid = world.accept(), world.operator.pid

    def revoke_all(password: str) -> None:
        world.sim.set_password(password, user_id=world.user_id)
        world.sim.expire_tokens()

    revoke_all("unknown-to-the-operator")
    world.sim.add_access_key(world.user_id, "AKFIRST", "sk-first")
    world.secret(accessKey="AKFIRST", secretKey="sk-first")
    look_again_after_a_change_by_hand(world, image)

    world.sim.delete_access_key("AKFIRST")
    revoke_all(NEXT)
    user = {"username": world.user, "user_domain_name": world.sim.domain}
    world.secret(**clouds_yaml(**user, password=NEXT))
    look_again_after_a_change_by_hand(world, image)

    revoke_all("unknown-to-the-operator")
    world.sim.add_access_key(world.user_id, "AKSECOND", "sk-second")
    world.secret(**clouds_yaml(ak="AKSECOND", sk="sk-second"))
    look_again_after_a_change_by_hand(world, image)

    world.sim.delete_access_key("AKSECOND")
    revoke_all(NEXT)
    world.secret(token=login(world, NEXT).headers["X-Subject-Token"])
    look_again_after_a_change_by_hand(world, image)

    assert world.operator.pid == pid
