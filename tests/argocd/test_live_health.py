"""Argo CD's health of real objects, from creation to deletion; kstatus agrees in each state."""

from datetime import UTC, datetime

import pytest

from argocd.history import History
from argocd.samples import Samples
from argocd.scripts import Json, verdict
from e2e.live.world import MEMBER, PUT, World, eventually

RECONCILE_AT = "ims.otc.dev/reconcile-at"
MONDAY = datetime(2026, 1, 5, 4, 30, tzinfo=UTC)


def reason(state: Json, kind: str = "Ready") -> str | None:
    rows = state["status"].get("conditions", ())
    return next((row["reason"] for row in rows if row["type"] == kind), None)


def seen(history: History, why: str) -> Json:
    """The first state whose Ready condition has this reason."""
    return next(state for state in history.states() if reason(state) == why)


def test_new_object_progresses_until_its_images_are_accepted(
    world: World, samples: Samples
) -> None:
    history = History(world)
    world.apply([world.image(), world.image()])
    world.wait_for("Accepted")

    assert history.verdicts() == ["Progressing", "Healthy"]
    samples.keep("not-reconciled", history.states()[0], world)
    samples.keep("job-running", seen(history, "JobRunning"), world)
    samples.keep("accepted", world.get(), world)


def test_object_without_an_operator_is_never_healthy(world: World) -> None:
    history = History(world)
    world.operator.terminate()
    try:
        world.apply([world.image()])
        world.edit(interval="5m")
        world.edit(suspend=True)
        verdicts = history.verdicts()
    finally:
        world.operator.start()

    assert len(history.states()) >= len(("created", "edited", "suspended"))
    assert verdicts == ["Progressing"]


def test_added_image_makes_it_progress_again(world: World, samples: Samples) -> None:
    image = world.image()
    history = History(world)
    world.apply([image])
    world.wait_for("Accepted")

    world.edit(images=[image, world.image()])
    world.wait_for("Accepted")

    assert history.verdicts() == ["Progressing", "Healthy", "Progressing", "Healthy"]
    edited = next(state for state in history.states() if state["metadata"]["generation"] == 2)
    assert reason(edited) == "Accepted"
    samples.keep("edited", edited, world)


def test_changed_decision_makes_it_progress_again(world: World, samples: Samples) -> None:
    history = History(world)
    world.accept()

    world.edit(decision="Reject")
    world.wait_for("Rejected")

    assert history.verdicts() == ["Progressing", "Healthy", "Progressing", "Healthy"]
    samples.keep("rejected", world.get(), world)


def test_edit_while_the_job_runs_is_never_healthy_by_the_old_job(world: World) -> None:
    world.hold_jobs()
    image = world.image()
    history = History(world)
    world.apply([image])
    world.wait_for("JobRunning")

    world.edit(decision="Reject")
    world.finish_jobs()
    world.wait_for("Rejected")

    assert history.verdicts() == ["Progressing", "Healthy"]
    assert world.membership(image) == "rejected"


def test_image_that_fails_degrades_it(world: World, samples: Samples) -> None:
    images = [world.image() for _ in range(3)]
    world.sim.fault(
        PUT,
        job={
            "fail": [images[1]],
            "partial": "B",
            "error_code": "IMG.0098",
            "fail_reason": "encrypted",
        },
    )
    history = History(world)
    world.apply(images)
    world.wait_for("PartiallyFailed")

    assert history.verdicts() == ["Progressing", "Degraded"]
    samples.keep("partially-failed", world.get(), world)


def test_image_that_is_not_shared_is_waited_for(world: World, samples: Samples) -> None:
    image = world.sim.add_image()
    history = History(world)
    world.apply([image])
    world.wait_for("NotShared")
    samples.keep("not-shared", world.get(), world)

    world.sim.seed(shares=[(image, world.project, "pending")])
    world.annotate(**{RECONCILE_AT: "1"})
    world.wait_for("Accepted")

    assert history.verdicts() == ["Progressing", "Healthy"]


def test_withdrawn_share_ends_healthy(world: World) -> None:
    image = world.image()
    history = History(world)
    world.apply([image])
    world.wait_for("Accepted")

    world.sim.withdraw(image, world.project)
    world.annotate(**{RECONCILE_AT: "1"})
    world.wait_for("NotShared")

    assert history.verdicts() == ["Progressing", "Healthy", "Progressing"]


def test_wrong_password_degrades_it_until_the_secret_is_right(
    world: World, samples: Samples
) -> None:
    world.secret(username=world.user, password="wrong", domainName=world.sim.domain)
    history = History(world)
    world.apply([world.image()])
    world.wait_for("CredentialsInvalid")
    samples.keep("credentials-invalid", world.get(), world)

    world.secret()
    world.wait_for("Accepted")

    verdicts = history.verdicts()
    assert verdicts[:2] == ["Progressing", "Degraded"]
    assert verdicts[-1] == "Healthy"
    assert verdicts.count("Healthy") == 1


def test_cloud_that_is_down_is_no_fault_of_the_object(world: World, samples: Samples) -> None:
    world.sim.fault(MEMBER, status=503)
    history = History(world)
    world.apply([world.image()])
    world.wait_for("CloudUnavailable")
    samples.keep("cloud-unavailable", world.get(), world)

    world.sim.clear_faults()
    world.wait_for("Accepted")

    assert history.verdicts() == ["Progressing", "Healthy"]


def test_suspended_object_is_suspended_and_then_healthy_again(
    world: World, samples: Samples
) -> None:
    history = History(world)
    world.accept()

    world.edit(suspend=True)
    eventually(lambda: verdict(world.get()) == "Suspended" or None)
    samples.keep("suspended", world.get(), world)
    world.edit(suspend=False)
    eventually(lambda: verdict(world.get()) == "Healthy" or None)

    suspended_once = ["Progressing", "Healthy", "Progressing", "Suspended", "Progressing"]
    assert history.verdicts() == [*suspended_once, "Healthy"]


def test_object_suspended_while_its_job_runs_is_not_healthy(world: World) -> None:
    world.hold_jobs()
    history = History(world)
    world.apply([world.image()])
    world.wait_for("JobRunning")

    world.edit(suspend=True)
    eventually(lambda: verdict(world.get()) == "Suspended" or None)

    assert history.verdicts() == ["Progressing", "Suspended"]


def test_object_suspended_while_stalled_is_not_degraded(world: World) -> None:
    history = History(world)
    world.apply([world.image()], credentialsSecretRef={"name": "never"})
    world.wait_for("SecretNotFound")

    world.edit(suspend=True)
    eventually(lambda: verdict(world.get()) == "Suspended" or None)

    assert history.verdicts() == ["Progressing", "Degraded", "Progressing", "Suspended"]


def test_selector_progresses_until_it_selects_an_image(world: World, samples: Samples) -> None:
    history = History(world)
    select(world, newest=1)
    world.wait_for("NothingSelected")
    samples.keep("nothing-selected", world.get(), world)

    world.sim.publish("ubuntu-20260105", shared_with=[world.project], created_at=MONDAY)
    world.annotate(**{RECONCILE_AT: "now"})
    world.wait_for("Accepted")

    assert history.verdicts() == ["Progressing", "Healthy"]
    samples.keep("selected", world.get(), world)


def test_selector_over_its_limit_is_degraded(world: World, samples: Samples) -> None:
    for day in (5, 6):  # one after the other: equal times are ordered by random IDs
        built = MONDAY.replace(day=day)
        world.sim.publish(f"ubuntu-2026010{day}", shared_with=[world.project], created_at=built)
    history = History(world)

    select(world, limit=1)
    world.wait_for("LimitExceeded")

    assert history.verdicts() == ["Progressing", "Degraded"]
    samples.keep("limit-exceeded", world.get(), world)


def test_dry_run_with_work_to_do_is_suspended(world: World, samples: Samples) -> None:
    history = History(world)
    world.apply([world.image()], dryRun=True)
    world.wait_for("DryRun")
    samples.keep("dry-run", world.get(), world)

    world.edit(dryRun=False)
    world.wait_for("Accepted")

    assert history.verdicts() == ["Progressing", "Suspended", "Progressing", "Healthy"]


def select(world: World, **policy: object) -> None:
    """Apply a resource with a selector."""
    terms = [{"owner": world.sim.owner_project_id, "name": "ubuntu-*"}]
    world.apply(None, imageSelectorTerms=terms, imageSelectionPolicy=policy)


def test_drift_makes_it_progress_until_it_is_set_again(world: World) -> None:
    image = world.image()
    history = History(world)
    world.apply([image])
    world.wait_for("Accepted")
    first = world.status()["job"]["id"]

    world.sim.set_membership(image, world.project, "rejected")
    world.annotate(**{RECONCILE_AT: "1"})
    eventually(lambda: world.status()["job"]["id"] != first or None)
    world.wait_for("Accepted")

    assert history.verdicts() == ["Progressing", "Healthy", "Progressing", "Healthy"]


def test_object_that_rejects_its_shares_first_progresses_until_it_is_gone(world: World) -> None:
    image = world.image()
    history = History(world)
    world.apply([image], deletionPolicy="Reject")
    world.wait_for("Accepted")

    world.delete()
    eventually(lambda: True if world.find() is None else None)

    assert history.verdicts() == ["Progressing", "Healthy", "Progressing"]
    assert world.membership(image) == "rejected"


def test_deletion_that_can_not_go_on_progresses_and_says_what_is_in_the_way(
    world: World, samples: Samples
) -> None:
    history = History(world)
    world.apply([world.image()], deletionPolicy="Reject", credentialsSecretRef={"name": "never"})
    world.wait_for("SecretNotFound")

    world.delete()
    world.wait_for("Rejecting")

    assert history.verdicts() == ["Progressing", "Degraded", "Progressing"]
    deleted = (state for state in history.states() if "deletionTimestamp" in state["metadata"])
    samples.keep("deleted", next(deleted), world)
    samples.keep("rejecting", world.get(), world)
    world.annotate(**{"ims.otc.dev/skip-reject": "true"})
    eventually(lambda: True if world.find() is None else None)


@pytest.mark.parametrize("policy", ["Retain", "Reject"])
def test_object_with_another_finalizer_progresses_until_it_is_removed(
    world: World, policy: str
) -> None:
    history = History(world)
    world.accept(deletionPolicy=policy, finalizers=["example.com/theirs"])

    world.delete()
    eventually(lambda: world.get()["metadata"]["finalizers"] == ["example.com/theirs"] or None)

    assert history.verdicts() == ["Progressing", "Healthy", "Progressing"]
    world.release()
