"""The operator touches nothing that Argo CD compares, and Argo CD nothing that it needs."""

import pytest

from argocd import sandbox
from argocd.scripts import Json, action, verdict
from argocd.server_side import Application
from e2e.live.world import PUT, SECRET, World, eventually

FINALIZER = "ims.otc.dev/reject"


def application(world: World, image: str, **spec: object) -> Application:
    """An application whose Git holds one resource, as a user writes it."""
    return Application(
        world,
        {
            "apiVersion": "ims.otc.dev/v1alpha1",
            "kind": "ImageShareAcceptance",
            "metadata": {
                "name": "web",
                "namespace": world.namespace,
                "labels": {"app.kubernetes.io/part-of": "images"},
                "annotations": {"argocd.argoproj.io/sync-wave": "1"},
            },
            "spec": {
                "images": [image],
                "projectID": world.project,
                "credentialsSecretRef": {"name": SECRET},
                "endpoints": {"iam": world.sim.url, "ims": world.sim.url},
                **spec,
            },
        },
    )


def accepted(world: World, **spec: object) -> Application:
    """An application whose resource is accepted."""
    app = application(world, world.image(), **spec)
    app.sync()
    world.wait_for("Accepted")
    return app


def run(app: Application, name: str) -> Json:
    """Click an action."""
    return app.run_action(sandbox.act(action(name), app.live()))


@pytest.mark.parametrize("policy", [{}, {"deletionPolicy": "Retain"}, {"deletionPolicy": "Reject"}])
def test_diff_is_empty_from_creation_to_drift_and_back(world: World, policy: Json) -> None:
    image = world.image()
    app = application(world, image, **policy)
    app.sync()
    assert app.diff() == {}

    world.wait_for("Accepted")
    assert app.diff() == {}
    assert app.legacy_diff() == {}

    world.sim.set_membership(image, world.project, "rejected")
    run(app, "reconcile")
    eventually(lambda: world.calls(PUT) == 2 or None)
    assert app.diff() == {}
    world.wait_for("Accepted")

    assert app.diff() == {}
    assert app.legacy_diff() == {}
    held = app.live()["metadata"].get("finalizers")
    assert held == ([FINALIZER] if policy == {"deletionPolicy": "Reject"} else None)


def test_diff_is_empty_while_the_object_fails(world: World) -> None:
    app = application(world, world.image(), credentialsSecretRef={"name": "never"})
    app.sync()
    world.wait_for("SecretNotFound")

    assert app.diff() == {}
    assert app.legacy_diff() == {}


def test_sync_of_the_same_manifest_changes_nothing_and_sends_nothing(world: World) -> None:
    app = accepted(world, deletionPolicy="Reject")
    before = app.live()["metadata"]["resourceVersion"]

    synced = app.sync()

    assert synced["metadata"]["resourceVersion"] == before
    assert synced["metadata"]["finalizers"] == [FINALIZER]
    assert world.calls(PUT) == 1


def test_manual_edit_of_a_field_in_git_is_out_of_sync(world: World) -> None:
    """The diff above is empty because nothing differs, not because it sees nothing."""
    app = accepted(world, interval="5m")

    world.edit(interval="10m")

    assert app.diff() == {"spec": {"interval": "5m"}}
    assert app.legacy_diff() == {"spec": {"interval": "5m"}}


def test_deletion_policy_taken_out_of_git_takes_the_finalizer_off(world: World) -> None:
    app = accepted(world, deletionPolicy="Reject")

    del app.manifest["spec"]["deletionPolicy"]
    app.sync()
    eventually(lambda: "finalizers" not in app.live()["metadata"] or None)

    assert app.diff() == {}


def test_reconcile_is_answered_and_shows_no_diff(world: World) -> None:
    app = accepted(world)

    asked = run(app, "reconcile")["metadata"]["annotations"]["ims.otc.dev/reconcile-at"]
    eventually(lambda: world.status().get("lastHandledReconcileAt") == asked or None)

    assert app.diff() == {}
    app.sync()
    assert app.live()["metadata"]["annotations"]["ims.otc.dev/reconcile-at"] == asked


def test_suspend_outlives_a_sync_while_git_says_nothing_of_it(world: World) -> None:
    app = accepted(world)

    run(app, "suspend")
    app.sync()
    eventually(lambda: verdict(app.live()) == "Suspended" or None)
    assert app.diff() == {}

    run(app, "resume")
    eventually(lambda: verdict(app.live()) == "Healthy" or None)
    assert app.diff() == {}


def test_suspend_is_undone_by_a_sync_where_git_says_otherwise(world: World) -> None:
    app = accepted(world, suspend=False)

    run(app, "suspend")
    assert app.diff() == {"spec": {"suspend": False}}
    app.sync()

    eventually(lambda: verdict(app.live()) == "Healthy" or None)
    assert app.diff() == {}


def test_prune_rejects_the_shares_and_leaves_the_rest_to_kubernetes(world: World) -> None:
    """Argo CD deletes in the foreground; the garbage collector's finalizer is not ours."""
    image = world.image()
    app = application(world, image, deletionPolicy="Reject")
    app.sync()
    world.wait_for("Accepted")

    world.control_plane.http.request(
        "DELETE",
        f"{world.resources}/web",
        json={"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"},
    ).raise_for_status()
    eventually(lambda: app.live()["metadata"]["finalizers"] == ["foregroundDeletion"] or None)

    assert world.membership(image) == "rejected"
    assert verdict(app.live()) == "Progressing"
    world.release()


def test_finalizer_can_be_removed_manually_without_an_operator(world: World) -> None:
    """The command of docs/argocd.md."""
    image = world.image()
    application(world, image, deletionPolicy="Reject").sync()
    world.wait_for("Accepted")
    world.operator.terminate()
    try:
        world.delete()
        assert world.find() is not None

        patch = '{"metadata":{"finalizers":null}}'
        where = ("isa/web", "-n", world.namespace)
        world.control_plane.kubectl("patch", *where, "--type", "merge", "--patch", patch)
        assert world.find() is None
    finally:
        world.operator.start()

    assert world.membership(image) == "accepted"


def test_operator_that_comes_back_goes_on_with_a_deletion(world: World) -> None:
    image = world.image()
    application(world, image, deletionPolicy="Reject").sync()
    world.wait_for("Accepted")
    world.operator.terminate()
    try:
        world.delete()
    finally:
        world.operator.start()

    eventually(lambda: True if world.find() is None else None)
    assert world.membership(image) == "rejected"


def test_old_resource_leaves_what_its_renamed_successor_accepts(world: World) -> None:
    """Argo CD makes the new one first and prunes the old one after it."""
    image = world.image()
    old = application(world, image, deletionPolicy="Reject")
    old.sync()
    world.wait_for("Accepted")
    manifest = {**old.manifest, "metadata": {**old.manifest["metadata"], "name": "renamed"}}
    new = Application(world, manifest)
    new.sync()
    world.wait_for("Accepted", name="renamed")

    world.delete()
    eventually(lambda: True if world.find() is None else None)

    assert world.membership(image) == "accepted"
    assert len(world.puts()) == 1
    assert new.diff() == {}
