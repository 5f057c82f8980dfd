"""The whole way of one object through reconciler, plan and status, on a virtual clock."""

from datetime import timedelta

import pytest
from drive import IMAGES, KEY, PROJECT, Drive, accepted, spec

from image_share_operator.api.credentials import GivenTokenEnd
from image_share_operator.api.errors import (
    BatchTooLargeError,
    ImagesRefusedError,
    KubeConflictError,
    KubeRetryableError,
    OutcomeUnknownError,
    RefusedForNowError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import ImageDetails, Membership
from image_share_operator.controller.credential_cache import UnusableSecretError
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning.requeue import Policy

ACCEPTED, PENDING, REJECTED = Membership.ACCEPTED, Membership.PENDING, Membership.REJECTED


async def test_reconciler_accepts_with_one_put_and_two_writes() -> None:
    drive = Drive(spec(IMAGES[:3]))

    await drive.until("Accepted")

    assert drive.cloud.puts == [IMAGES[:3]]
    assert len(drive.kube.writes) == 2
    assert drive.status["summary"] == "3/3"
    assert drive.status["observedGeneration"] == 1
    assert drive.condition("Reconciling") is None
    assert drive.event_reasons == ["Submitted", "Accepted"]


async def test_reconciler_saves_the_job_before_it_asks_for_it() -> None:
    drive = Drive()

    await drive.step()

    assert drive.cloud.polls == 0
    assert drive.status["job"]["id"] == f"{0:032x}"
    assert drive.status["job"]["status"] == "INIT"
    assert drive.ready["status"] == "False"
    assert drive.reason == "JobRunning"
    assert drive.condition("Reconciling") is not None


async def test_reconciler_sends_nothing_for_what_is_accepted_already() -> None:
    drive = Drive()
    drive.cloud.shares[IMAGES[0]] = ACCEPTED

    await drive.until("Accepted")

    assert drive.cloud.puts == []
    assert len(drive.kube.writes) == 1


async def test_reconciler_goes_on_with_the_known_job_after_a_restart() -> None:
    drive = Drive()
    await drive.step()

    drive.restart()
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 1


async def test_reconciler_writes_the_job_again_when_the_first_write_failed() -> None:
    drive = Drive()
    drive.kube.fails = [KubeRetryableError("down")]

    with pytest.raises(KubeRetryableError):
        await drive.step()
    drive.requeue_after = timedelta()
    await drive.step()

    assert drive.cloud.polls == 0
    assert drive.status["job"]["id"] == f"{0:032x}"
    await drive.until("Accepted")
    assert len(drive.cloud.puts) == 1


async def test_reconciler_does_nothing_for_settled_objects_after_a_restart() -> None:
    drive = await accepted()
    looks, writes = drive.cloud.looks, len(drive.kube.writes)

    drive.restart()
    await drive.step()

    assert drive.requeue_after is not None
    assert Policy().secret_poll < drive.requeue_after <= timedelta(hours=1)
    assert (drive.cloud.looks, len(drive.kube.writes)) == (looks, writes)


async def test_reconciler_submits_only_the_new_images_of_an_edited_list() -> None:
    drive = await accepted(spec(IMAGES[:2]))

    drive.edit(images=list(IMAGES[:3]))
    await drive.until("Accepted")

    assert drive.cloud.puts == [IMAGES[:2], IMAGES[2:3]]


async def test_reconciler_submits_a_changed_decision() -> None:
    drive = await accepted()

    drive.edit(decision="Reject")
    await drive.until("Rejected")

    assert drive.cloud.shares[IMAGES[0]] is REJECTED
    assert len(drive.cloud.puts) == 2


async def test_reconciler_waits_for_a_running_job_before_it_sends_the_opposite() -> None:
    drive = Drive()
    await drive.step()

    drive.edit(decision="Reject")
    await drive.step()

    assert len(drive.cloud.puts) == 1
    assert drive.status["observedGeneration"] == 2
    assert drive.ready["status"] == "False"
    await drive.until("Rejected")
    assert drive.cloud.shares[IMAGES[0]] is REJECTED


async def test_reconciler_never_says_ready_for_an_older_spec() -> None:
    drive = await accepted()

    drive.edit(images=[IMAGES[1]])
    await drive.step()

    assert drive.ready["observedGeneration"] == 2
    assert drive.ready["status"] == "False"


async def test_reconciler_accepts_again_what_another_client_rejected() -> None:
    drive = await accepted()
    drive.cloud.shares[IMAGES[0]] = REJECTED

    await drive.run_for(timedelta(hours=2))

    assert drive.cloud.shares[IMAGES[0]] is ACCEPTED
    (event,) = (event for event in drive.events if event.reason == "DriftDetected")
    note = f"Another client changed the membership of image {IMAGES[0]}; sent again."
    assert event.note == note
    assert drive.reason == "Accepted"


async def test_reconciler_waits_for_a_share_and_answers_it_when_it_comes() -> None:
    drive = Drive()
    del drive.cloud.shares[IMAGES[0]]

    await drive.until("NotShared")
    assert drive.condition("Stalled") is None
    assert (drive.condition("Reconciling") or {})["reason"] == "WaitingForShare"
    assert PROJECT in drive.ready["message"]
    drive.cloud.shares[IMAGES[0]] = PENDING
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 1


async def test_reconciler_answers_the_shared_images_while_others_are_not_shared() -> None:
    drive = Drive(spec(IMAGES[:3]))
    del drive.cloud.shares[IMAGES[1]]

    await drive.until("NotShared")

    assert drive.cloud.puts == [(IMAGES[0], IMAGES[2])]
    assert drive.status["summary"] == "2/3"


async def test_reconciler_writes_nothing_while_a_share_is_waited_for() -> None:
    drive = Drive()
    del drive.cloud.shares[IMAGES[0]]
    await drive.until("NotShared")
    writes = len(drive.kube.writes)

    await drive.run_for(timedelta(hours=12))

    assert len(drive.kube.writes) == writes
    assert drive.cloud.looks < 60


async def test_reconciler_looks_ever_more_rarely_for_a_share_while_another_image_fails() -> None:
    """Found by the long profile: each transient error restarted the backoff."""
    drive = Drive(spec(IMAGES[:2]))
    del drive.cloud.shares[IMAGES[0]]
    drive.cloud.spoiled = {IMAGES[1]: ("IMG.0113", False)}

    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.looks < 60


async def test_reconciler_splits_a_failed_batch_until_the_failing_image_is_alone() -> None:
    drive = Drive(spec(IMAGES[:20]))
    drive.cloud.spoiled = {IMAGES[7]: (None, False)}

    await drive.until("PartiallyFailed", passes=200)

    assert drive.status["summary"] == "19/20"
    assert len(drive.cloud.puts) <= 10
    (row,) = [row for row in drive.status["images"] if "message" in row]
    assert row["id"] == IMAGES[7]
    assert "broken" in row["message"]
    assert drive.condition("Stalled") is not None


async def test_reconciler_stops_sending_two_failing_images_of_two_batches() -> None:
    drive = Drive(spec(IMAGES[:16]))
    drive.cloud.spoiled = {IMAGES[1]: (None, False), IMAGES[14]: (None, False)}
    await drive.until("PartiallyFailed", passes=200)
    puts = len(drive.cloud.puts)

    await drive.run_for(timedelta(minutes=20))

    assert drive.status["summary"] == "14/16"
    assert len(drive.cloud.puts) == puts
    assert puts <= 20


async def test_reconciler_blames_the_image_that_the_job_names() -> None:
    drive = Drive(spec(IMAGES[:5]))
    drive.cloud.spoiled = {IMAGES[2]: ("IMG.0098", True)}

    await drive.until("PartiallyFailed")

    assert len(drive.cloud.puts) == 1
    assert drive.status["summary"] == "4/5"


async def test_reconciler_does_not_split_what_fails_as_a_whole() -> None:
    drive = Drive(spec(IMAGES[:8]))
    drive.cloud.spoiled = {IMAGES[0]: ("IMG.0026", False)}

    await drive.until("InvalidRequest")

    assert len(drive.cloud.puts) == 1
    assert "IMG.0026" in drive.ready["message"]
    assert drive.condition("Stalled") is not None


@pytest.mark.parametrize("code", ["IMG.0182", "IMG.0184", "IMG.0001", "IMG.9999", None])
async def test_reconciler_splits_a_failed_batch_whatever_its_code(code: str | None) -> None:
    drive = Drive(spec(IMAGES[:5]))
    drive.cloud.spoiled = {IMAGES[3]: (code, False)}

    await drive.until("PartiallyFailed")

    assert drive.status["summary"] == "4/5"
    assert (code or "broken") in drive.status["images"][3]["message"]


@pytest.mark.parametrize("code", ["IMG.0046", "IMG.0113"])
async def test_reconciler_splits_what_should_have_passed_by_itself_and_did_not(code: str) -> None:
    drive = Drive(spec(IMAGES[:5]))
    drive.cloud.spoiled = {IMAGES[3]: (code, False)}

    await drive.run_for(timedelta(minutes=3))

    assert drive.reason == "PartiallyFailed"
    assert drive.status["summary"] == "4/5"
    assert [row["id"] for row in drive.status["images"] if "message" in row] == [IMAGES[3]]
    whole = [put for put in drive.cloud.puts if len(put) == 5]
    assert len(whole) == 1 + backoff.MAX_QUICK_RETRIES
    assert len(drive.cloud.puts) - len(whole) <= 6


async def test_reconciler_tries_a_failed_job_again_when_its_code_says_so() -> None:
    drive = Drive()
    drive.cloud.spoiled = {IMAGES[0]: ("IMG.0113", False)}
    await drive.until("CloudUnavailable")
    assert drive.condition("Stalled") is None

    drive.cloud.spoiled = {}
    await drive.run_for(timedelta(minutes=1))

    assert drive.reason == "Accepted"


async def test_reconciler_does_not_resend_a_failed_image_after_a_restart() -> None:
    drive = Drive()
    drive.cloud.spoiled = {IMAGES[0]: (None, False)}
    await drive.until("InvalidRequest")
    writes = len(drive.kube.writes)

    drive.restart()
    await drive.run_for(timedelta(minutes=10))

    assert len(drive.cloud.puts) == 1
    assert len(drive.kube.writes) == writes


async def test_reconciler_narrows_a_refused_batch_in_one_pass() -> None:
    drive = Drive(spec(IMAGES[:8]))
    drive.cloud.refusals[IMAGES[5]] = ImagesRefusedError("IMG.0027")

    await drive.until("PartiallyFailed", passes=100)

    assert drive.status["summary"] == "7/8"
    assert [job.images for job in drive.cloud.jobs.values()].count((IMAGES[5],)) == 0


async def test_reconciler_blames_no_image_when_all_are_refused_for_what_may_pass() -> None:
    """Narrowed down, each image alone is refused: that is the cloud."""
    drive = Drive(spec(IMAGES[:4]))
    drive.cloud.fails = [
        None,
        RefusedForNowError("IMG.0061", persistent=True),
        *[RefusedForNowError("IMG.0061")] * 9,
    ]

    await drive.step()
    await drive.step()

    assert drive.reason == "CloudUnavailable"
    assert not any("message" in row for row in drive.status["images"])
    drive.cloud.fails.clear()
    await drive.until("Accepted")


async def test_reconciler_blames_the_image_that_is_refused_while_others_are_not() -> None:
    drive = Drive(spec(IMAGES[:4]))
    drive.cloud.refusals[IMAGES[0]] = RefusedForNowError("IMG.0046")
    drive.cloud.fails = [None, RefusedForNowError("IMG.0046", persistent=True)]

    await drive.until("PartiallyFailed")

    assert drive.status["summary"] == "3/4"
    assert drive.status["images"][0]["message"] == "IMG.0046"


async def test_reconciler_takes_a_refused_change_of_the_decision_for_an_answer() -> None:
    """Found by the long profile: what the earlier job may still undo was sent for ever."""
    drive = await accepted()
    drive.cloud.refusals = dict.fromkeys(IMAGES, ImagesRefusedError("IMG.0027"))

    drive.edit(decision="Reject")
    await drive.step()

    assert len(drive.cloud.puts) == 2
    assert drive.reason == "InvalidRequest"


async def test_reconciler_sends_as_many_images_as_the_cloud_accepts() -> None:
    drive = Drive(spec(IMAGES[:40]))
    drive.cloud.fails = [None, BatchTooLargeError("HTTP 413", most=10)]

    await drive.step()

    assert [len(put) for put in drive.cloud.puts] == [10]


async def test_reconciler_finds_many_refused_images_with_few_puts() -> None:
    """The more images are refused alone, the fewer are sent at once."""
    drive = Drive(spec(IMAGES[:50]))
    drive.cloud.refusals = dict.fromkeys(IMAGES, ImagesRefusedError("IMG.0184"))

    await drive.until("InvalidRequest")

    assert len(drive.cloud.puts) <= 50 + 20


async def test_reconciler_does_not_believe_a_job_that_lies() -> None:
    drive = Drive()
    drive.cloud.inert = True

    await drive.until("InvalidRequest")

    assert "did not change" in drive.ready["message"]
    assert drive.clock.at - Drive().clock.at >= timedelta(seconds=60)


async def test_reconciler_reports_a_job_that_never_ends_and_goes_on_when_it_does() -> None:
    drive = Drive(spec(timeout="1m"))
    drive.cloud.job_takes = timedelta(minutes=30)

    await drive.until("JobTimeout", passes=200)
    assert "1m" in drive.ready["message"]
    assert drive.condition("Stalled") is not None
    assert drive.status["job"]["status"] == "RUNNING"
    await drive.run_for(timedelta(minutes=35))

    assert drive.reason == "Accepted"
    assert len(drive.cloud.puts) == 1


async def test_reconciler_sends_a_new_job_when_the_spec_changes_after_a_timeout() -> None:
    drive = Drive(spec(timeout="1m"))
    drive.cloud.job_takes = timedelta(days=9)
    await drive.until("JobTimeout", passes=200)

    drive.cloud.job_takes = timedelta(seconds=1)
    drive.edit(timeout="2m")
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 2


async def test_reconciler_reads_members_when_the_job_record_is_gone() -> None:
    drive = Drive()
    await drive.step()
    drive.cloud.shares[IMAGES[0]] = ACCEPTED
    drive.cloud.jobs.clear()

    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 1
    assert "job" not in drive.status


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RetryableError("HTTP 500"), "CloudUnavailable"),
        (ThrottledError("HTTP 400 IMG.0060"), "Throttled"),
    ],
    ids=["server error", "flow control"],
)
async def test_reconciler_says_so_when_the_cloud_fails_twice(error: Exception, reason: str) -> None:
    drive = Drive()
    drive.cloud.fails = [error] * 4

    await drive.until(reason)
    assert drive.condition("Reconciling") is not None
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 1


async def test_reconciler_is_quiet_about_one_hiccup() -> None:
    drive = Drive()
    drive.cloud.fails = [RetryableError("HTTP 502")]

    await drive.until("Accepted")

    assert len(drive.kube.writes) == 2


async def test_reconciler_obeys_retry_after() -> None:
    drive = Drive()
    drive.cloud.fails = [ThrottledError("busy", retry_after=timedelta(seconds=90))]

    await drive.step()

    assert drive.reason == "Throttled"
    assert drive.requeue_after is not None
    assert drive.requeue_after >= timedelta(seconds=90)


async def test_reconciler_keeps_the_message_of_an_error_with_the_same_cause() -> None:
    drive = Drive()
    cause = "ims.test:443: HTTP 500"
    drive.cloud.fails = [RetryableError(f"{cause} ({n})", cause=cause) for n in range(50)]

    await drive.run_for(timedelta(minutes=10))

    assert len(drive.kube.writes) == 1


async def test_reconciler_looks_before_it_repeats_a_put_without_answer() -> None:
    drive = Drive()
    drive.cloud.fails = [None, OutcomeUnknownError("reset")]
    await drive.step()
    drive.cloud.shares[IMAGES[0]] = ACCEPTED

    await drive.until("Accepted")

    assert drive.cloud.puts == []


async def test_reconciler_stalls_on_a_refusal_and_asks_the_cloud_no_more() -> None:
    drive = Drive()
    denied = TerminalError("HTTP 403 IMG.0026", reason=Reason.PERMISSION_DENIED)
    drive.cloud.refusals[IMAGES[0]] = denied
    await drive.until("PermissionDenied")
    looks = drive.cloud.looks

    await drive.run_for(timedelta(minutes=15))

    assert drive.condition("Stalled") is not None
    assert drive.cloud.looks == looks


async def test_reconciler_notices_a_changed_secret_within_a_minute() -> None:
    drive = Drive()
    drive.cloud.fails = [TerminalError("401", reason=Reason.CREDENTIALS_INVALID)]
    await drive.until("CredentialsInvalid")

    drive.credentials.version = "2"
    await drive.run_for(timedelta(seconds=40))

    assert drive.reason == "Accepted"


async def test_reconciler_waits_for_a_missing_secret() -> None:
    drive = Drive()
    drive.credentials.error = UnusableSecretError(
        "Secret otc not found", reason=Reason.SECRET_NOT_FOUND, version=""
    )
    await drive.until("SecretNotFound")

    drive.credentials.error = None
    await drive.run_for(timedelta(seconds=60))

    assert drive.reason == "Accepted"


async def test_reconciler_sends_nothing_while_suspended() -> None:
    drive = Drive(spec(suspend=True))

    await drive.step()

    assert drive.cloud.looks == 0
    assert drive.credentials.reads == 0
    assert "uspended" in drive.ready["message"]
    assert drive.requeue_after is None
    drive.edit(suspend=False)
    await drive.until("Accepted")


async def test_reconciler_keeps_ready_when_a_settled_object_is_suspended() -> None:
    drive = await accepted()

    drive.edit(suspend=True)
    await drive.step()

    assert drive.ready["status"] == "True"
    assert drive.ready["observedGeneration"] == 2


async def test_reconciler_takes_ready_back_when_the_spec_changes_while_suspended() -> None:
    drive = await accepted()
    drive.edit(suspend=True)
    await drive.step()

    drive.edit(decision="Reject")
    await drive.step()

    assert drive.ready["status"] == "Unknown"


async def test_reconciler_refuses_to_send_credentials_in_the_clear() -> None:
    wanted = spec(endpoints={"iam": "http://iam.test", "ims": "https://ims.test"})
    del wanted["region"]
    drive = Drive(wanted)

    await drive.step()

    assert drive.reason == "InvalidRequest"
    assert "spec.endpoints.iam" in drive.ready["message"]
    assert drive.credentials.reads == 0


async def test_reconciler_sends_many_images_in_bounded_batches() -> None:
    drive = Drive(spec(IMAGES[:120]))

    await drive.until("Accepted", passes=100)

    assert [len(put) for put in drive.cloud.puts] == [50, 50, 20]
    assert drive.status["summary"] == "120/120"


async def test_reconciler_gives_no_status_to_an_object_that_took_the_place() -> None:
    drive = Drive()
    drive.kube.replaced(spec())

    await drive.step()

    assert drive.kube.writes == []
    entry = drive.store.get(KEY)
    assert entry is not None
    assert (entry.uid, entry.known.observed_generation) == ("u2", -1)
    await drive.until("Accepted")


async def test_reconciler_serves_an_object_that_took_the_place_at_once() -> None:
    """The answer to a write shows it first, so its watch event is no news any more."""
    drive = Drive()
    await drive.until("JobRunning")
    drive.kube.replaced(spec(decision="Reject"))

    assert await drive.step() == timedelta()

    assert drive.store.observe(drive.kube.body) is None
    await drive.until("Rejected")


async def test_reconciler_takes_no_object_back_that_went_while_it_was_read() -> None:
    drive = Drive()
    drive.kube.changed()  # so the write is refused, and the object read
    drive.kube.while_read = lambda: drive.store.forget(KEY, "u1")

    assert await drive.step() != timedelta()

    assert drive.store.get(KEY) is None


async def test_reconciler_sends_nothing_for_an_object_whose_place_was_taken() -> None:
    """While the Secret was read, on whose change the old one waited."""
    drive = Drive()
    drive.credentials.error = UnusableSecretError(
        "no such Secret", reason=Reason.SECRET_NOT_FOUND, version="0"
    )
    await drive.until("SecretNotFound")
    drive.credentials.error = None
    drive.credentials.meanwhile.append(
        lambda: drive.store.observe(drive.kube.replaced(spec(IMAGES[1:2])))
    )

    await drive.until("Accepted")

    assert drive.cloud.puts == [IMAGES[1:2]]


async def test_reconciler_sees_an_edit_that_came_before_its_own_write() -> None:
    drive = Drive(spec(suspend=True))
    edited = {**drive.kube.body["spec"], "suspend": False}
    drive.kube.changed(spec=edited)  # its watch event comes late

    with pytest.raises(KubeConflictError):
        await drive.step()
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 1


async def test_reconciler_sends_nothing_while_a_membership_may_still_show() -> None:
    drive = Drive(spec(IMAGES[:60]))
    drive.cloud.inert = True

    await drive.run_for(timedelta(minutes=10))

    assert [len(put) for put in drive.cloud.puts] == [50, 10]


async def test_reconciler_gives_a_settled_job_its_time_once_after_a_restart() -> None:
    drive = Drive()
    drive.cloud.inert = True
    await drive.run_for(timedelta(seconds=15))
    looks = drive.cloud.looks

    drive.restart()
    await drive.run_for(timedelta(minutes=10))

    assert drive.reason == "InvalidRequest"
    assert drive.cloud.looks - looks < 60


async def test_reconciler_answers_a_share_that_was_withdrawn_and_came_back() -> None:
    drive = await accepted(spec(interval="1m"))
    del drive.cloud.shares[IMAGES[0]]
    await drive.until("NotShared")

    drive.cloud.shares[IMAGES[0]] = PENDING
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 2


async def test_reconciler_counts_a_refused_retry_as_a_try() -> None:
    drive = Drive()
    drive.cloud.spoiled = {IMAGES[0]: ("IMG.0113", False)}
    await drive.until("CloudUnavailable")
    drive.cloud.refusals[IMAGES[0]] = ImagesRefusedError("IMG.0027")

    await drive.run_for(timedelta(minutes=10))

    assert len(drive.cloud.puts) <= 4


async def test_reconciler_resends_what_vanished_jobs_carried_ever_more_rarely() -> None:
    drive = Drive()
    drive.cloud.inert = True
    for _ in range(600):
        drive.cloud.jobs.clear()
        if drive.requeue_after is None or drive.clock.at > Drive().clock.at + timedelta(hours=1):
            break
        await drive.step()

    assert len(drive.cloud.puts) <= 12


async def test_reconciler_sends_its_own_order_after_the_opposite_one_that_may_show_late() -> None:
    drive = Drive()
    drive.cloud.shares[IMAGES[0]] = REJECTED
    drive.cloud.inert = True
    await drive.step()

    drive.edit(decision="Reject")
    await drive.run_for(timedelta(seconds=10))

    assert len(drive.cloud.puts) == 2


async def test_events_name_no_job_because_a_series_keeps_its_first_note() -> None:
    drive = Drive(spec(IMAGES[:3]))
    drive.cloud.spoiled = {IMAGES[0]: ("IMG.0001", True)}

    await drive.until("PartiallyFailed")

    assert f"job {drive.status['job']['id']}" in drive.ready["message"]
    notes = {event.reason: event.note for event in drive.events}
    assert notes["Submitted"] == "Sent 3 images: Accept."
    assert "the job failed: IMG.0001" in notes["PartiallyFailed"]
    assert not any(job in note for job in drive.cloud.jobs for note in notes.values())


async def test_summary_counts_no_images_before_the_first_read() -> None:
    drive = Drive(spec(IMAGES[:2]))
    drive.cloud.fails = [TerminalError("HTTP 401", reason=Reason.CREDENTIALS_INVALID)]

    await drive.until("CredentialsInvalid")

    assert drive.status["summary"] == "-/2"
    drive.credentials.version = "2"
    await drive.until("Accepted")
    assert drive.status["summary"] == "2/2"


async def test_names_of_images_are_written_but_a_rename_alone_is_not() -> None:
    drive = Drive(spec(IMAGES[:2], interval="5m"))
    drive.cloud.named[IMAGES[0]] = ImageDetails(name="ubuntu-24.04", owner="b" * 32)
    await drive.until("Accepted")
    assert [row.get("name") for row in drive.status["images"]] == ["ubuntu-24.04", None]
    assert drive.status["images"][0]["owner"] == "b" * 32
    writes = len(drive.kube.writes)

    drive.cloud.named = {image: ImageDetails(name="new", owner="c" * 32) for image in IMAGES}
    await drive.run_for(timedelta(hours=1))
    assert len(drive.kube.writes) == writes
    drive.cloud.named.clear()
    drive.edit(images=list(IMAGES[:3]))
    await drive.until("Accepted")

    assert [row.get("name") for row in drive.status["images"]] == ["new", "new", None]


@pytest.mark.parametrize("interval", ["1h", "0s"])
async def test_reconciler_warns_once_before_the_token_of_the_secret_expires(interval: str) -> None:
    drive = Drive(spec(interval=interval))
    at = drive.clock.at + timedelta(hours=8)
    drive.cloud.token_end = GivenTokenEnd(at=at, warn_at=at - timedelta(hours=1))
    warning = f"expires at {at:%Y-%m-%dT%H:%MZ}; put a new one into the Secret."
    await drive.until("Accepted")

    await drive.run_for(timedelta(hours=6, minutes=59))
    assert warning not in drive.ready["message"]
    await drive.run_for(timedelta(minutes=2))

    assert (drive.reason, drive.ready["status"]) == ("Accepted", "True")
    assert f"The token of Secret otc {warning}" in drive.ready["message"]
    writes = len(drive.kube.writes)
    await drive.run_for(timedelta(minutes=50))
    assert len(drive.kube.writes) == writes
    assert [event.reason for event in drive.events].count("TokenExpiring") == 1
    if interval != "0s":  # without drift checks, a new process reads nothing
        drive.restart()
        await drive.run_for(timedelta(minutes=5))
        assert [event.reason for event in drive.events].count("TokenExpiring") == 1

    drive.cloud.token_end = None
    await drive.run_for(timedelta(hours=1))
    assert warning not in drive.ready["message"]
    assert next(iter(drive.store)).runtime.token_end is None
