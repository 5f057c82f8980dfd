"""`reconcile` and `resume` wait for the operator."""

from e2e.commands import Command, command
from e2e.live.world import PUT, World, eventually

__all__ = ["command"]
ANNOTATION = "ims.otc.dev/reconcile-at"


def where(world: World) -> tuple[object, ...]:
    kubeconfig = world.control_plane.admin_kubeconfig
    return ("--kubeconfig", kubeconfig, "-n", world.namespace, "--timeout", "2m")


def suspended(world: World) -> bool | None:
    condition = world.condition("Ready")
    return (condition is not None and condition["message"].startswith("Suspended")) or None


def test_reconcile_corrects_drift_and_waits_until_ready(world: World, command: Command) -> None:
    image = world.accept()
    world.sim.seed(shares=[(image, world.project, "rejected")])

    ended = command("reconcile", "web", *where(world))

    assert ended.code == 0, ended.err
    assert world.membership(image) == "accepted"
    request = world.get()["metadata"]["annotations"][ANNOTATION]
    assert world.status()["lastHandledReconcileAt"] == request
    assert ended.out.splitlines()[0] == f"{world.namespace}/web: reconcile requested"
    assert ended.out.splitlines()[2].split()[:5] == ["web", "Accept", "True", "Accepted", "1/1"]
    assert f" s  {world.namespace}/web: Accepted\n" in ended.err


def test_reconcile_of_a_stalled_resource_ends_with_one(world: World, command: Command) -> None:
    world.secret("wrong", token="MIIgone")
    world.apply([world.image()], credentialsSecretRef={"name": "wrong"})
    world.wait_for("CredentialsInvalid")

    ended = command("reconcile", "--all", *where(world))

    assert ended.code == 1
    assert ended.err.endswith(f"{world.namespace}/web: CredentialsInvalid\n")
    assert "\nweb: " in ended.out


def test_wait_ends_with_three_when_an_image_is_not_shared(world: World, command: Command) -> None:
    world.apply([world.sim.add_image()])
    world.wait_for("NotShared")

    ended = command("reconcile", "web", *where(world)[:-1], "3s")

    assert ended.code == 3
    assert "web: not Ready or Stalled after 3 s: NotShared: " in ended.err


def test_suspend_stops_and_resume_continues(world: World, command: Command) -> None:
    image = world.accept()
    assert command("suspend", "web", *where(world)[:-2]).code == 0
    eventually(lambda: suspended(world))
    assert "\nweb: Suspended: " in command("status", *where(world)[:-2]).out
    world.sim.seed(shares=[(image, world.project, "rejected")])
    before = world.calls(PUT)

    ended = command("resume", "web", *where(world))

    assert ended.code == 0, ended.err
    assert world.membership(image) == "accepted"
    assert world.calls(PUT) == before + 1
