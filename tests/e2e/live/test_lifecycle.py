"""Drift, deletion, and what users ask for by annotation."""

from e2e.conftest import Json
from e2e.live.world import LOGIN, PUT, World, eventually

RECONCILE_AT = "ims.otc.dev/reconcile-at"
SKIP_REJECT = "ims.otc.dev/skip-reject"


def is_gone(world: World, name: str = "web") -> bool | None:
    return True if world.find(name) is None else None


def test_image_that_another_client_rejected_is_accepted_again(world: World) -> None:
    image = world.accept()
    world.sim.set_membership(image, world.project, "rejected")

    world.annotate(**{RECONCILE_AT: "1"})
    eventually(lambda: world.membership(image) == "accepted" or None)
    world.wait_for("Accepted")

    assert world.calls(PUT) == 2
    assert world.status()["lastHandledReconcileAt"] == "1"
    eventually(lambda: "DriftDetected" in world.events() or None)


def test_status_of_another_client_is_restored_without_an_interval(world: World) -> None:
    world.accept(interval="0s")
    right = world.status()

    lie: Json = {"summary": "0/1", "conditions": [], "job": None}
    answer = world.control_plane.http.patch(
        f"{world.resources}/web/status",
        headers={"Content-Type": "application/merge-patch+json"},
        json={"status": lie},
    )
    assert answer.raise_for_status().json()["status"] != right

    eventually(lambda: world.status() == right or None)
    assert world.calls(PUT) == 1


def test_reject_rejects_the_share_before_the_resource_goes(world: World) -> None:
    image = world.accept(deletionPolicy="Reject")
    assert world.get()["metadata"]["finalizers"] == ["ims.otc.dev/reject"]

    world.delete()
    eventually(lambda: is_gone(world))

    assert world.membership(image) == "rejected"
    eventually(lambda: "Deleted" in world.events() or None)


def test_reject_leaves_the_finalizers_of_others_alone(world: World) -> None:
    image = world.accept(deletionPolicy="Reject", finalizers=["example.com/theirs"])

    world.delete()
    eventually(lambda: world.membership(image) == "rejected" or None)
    left = eventually(
        lambda: found if len(found := world.get()["metadata"]["finalizers"]) == 1 else None
    )

    assert left == ["example.com/theirs"]
    world.release()


def test_resource_without_its_secret_reports_it_and_can_be_deleted(world: World) -> None:
    world.apply([world.image()], deletionPolicy="Reject", credentialsSecretRef={"name": "never"})
    world.wait_for("SecretNotFound")

    world.delete()
    ready = world.wait_for("Rejecting")
    world.annotate(**{SKIP_REJECT: "true"})

    eventually(lambda: is_gone(world))
    assert "Secret never not found" in ready["message"]
    assert "skip-reject" in ready["message"]


def test_namespace_deleted_after_a_resource_that_lost_its_secret_is_not_held_up(
    world: World,
) -> None:
    world.apply([world.image()], deletionPolicy="Reject", credentialsSecretRef={"name": "never"})
    world.wait_for("SecretNotFound")
    world.delete()
    world.wait_for("Rejecting")

    http = world.control_plane.http
    http.delete(f"/api/v1/namespaces/{world.namespace}").raise_for_status()

    eventually(lambda: is_gone(world))
    rows = [
        row for row in world.operator.log.splitlines() if "Secret never was deleted first" in row
    ]
    assert any(world.namespace in row for row in rows)


def test_server_side_apply_of_the_same_manifest_changes_nothing(world: World) -> None:
    """As Argo CD does: what the operator writes is none of the applied fields."""
    world.accept()
    before = world.get()["metadata"]

    body = world.manifest
    answer = world.control_plane.http.patch(
        f"{world.resources}/web",
        params={"fieldManager": "argocd-controller", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        json=body,
    )
    answer.raise_for_status()
    again = world.control_plane.http.patch(
        f"{world.resources}/web",
        params={"fieldManager": "argocd-controller", "force": "true", "dryRun": "All"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        json=body,
    )

    assert again.raise_for_status().json()["metadata"]["generation"] == before["generation"]
    assert again.json()["metadata"]["resourceVersion"] == world.get()["metadata"]["resourceVersion"]
    assert world.calls(PUT) == 1


def test_changed_interval_sends_nothing(world: World) -> None:
    world.accept()

    world.edit(interval="5m")
    world.wait_for("Accepted")

    assert world.calls(PUT) == 1
    assert world.calls(LOGIN) == 1
