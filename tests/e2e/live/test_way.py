"""The main job: shares are answered, and the status tells the truth."""

import httpx

from e2e.live.world import JOB, LOGIN, PUT, World, eventually


def test_accept_ends_ready_with_one_put_and_the_job_in_the_status(world: World) -> None:
    images = [world.image() for _ in range(3)]

    world.apply(images)
    ready = world.wait_for("Accepted")

    status = world.status()
    assert ready["status"] == "True"
    assert status["summary"] == "3/3"
    assert status["job"]["status"] == "SUCCESS"
    assert status["job"]["type"] == "imsUpdateImageMembersJob"
    assert {row["membership"] for row in status["images"]} == {"accepted"}
    assert {row["jobID"] for row in status["images"]} == {status["job"]["id"]}
    assert [world.membership(image) for image in images] == ["accepted"] * 3
    assert [sorted(put["images"]) for put in world.puts()] == [sorted(images)]


def test_reject_ends_ready_and_the_cloud_says_rejected(world: World) -> None:
    image = world.image()

    world.apply([image], decision="Reject")
    ready = world.wait_for("Rejected")

    assert ready["status"] == "True"
    assert world.membership(image) == "rejected"


def test_a_running_job_shows_in_the_status_before_it_settles(world: World) -> None:
    world.sim.settings(job_seconds=300.0)

    world.apply([world.image()])
    running = world.wait_for("JobRunning")

    assert running["status"] == "False"
    assert (world.condition("Reconciling") or {})["status"] == "True"
    assert world.status()["job"]["id"]
    world.finish_jobs()
    world.wait_for("Accepted")
    assert world.condition("Reconciling") is None


def test_two_status_writes_lead_from_nothing_to_ready(world: World) -> None:
    world.apply([world.image()])
    created = world.get()["metadata"]

    world.wait_for("Accepted")

    managed = world.get()["metadata"]["managedFields"]
    assert [row["manager"] for row in managed if row.get("subresource") == "status"] == [
        "image-share-operator"
    ]
    assert "ownerReferences" not in created
    assert "finalizers" not in world.get()["metadata"]
    assert "annotations" not in world.get()["metadata"]


def test_many_objects_of_one_identity_share_logins_batches_and_polls(world: World) -> None:
    world.sim.settings(job_seconds=2.0)
    images = [world.image() for _ in range(10)]
    for number, image in enumerate(images):
        world.apply([image], name=f"web-{number}")

    for number in range(10):
        world.wait_for("Accepted", name=f"web-{number}")

    assert world.calls(LOGIN) == 1
    assert world.sent() == sorted(images)
    assert world.calls(PUT) < 10
    # A job of 2 s is polled six to nine times, a few times more on a busy machine, for all objects
    # together. Ten objects alone would poll it sixty times.
    assert world.calls(JOB) <= 15 * world.calls(PUT)
    jobs = {world.status(f"web-{number}")["job"]["id"] for number in range(10)}
    assert len(jobs) == world.calls(PUT)


def test_a_given_token_is_used_as_it_is(world: World) -> None:
    token = issue_token(world)
    world.secret(token=token)
    logins = world.calls(LOGIN)

    world.accept()

    assert world.calls(LOGIN) == logins


def issue_token(world: World) -> str:
    """Log in as a person with a script would."""
    user = {
        "name": world.user,
        "password": world.password,
        "domain": {"name": world.sim.domain},
    }
    body = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"id": world.project}},
        }
    }
    answer = httpx.post(f"{world.sim.url}/v3/auth/tokens", json=body).raise_for_status()
    return str(answer.headers["X-Subject-Token"])


def test_events_tell_what_was_done(world: World) -> None:
    world.accept()

    events = eventually(lambda: found if len(found := world.events()) > 1 else None)

    assert events == ["Submitted", "Accepted"]


def test_kubectl_get_shows_what_matters(world: World) -> None:
    world.accept()

    header, row = world.control_plane.kubectl("get", "isa", "-n", world.namespace).splitlines()

    assert header.split() == ["NAME", "DECISION", "READY", "REASON", "IMAGES", "AGE"]
    assert row.split()[:5] == ["web", "Accept", "True", "Accepted", "1/1"]


def test_kubectl_wait_for_ready_returns(world: World) -> None:
    world.apply([world.image()])

    world.control_plane.kubectl(
        "wait", "isa/web", "-n", world.namespace, "--for=condition=Ready", "--timeout=20s"
    )

    assert (world.condition("Ready") or {})["status"] == "True"
