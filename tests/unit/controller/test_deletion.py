"""How a resource goes, and what is asked of it by annotation; on the virtual clock."""

from datetime import timedelta

import pytest
from drive import IMAGES, KEY, Drive, accepted, spec

from image_share_operator.api.errors import KubeForbiddenError, KubeInvalidError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import FINALIZER, Membership
from image_share_operator.controller.credential_cache import UnusableSecretError
from image_share_operator.planning.events import EventType

ACCEPTED, REJECTED = Membership.ACCEPTED, Membership.REJECTED
NO_SECRET = UnusableSecretError("Secret otc not found", reason=Reason.SECRET_NOT_FOUND, version="")
FORBIDDEN = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)
REJECTING = spec(deletionPolicy="Reject")


async def test_retain_puts_no_finalizer_on_and_sends_nothing_at_the_end() -> None:
    drive = await accepted()

    drive.delete()
    requeue_after = await drive.step()

    assert requeue_after is None
    assert "finalizers" not in drive.kube.body["metadata"]
    assert len(drive.cloud.puts) == 1


async def test_reject_holds_the_resource_before_anything_is_accepted() -> None:
    drive = Drive(REJECTING)

    await drive.step()

    assert drive.kube.body["metadata"]["finalizers"] == [FINALIZER]
    assert drive.cloud.puts == []
    await drive.until("Accepted")


async def test_reject_rejects_the_shares_and_then_removes_the_finalizer() -> None:
    drive = await accepted(REJECTING)

    drive.delete()
    await drive.step()
    assert drive.reason == "Rejecting"
    assert not drive.kube.released
    while drive.requeue_after is not None:
        await drive.step()

    assert drive.cloud.shares[IMAGES[0]] is REJECTED
    assert drive.kube.released


async def test_completed_rejection_leaves_an_event() -> None:
    drive = await accepted(spec(IMAGES[:2], deletionPolicy="Reject"))
    del drive.cloud.shares[IMAGES[1]]

    drive.delete()
    while drive.requeue_after is not None:
        await drive.step()

    last = drive.events[-1]
    assert (last.reason, last.key, last.uid) == ("Deleted", KEY, "u1")
    assert last.note == "1 image rejected before the deletion."


async def test_skipped_rejection_leaves_no_event_of_one() -> None:
    drive = await accepted(REJECTING)

    drive.annotate(skip_reject="true")
    drive.delete()
    await drive.step()

    assert drive.kube.released
    assert "Deleted" not in drive.event_reasons


async def test_reject_removes_the_finalizer_when_nothing_is_shared_any_more() -> None:
    drive = await accepted(REJECTING)
    del drive.cloud.shares[IMAGES[0]]

    drive.delete()
    await drive.step()

    assert drive.kube.released
    assert len(drive.cloud.puts) == 1


async def test_changing_the_policy_to_retain_takes_the_finalizer_off() -> None:
    drive = await accepted(REJECTING)

    drive.edit(deletionPolicy="Retain")
    await drive.step()

    assert "finalizers" not in drive.kube.body["metadata"]


async def test_skip_annotation_removes_the_finalizer_when_the_cloud_refuses() -> None:
    drive = await accepted(REJECTING)
    drive.delete()
    drive.cloud.fails = [FORBIDDEN] * 99
    await drive.step()
    assert drive.reason == "Rejecting"
    assert "skip-reject" in drive.ready["message"]
    assert not drive.kube.released

    drive.annotate(skip_reject="true")
    await drive.step()

    assert drive.kube.released


DENIED = "patch imageshareacceptances in namespace demo: HTTP 403: ValidatingAdmissionPolicy 'p'"


@pytest.mark.parametrize("error", [KubeForbiddenError(DENIED), KubeInvalidError(DENIED)])
async def test_status_names_what_denies_the_removal_of_the_finalizer(error: Exception) -> None:
    drive = await accepted(REJECTING)
    drive.kube.denied = error

    drive.delete()
    await drive.run_for(timedelta(minutes=1))

    assert drive.reason == "Rejecting"
    assert drive.ready["message"].startswith(
        "The deletion cannot finish, because the finalizer ims.otc.dev/reject cannot be removed: "
        f"{DENIED}"
    )
    assert drive.condition("Stalled") is not None
    assert drive.status["summary"] == "1/1"
    assert drive.status["images"][0]["membership"] == "rejected"
    assert "Deleted" not in drive.event_reasons
    warnings = [event for event in drive.events if event.type is EventType.WARNING]
    assert [event.reason for event in warnings] == ["Rejecting"]
    writes = len(drive.kube.writes)
    await drive.run_for(timedelta(hours=1))
    assert len(drive.kube.writes) == writes


async def test_finalizer_is_removed_soon_after_it_is_allowed() -> None:
    drive = await accepted(REJECTING)
    drive.kube.denied = KubeForbiddenError(DENIED)
    drive.delete()
    await drive.run_for(timedelta(hours=3))

    drive.kube.denied = None

    assert await is_released(drive, within=timedelta(minutes=5))
    assert len(drive.cloud.puts) == 2


async def test_skipped_rejection_reports_what_denies_the_removal() -> None:
    drive = await accepted(REJECTING)
    drive.kube.denied = KubeForbiddenError(DENIED)

    drive.delete()
    drive.annotate(skip_reject="true")
    await drive.run_for(timedelta(minutes=1))

    assert drive.ready["message"].startswith("The deletion cannot finish")
    assert drive.status["summary"] == "0/1"
    assert len(drive.cloud.puts) == 1


async def test_nothing_is_sent_while_the_finalizer_cannot_be_added() -> None:
    drive = Drive(REJECTING)
    drive.kube.denied = KubeForbiddenError(DENIED)

    await drive.run_for(timedelta(minutes=1))

    assert drive.reason == "InvalidRequest"
    assert "cannot change the finalizer ims.otc.dev/reject" in drive.ready["message"]
    assert drive.cloud.puts == []
    drive.kube.denied = None
    await drive.until("Accepted")


async def is_released(drive: Drive, within: timedelta = timedelta(minutes=1)) -> bool:
    """Whether the finalizer is removed without another change by a user."""
    await drive.run_for(within)
    return drive.kube.released


async def test_missing_secret_holds_a_resource_while_its_namespace_stays() -> None:
    drive = await accepted(REJECTING)
    drive.credentials.error = NO_SECRET
    drive.delete()

    assert not await is_released(drive, within=timedelta(hours=2))

    assert drive.reason == "Rejecting"
    assert "Secret otc not found" in drive.ready["message"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_finalizer_without_secret_is_removed_with_the_namespace(*, restarted: bool) -> None:
    drive = await accepted(REJECTING)
    drive.credentials.error = NO_SECRET
    drive.delete()
    assert not await is_released(drive)

    if restarted:
        drive.restart()
    drive.kube.terminating = True

    assert await is_released(drive)
    assert drive.credentials.namespaces == {KEY.namespace}


async def test_resource_that_waits_for_a_secret_goes_with_its_namespace() -> None:
    """It is Stalled already when it and the namespace are deleted together."""
    drive = Drive(REJECTING)
    drive.credentials.error = NO_SECRET
    await drive.until("SecretNotFound")

    drive.kube.terminating = True
    drive.delete()

    assert await is_released(drive)


async def test_resource_that_the_cloud_refused_goes_when_namespace_and_secret_do() -> None:
    """The usual order: the namespace goes first, and takes the Secret with it later."""
    drive = await accepted(REJECTING)
    drive.cloud.fails = [FORBIDDEN] * 99
    drive.kube.terminating = True
    drive.delete()
    assert not await is_released(drive)

    drive.credentials.error = NO_SECRET

    assert await is_released(drive)


@pytest.mark.parametrize(
    ("field", "word"), [("suspend", "Suspended"), ("dryRun", "Dry run: 1 image would be rejected")]
)
async def test_resource_that_may_send_nothing_is_held(field: str, word: str) -> None:
    drive = await accepted(REJECTING)
    drive.edit(**{field: True})
    await drive.step()

    drive.delete()
    assert not await is_released(drive, within=timedelta(hours=1))

    assert word in drive.ready["message"]
    assert drive.ready["status"] == "False"
    assert len(drive.cloud.puts) == 1
    drive.edit(**{field: False})
    assert await is_released(drive)
    assert drive.cloud.shares[IMAGES[0]] is REJECTED


@pytest.mark.parametrize("field", ["suspend", "dryRun"])
async def test_resource_that_may_send_nothing_goes_when_namespace_and_secret_do(
    field: str,
) -> None:
    drive = await accepted(REJECTING)
    drive.edit(**{field: True})
    drive.delete()
    drive.kube.terminating = True
    assert not await is_released(drive), "while there is a Secret, a user may resume it"

    drive.credentials.error = NO_SECRET

    assert await is_released(drive)
    assert len(drive.cloud.puts) == 1


async def test_resource_that_can_not_be_served_goes_with_its_namespace() -> None:
    drive = await accepted(REJECTING)
    insecure = {"iam": "http://iam.example.com", "ims": "http://ims.example.com"}
    drive.edit(region=None, endpoints=insecure)
    drive.delete()
    assert not await is_released(drive, within=timedelta(hours=1))

    drive.kube.terminating = True

    assert await is_released(drive)


async def test_namespace_is_read_rarely_while_it_stays() -> None:
    drive = await accepted(REJECTING)
    drive.credentials.error = NO_SECRET
    drive.delete()

    await drive.run_for(timedelta(minutes=10))

    assert drive.kube.namespace_looks <= 10 * 60 / 20 + 1


async def test_resource_that_goes_in_good_order_asks_nothing_about_its_namespace() -> None:
    drive = await accepted(REJECTING)
    drive.delete()

    assert await is_released(drive)
    assert drive.kube.namespace_looks == 0


async def test_reconcile_at_checks_at_once_and_is_confirmed() -> None:
    drive = await accepted()
    drive.cloud.shares[IMAGES[0]] = REJECTED

    drive.annotate(reconcile_at="2026-01-31T12:00:00Z")
    await drive.step()

    assert len(drive.cloud.puts) == 2
    assert drive.status["lastHandledReconcileAt"] == "2026-01-31T12:00:00Z"
    await drive.until("Accepted")


async def test_reconcile_at_is_answered_once() -> None:
    drive = await accepted()
    drive.annotate(reconcile_at="one")
    await drive.step()
    looks = drive.cloud.looks

    drive.restart()
    await drive.step()

    assert drive.cloud.looks == looks


async def test_reconcile_at_tries_failed_images_again() -> None:
    drive = Drive()
    drive.cloud.spoiled = {IMAGES[0]: (None, False)}
    await drive.until("InvalidRequest")
    drive.cloud.spoiled = {}

    drive.annotate(reconcile_at="again")
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 2


async def test_zero_interval_never_looks_again() -> None:
    drive = Drive(spec(interval="0s"))

    await drive.until("Accepted")

    assert drive.requeue_after is None


async def test_interval_says_how_often_drift_is_looked_for() -> None:
    drive = await accepted(spec(interval="5m"))
    looks = drive.cloud.looks

    await drive.run_for(timedelta(hours=1))

    assert 10 <= drive.cloud.looks - looks <= 14
    assert len(drive.kube.writes) == 2


async def test_withdrawn_share_turns_ready_false() -> None:
    drive = await accepted(spec(interval="5m"))

    del drive.cloud.shares[IMAGES[0]]
    await drive.run_for(timedelta(minutes=6))

    assert (drive.reason, drive.ready["status"]) == ("NotShared", "False")


async def test_drift_has_an_event_also_after_reconcile_at() -> None:
    drive = await accepted()
    drive.cloud.shares[IMAGES[0]] = REJECTED

    drive.annotate(reconcile_at="1")
    await drive.step()

    assert "DriftDetected" in drive.event_reasons
