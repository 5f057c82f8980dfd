"""How a resource goes, and what is asked of it by annotation; on the virtual clock."""

from datetime import timedelta

from drive import IMAGES, Drive, spec

from image_share_operator.api import FINALIZER, Membership
from image_share_operator.credentials import UnusableSecretError
from image_share_operator.errors import TerminalError
from image_share_operator.reasons import Reason

ACCEPTED, REJECTED = Membership.ACCEPTED, Membership.REJECTED
MISSING = UnusableSecretError("Secret otc not found", reason=Reason.SECRET_NOT_FOUND, version="")


def rejecting() -> Drive:
    return Drive(spec(deletionPolicy="Reject"))


async def test_retain_puts_no_finalizer_on_and_sends_nothing_at_the_end() -> None:
    drive = Drive()
    await drive.until("Accepted")

    drive.delete()
    again = await drive.step()

    assert again is None
    assert "finalizers" not in drive.kube.body["metadata"]
    assert len(drive.cloud.puts) == 1


async def test_reject_holds_the_resource_before_anything_is_accepted() -> None:
    drive = rejecting()

    await drive.step()

    assert drive.kube.body["metadata"]["finalizers"] == [FINALIZER]
    assert drive.cloud.puts == []
    await drive.until("Accepted")


async def test_reject_rejects_the_shares_and_then_lets_the_resource_go() -> None:
    drive = rejecting()
    await drive.until("Accepted")

    drive.delete()
    await drive.step()
    assert drive.reason == "Rejecting"
    assert not drive.kube.released
    while drive.again is not None:
        await drive.step()

    assert drive.cloud.shares[IMAGES[0]] is REJECTED
    assert drive.kube.released


async def test_reject_lets_go_of_what_is_not_shared_any_more() -> None:
    drive = rejecting()
    await drive.until("Accepted")
    del drive.cloud.shares[IMAGES[0]]

    drive.delete()
    await drive.step()

    assert drive.kube.released
    assert len(drive.cloud.puts) == 1


async def test_changing_the_policy_to_retain_takes_the_finalizer_off() -> None:
    drive = rejecting()
    await drive.until("Accepted")

    drive.edit(deletionPolicy="Retain")
    await drive.step()

    assert "finalizers" not in drive.kube.body["metadata"]


async def test_skip_annotation_lets_a_resource_go_whose_cloud_refuses() -> None:
    drive = rejecting()
    await drive.until("Accepted")
    drive.delete()
    denied = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)
    drive.cloud.fails = [denied] * 99
    await drive.step()
    assert drive.reason == "Rejecting"
    assert "skip-reject" in drive.ready["message"]
    assert not drive.kube.released

    drive.annotate(skip_reject="true")
    await drive.step()

    assert drive.kube.released


async def test_missing_secret_holds_a_resource_only_while_its_namespace_stays() -> None:
    drive = rejecting()
    await drive.until("Accepted")
    drive.credentials.error = MISSING
    drive.delete()
    await drive.step()
    assert not drive.kube.released

    drive.kube.terminating = True
    drive.annotate(reconcile_at="now")
    await drive.step()

    assert drive.kube.released


async def test_reconcile_at_looks_at_once_and_says_that_it_did() -> None:
    drive = Drive()
    await drive.until("Accepted")
    drive.cloud.shares[IMAGES[0]] = REJECTED

    drive.annotate(reconcile_at="2026-01-31T12:00:00Z")
    await drive.step()

    assert len(drive.cloud.puts) == 2
    assert drive.status["lastHandledReconcileAt"] == "2026-01-31T12:00:00Z"
    await drive.until("Accepted")


async def test_reconcile_at_is_answered_once() -> None:
    drive = Drive()
    await drive.until("Accepted")
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

    assert drive.again is None


async def test_interval_says_how_often_drift_is_looked_for() -> None:
    drive = Drive(spec(interval="5m"))
    await drive.until("Accepted")
    looks = drive.cloud.looks

    await drive.run_for(timedelta(hours=1))

    assert 10 <= drive.cloud.looks - looks <= 14
    assert len(drive.kube.writes) == 2


async def test_withdrawn_share_turns_ready_false() -> None:
    drive = Drive(spec(interval="5m"))
    await drive.until("Accepted")

    del drive.cloud.shares[IMAGES[0]]
    await drive.run_for(timedelta(minutes=6))

    assert (drive.reason, drive.ready["status"]) == ("NotShared", "False")


async def test_drift_is_told_also_when_someone_asked_to_look() -> None:
    drive = Drive()
    await drive.until("Accepted")
    drive.cloud.shares[IMAGES[0]] = REJECTED

    drive.annotate(reconcile_at="1")
    await drive.step()

    assert "DriftDetected" in drive.event_reasons
