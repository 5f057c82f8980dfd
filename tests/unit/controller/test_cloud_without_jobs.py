"""A cloud without jobs, such as one with Glance: each membership is set by its own request."""

from datetime import timedelta

from drive import IMAGES, Drive, spec

from fakes import FakeGlance
from image_share_operator.api.errors import RefusedForNowError, RetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Membership

MANY = IMAGES[:120]
PUBLIC = TerminalError("HTTP 403: a public image", reason=Reason.PERMISSION_DENIED)
BUSY = RefusedForNowError("HTTP 500 of Glance")


class GlanceDrive(Drive):
    cloud_type = FakeGlance


def sent(drive: Drive) -> list[str]:
    return [image for images in drive.cloud.puts for image in images]


async def test_memberships_are_set_in_steps_with_one_read() -> None:
    drive = GlanceDrive(spec(MANY))
    told = []
    while drive.reason != "Accepted":
        await drive.step()
        told.append((drive.ready["message"], drive.status["summary"]))

    assert told == [
        ("50 of 120 images accepted; the operator continues.", "50/120"),
        ("100 of 120 images accepted; the operator continues.", "100/120"),
        ("120 images accepted in project 0a1b2c3d4e5f60718293a4b5c6d7e8f9.", "120/120"),
    ]
    assert sent(drive) == list(MANY)
    assert drive.cloud.looks == 1
    assert drive.cloud.polls == 0
    assert "job" not in drive.status


async def test_step_reports_progress_and_is_followed_at_once() -> None:
    drive = GlanceDrive(spec(MANY))

    assert await drive.step() == timedelta()
    assert drive.ready["status"] == "False"
    assert drive.reason == "Progressing"
    assert (drive.condition("Reconciling") or {})["status"] == "True"
    assert drive.status["images"][0] == {"id": MANY[0], "membership": "accepted", "jobID": ""}
    assert drive.status["images"][50] == {"id": MANY[50], "membership": "pending"}


async def test_small_resource_needs_one_reconcile_and_one_write() -> None:
    drive = GlanceDrive(spec(MANY[:3]))
    await drive.step()

    assert drive.reason == "Accepted"
    assert drive.kube.body["metadata"]["resourceVersion"] == "2"


async def test_refused_image_has_a_message_and_keeps_back_no_other() -> None:
    drive = GlanceDrive(spec(MANY))
    drive.cloud.refusals = {MANY[10]: PUBLIC}
    await drive.until("PartiallyFailed")

    assert drive.status["summary"] == "119/120"
    assert drive.status["images"][10]["message"] == str(PUBLIC)
    assert f"1 of 120 images failed, first {MANY[10]}: {PUBLIC}" in drive.ready["message"]
    assert drive.condition("Stalled") is not None
    assert sent(drive).count(MANY[10]) == 1
    assert drive.requeue_after is not None
    assert drive.requeue_after <= timedelta(minutes=31)


async def test_image_with_a_transient_error_is_retried_soon() -> None:
    drive = GlanceDrive(spec(MANY))
    drive.cloud.refusals = {MANY[10]: BUSY}
    await drive.until("PartiallyFailed")
    drive.cloud.refusals = {}

    assert drive.condition("Stalled") is None
    assert drive.requeue_after is not None
    assert drive.requeue_after <= timedelta(seconds=10)

    await drive.until("Accepted")

    assert sorted(sent(drive)) == sorted((*MANY, MANY[10]))


async def test_transient_error_is_retried_soon_beside_a_permanent_one() -> None:
    drive = GlanceDrive(spec(MANY[:3]))
    drive.cloud.refusals = {MANY[0]: PUBLIC, MANY[1]: BUSY}
    await drive.until("PartiallyFailed")
    drive.cloud.refusals = {MANY[0]: PUBLIC}
    await drive.run_for(timedelta(seconds=10))

    assert drive.status["summary"] == "2/3"


async def test_outage_in_a_step_is_followed_by_a_read() -> None:
    drive = GlanceDrive(spec(MANY[:60]))
    drive.cloud.refusals = {MANY[1]: RetryableError("connection lost")}
    await drive.step()
    drive.cloud.refusals = {}
    drive.cloud.shares[MANY[1]] = Membership.ACCEPTED  # the request had taken effect

    await drive.until("Accepted")

    assert drive.cloud.looks == 2
    assert sorted(sent(drive)) == sorted(MANY[:60])


async def test_restart_in_the_middle_sends_only_the_rest() -> None:
    drive = GlanceDrive(spec(MANY))
    await drive.step()
    drive.restart()
    await drive.until("Accepted")

    assert sent(drive) == list(MANY)
    assert drive.cloud.looks == 2


async def test_memberships_of_the_last_step_are_read_again_after_a_while() -> None:
    drive = GlanceDrive(spec(MANY))
    await drive.step()
    drive.clock.pass_by(timedelta(seconds=31))
    await drive.step()

    assert drive.cloud.looks == 2


async def test_edit_in_the_middle_takes_effect_at_the_next_step() -> None:
    drive = GlanceDrive(spec(MANY))
    await drive.step()
    drive.edit(decision="Reject")
    await drive.until("Rejected")

    assert {drive.cloud.shares[image] for image in MANY} == {Membership.REJECTED}
    assert sent(drive) == [*MANY[:50], *MANY]


async def test_drift_is_corrected_with_an_event() -> None:
    drive = GlanceDrive(spec(MANY[:2]))
    await drive.until("Accepted")
    drive.cloud.set_by_hand(MANY[1], Membership.REJECTED)
    await drive.run_for(timedelta(hours=2))

    assert drive.reason == "Accepted"
    assert drive.cloud.shares[MANY[1]] is Membership.ACCEPTED
    assert drive.event_reasons.count("DriftDetected") == 1


async def test_share_that_comes_later_is_accepted() -> None:
    drive = GlanceDrive(spec(MANY[:2]))
    drive.cloud.set_by_hand(MANY[0], None)
    await drive.until("NotShared")
    drive.cloud.set_by_hand(MANY[0], Membership.PENDING)
    await drive.until("Accepted")

    assert sorted(sent(drive)) == sorted(MANY[:2])


async def test_deletion_rejects_all_images_in_steps() -> None:
    drive = GlanceDrive(spec(MANY, deletionPolicy="Reject"))
    await drive.until("Accepted")
    drive.delete()
    while drive.requeue_after is not None:
        await drive.step()

    assert {drive.cloud.shares[image] for image in MANY} == {Membership.REJECTED}


async def test_removed_image_is_rejected_if_this_resource_accepted_it() -> None:
    kept, removed, of_others = MANY[:3]
    drive = GlanceDrive(spec(MANY[:3], removalPolicy="Reject"))
    drive.cloud.set_by_hand(of_others, Membership.ACCEPTED)
    await drive.until("Accepted")
    drive.restart()
    drive.edit(images=[kept])
    await drive.run_for(timedelta(minutes=1))

    assert drive.cloud.shares[kept] is Membership.ACCEPTED
    assert drive.cloud.shares[removed] is Membership.REJECTED
    assert drive.cloud.shares[of_others] is Membership.ACCEPTED


async def test_image_that_another_client_accepted_again_is_not_rejected() -> None:
    kept, removed = MANY[:2]
    drive = GlanceDrive(spec(MANY[:2], decision="Reject"))
    await drive.until("Rejected")
    drive.restart()  # it has forgotten what it sent, so only the status shows it
    drive.cloud.set_by_hand(removed, Membership.ACCEPTED)
    drive.edit(decision="Accept", removalPolicy="Reject")
    await drive.until("Accepted")
    drive.edit(images=[kept])
    await drive.run_for(timedelta(minutes=1))

    assert drive.cloud.shares[removed] is Membership.ACCEPTED
