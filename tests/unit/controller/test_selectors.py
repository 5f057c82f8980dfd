"""A resource with a selector: what it accepts, supersedes, rejects and reports."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from drive import IMAGES, PROJECT, Drive, spec

from fakes import FAITHFUL, OWNER, Fate
from image_share_operator.api.errors import ImagesRefusedError, RetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import JobState, Membership, Share

A, B, C, D = IMAGES[:4]
ACCEPTED, PENDING, REJECTED = Membership.ACCEPTED, Membership.PENDING, Membership.REJECTED
OTHER = "cccccccccccccccccccccccccccccc20"
DAY = timedelta(days=1)


def selecting(policy: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A spec that selects images of one owner."""
    return {
        "imageSelectorTerms": [{"owner": OWNER, "name": "ubuntu-*"}],
        **({} if policy is None else {"imageSelectionPolicy": policy}),
        "projectID": PROJECT,
        "decision": "Accept",
        "credentialsSecretRef": {"name": "otc"},
        "region": "eu-de",
        "interval": "5m",
        **changes,
    }


def started(policy: dict[str, Any] | None = None, **changes: Any) -> Drive:
    drive = Drive(selecting(policy, **changes))
    drive.cloud.shares.clear()
    return drive


def rows(drive: Drive) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in drive.status["images"]}


def reasons(drive: Drive) -> list[str]:
    return [event.reason for event in drive.events if event.action == "Select"]


async def accept_then_publish(drive: Drive) -> None:
    """Let A be accepted, and publish B a day later."""
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")
    drive.clock.pass_by(DAY)
    drive.cloud.publish(B, "ubuntu-20260108")


async def test_matching_image_is_accepted_and_is_the_latest() -> None:
    drive = started()
    drive.cloud.publish(A, "ubuntu-20260101")
    drive.cloud.publish(B, "debian-20260101")
    drive.cloud.publish(C, "ubuntu-20260101", owner=OTHER)

    await drive.until("Accepted")

    assert drive.cloud.puts == [(A,)]
    assert drive.status["selected"] == 1
    assert drive.status["summary"] == "1/1"
    assert rows(drive)[A] == {
        "id": A,
        "membership": "accepted",
        "jobID": drive.status["job"]["id"],
        "name": "ubuntu-20260101",
        "owner": OWNER,
        "createdAt": "2026-01-31T12:00:00Z",
        "selection": "Selected",
    }
    (latest,) = drive.status["latest"]
    assert (latest["group"], latest["id"], latest["name"]) == ("", A, "ubuntu-20260101")
    assert reasons(drive) == ["ImageSelected", "LatestChanged"]
    (selected, _) = (event.note for event in drive.events if event.action == "Select")
    assert selected.startswith(f"Image {A} (ubuntu-20260101): ")


async def test_new_build_is_accepted_within_the_interval_and_supersedes() -> None:
    drive = started({"newest": 1})
    await accept_then_publish(drive)

    await drive.run_for(timedelta(minutes=6))

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}
    assert rows(drive)[A]["selection"] == "Superseded"
    (latest,) = drive.status["latest"]
    assert (latest["id"], latest["previousID"]) == (B, A)
    assert "ImageSuperseded" in reasons(drive)


async def test_summary_counts_a_new_image_before_it_is_accepted() -> None:
    drive = started()
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("JobRunning")
    assert drive.status["summary"] == "0/1"
    await drive.until("Accepted")
    drive.cloud.publish(B, "ubuntu-20260108")

    drive.annotate(reconcile_at="now")
    await drive.until("JobRunning")

    assert (drive.status["summary"], drive.status["selected"]) == ("1/2", 2)


async def test_superseded_image_is_rejected_only_after_its_successor_is_accepted() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)
    sent: list[tuple[object, ...]] = []
    drive.cloud.on_put = lambda _, decision, images: sent.append(
        (decision, images, drive.cloud.shares[B])
    )

    await drive.run_for(timedelta(minutes=6))

    assert sent == [("Accept", (B,), PENDING), ("Reject", (A,), ACCEPTED)]
    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}
    assert drive.reason == "Accepted"
    assert (rows(drive)[A]["selection"], rows(drive)[A]["membership"]) == ("Superseded", "rejected")


async def test_image_that_was_accepted_by_others_is_not_rejected() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    drive.cloud.publish(A, "ubuntu-20260101")
    drive.cloud.set_by_hand(A, ACCEPTED)
    drive.clock.pass_by(DAY)
    drive.cloud.publish(B, "ubuntu-20260108")

    await drive.until("Accepted")
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}


async def test_superseded_image_that_another_client_accepts_again_stays_accepted() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)
    await drive.run_for(timedelta(minutes=6))
    assert drive.cloud.shares[A] is REJECTED

    drive.cloud.set_by_hand(A, ACCEPTED)
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}


async def test_nothing_is_rejected_before_all_resources_are_known() -> None:
    """Another resource may accept the image that this one would reject."""
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)

    drive.restart()
    drive.reconciler.is_synced = lambda: False
    await drive.run_for(timedelta(minutes=10))
    assert drive.cloud.shares[A] is ACCEPTED
    drive.reconciler.is_synced = lambda: True
    await drive.run_for(timedelta(minutes=10))

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}


async def test_slow_expression_and_many_images_do_not_block_the_event_loop() -> None:
    drive = started({"groupBy": "[ab]*a[ab]{64}c", "newest": 1})
    for number in range(2_000):
        name = f"ubuntu-{number:0121b}".translate({48: "a", 49: "b"})
        drive.cloud.publish(f"{number:08x}-0000-4000-8000-000000000000", name)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await drive.until("LimitExceeded", passes=5)
    counting.cancel()

    assert turns > 100


async def test_image_that_is_selected_again_is_accepted_again() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)
    await drive.run_for(timedelta(minutes=6))
    assert drive.cloud.shares[A] is REJECTED

    drive.cloud.set_by_hand(B, None)
    await drive.run_for(timedelta(minutes=6))

    assert drive.cloud.shares == {A: ACCEPTED}
    assert drive.reason == "Accepted"
    assert "ImageWithdrawn" in reasons(drive)
    assert "DriftDetected" not in [event.reason for event in drive.events]


async def test_nothing_is_rejected_or_superseded_when_the_list_fails() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)
    drive.cloud.down = RetryableError("HTTP 500 on the second page")

    await drive.run_for(timedelta(minutes=30))

    assert drive.cloud.puts == [(A,)]
    assert rows(drive)[A]["selection"] == "Selected"
    assert drive.reason == "CloudUnavailable"


async def test_image_that_is_in_no_list_but_shared_stays_selected() -> None:
    drive = started()
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")

    drive.cloud.unlisted.add(A)
    await drive.run_for(timedelta(minutes=6))

    assert drive.reason == "Accepted"
    assert rows(drive)[A]["selection"] == "Selected"
    assert reasons(drive) == ["ImageSelected", "LatestChanged"]


async def test_no_cached_list_is_used_after_an_error() -> None:
    drive = started(interval="1h")
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")
    drive.cloud.list_ages.clear()
    drive.cloud.fails = [RetryableError("busy")]

    await drive.run_for(timedelta(hours=2))

    assert drive.cloud.list_ages[0] == timedelta()
    assert drive.cloud.list_ages[-1] > timedelta(), "a drift check may use a list of others"


async def test_image_that_is_in_no_list_but_shared_stays_the_latest() -> None:
    term = {"owner": OWNER, "osType": "Linux"}
    drive = started({"newest": 1}, removalPolicy="Reject", imageSelectorTerms=[term])
    drive.cloud.publish(A, "ubuntu-20260101", os_type="Linux")
    await drive.until("Accepted")
    drive.clock.pass_by(DAY)
    drive.cloud.publish(B, "ubuntu-20260108", os_type="Linux")
    await drive.run_for(timedelta(minutes=6))
    before = drive.status["latest"]

    drive.cloud.unlisted.add(B)
    await drive.run_for(timedelta(minutes=6))

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}
    assert drive.status["latest"] == before


async def test_unreadable_image_that_is_in_no_list_keeps_no_other_image_back() -> None:
    drive = started()
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")

    drive.cloud.unlisted.add(A)
    drive.cloud.unreadable[A] = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)
    drive.cloud.publish(B, "ubuntu-20260108")
    await drive.run_for(timedelta(minutes=6))

    assert drive.cloud.shares[B] is ACCEPTED
    assert drive.reason == "PartiallyFailed"
    assert A in drive.ready["message"]


async def test_withdrawn_image_leaves_the_selection() -> None:
    drive = started()
    drive.cloud.publish(A, "ubuntu-20260101")
    drive.cloud.publish(B, "ubuntu-20260102")
    await drive.until("Accepted")

    drive.cloud.set_by_hand(A, None)
    await drive.run_for(timedelta(minutes=6))

    assert drive.reason == "Accepted"
    assert list(rows(drive)) == [B]
    assert "ImageWithdrawn" in reasons(drive)


async def test_renamed_image_is_not_rejected() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")

    drive.cloud.publish(A, "deprecated-ubuntu")
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares[A] is ACCEPTED
    assert drive.reason == "NothingSelected"
    assert drive.status["selected"] == 0


async def test_image_that_is_renamed_into_another_group_is_never_rejected() -> None:
    drive = started({"newest": 1, "groupBy": "^(.+)-[0-9]+$"}, removalPolicy="Reject")
    drive.cloud.publish(A, "ubuntu-a-1")
    drive.clock.pass_by(DAY)
    drive.cloud.publish(B, "ubuntu-b-2")
    await drive.until("Accepted")

    drive.cloud.publish(A, "ubuntu-b-1")
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}
    assert rows(drive)[A]["selection"] == "Superseded"


async def test_nothing_selected_waits_and_then_accepts() -> None:
    drive = started()

    await drive.until("NothingSelected")
    assert drive.condition("Reconciling") is not None
    assert drive.status["summary"] == "0/0"
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.run_for(timedelta(minutes=5))

    assert drive.reason == "Accepted"


async def test_young_image_is_accepted_when_it_is_old_enough() -> None:
    drive = started({"minAge": "24h"}, interval="0s")
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("NothingSelected")
    assert rows(drive)[A]["selection"] == "TooYoung"

    await drive.run_for(DAY - timedelta(minutes=1))
    assert drive.cloud.puts == []
    await drive.run_for(timedelta(minutes=2))

    assert drive.cloud.shares[A] is ACCEPTED


async def test_restart_does_not_delay_a_young_image() -> None:
    drive = started({"minAge": "24h"}, interval="24h")
    drive.cloud.publish(A, "ubuntu-20260101", created_at=drive.clock.at - 2 * DAY)
    drive.cloud.publish(B, "ubuntu-20260102")
    await drive.until("Accepted")
    await drive.run_for(timedelta(hours=23))

    drive.restart()
    await drive.run_for(timedelta(hours=1, minutes=2))

    assert drive.cloud.shares[B] is ACCEPTED


async def test_more_images_than_the_limit_submit_nothing_new() -> None:
    drive = started({"limit": 1})
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")

    drive.cloud.publish(B, "ubuntu-20260102")
    await drive.until("LimitExceeded", passes=5)

    assert drive.cloud.puts == [(A,)]
    assert drive.condition("Stalled") is not None
    assert rows(drive)[B]["selection"] == "OverLimit"
    assert "limit" in rows(drive)[B]["message"]
    assert "2 images" in drive.ready["message"]


async def test_dry_run_reports_and_submits_nothing() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)

    drive.edit(dryRun=True)
    await drive.until("DryRun")
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.puts == [(A,)]
    assert "1 image would be accepted and 1 image would be rejected" in drive.ready["message"]
    assert rows(drive)[B]["message"] == "dry run: would be accepted"
    assert drive.requeue_after is not None, "a dry run follows the shares, too"
    drive.edit(dryRun=False)
    await drive.until("Accepted")
    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}


@pytest.mark.parametrize("restarts", [False, True])
async def test_new_build_is_accepted_when_an_older_job_never_ends(*, restarts: bool) -> None:
    drive = started(timeout="1m")
    drive.cloud.fates = [Fate(takes=timedelta(days=9))]
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("JobTimeout")

    drive.cloud.publish(B, "ubuntu-20260108")
    await drive.run_for(timedelta(minutes=2))
    if restarts:
        drive.restart()
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares == {A: PENDING, B: ACCEPTED}
    assert drive.cloud.puts == [(A,), (B,)]
    assert drive.reason == "JobTimeout"
    assert drive.condition("Stalled") is not None
    assert f"Image {A}: job {rows(drive)[A]['jobID']} did not end" in drive.ready["message"]


async def test_refused_image_is_retried_slowly_while_a_job_never_ends() -> None:
    drive = started(timeout="1m")
    drive.cloud.fates = [Fate(takes=timedelta(days=9))]
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("JobTimeout")

    drive.cloud.refusals[B] = ImagesRefusedError("HTTP 400 IMG.0144")
    drive.cloud.publish(B, "ubuntu-20260108")
    await drive.run_for(timedelta(minutes=20))

    assert drive.cloud.puts == [(A,), (B,)]
    assert drive.reason == "JobTimeout"
    assert rows(drive)[B]["message"] == "HTTP 400 IMG.0144"
    assert "message" not in rows(drive)[A]


async def test_image_of_a_job_that_never_ends_is_not_sent_again_after_a_read_error() -> None:
    drive = started(timeout="1m")
    drive.cloud.fates = [Fate(takes=timedelta(days=9))]
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("JobTimeout")
    drive.cloud.publish(B, "ubuntu-20260108")
    drive.cloud.unreadable[A] = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)
    await drive.run_for(timedelta(minutes=10))

    drive.cloud.unreadable.clear()
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.puts == [(A,), (B,)]
    assert drive.reason == "JobTimeout"


async def test_job_that_never_ends_hides_no_exceeded_limit() -> None:
    drive = started({"limit": 1}, timeout="1m")
    drive.cloud.fates = [Fate(takes=timedelta(days=9))]
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("JobTimeout")

    drive.cloud.set_by_hand(A, ACCEPTED)
    drive.cloud.publish(B, "ubuntu-20260108")
    await drive.run_for(timedelta(minutes=10))

    assert drive.reason == "LimitExceeded"


@pytest.mark.parametrize(("newest", "end"), [(2, ACCEPTED), (1, REJECTED)])
async def test_job_that_ends_after_a_newer_one_is_noticed(newest: int, end: Membership) -> None:
    drive = started({"newest": newest}, removalPolicy="Reject", timeout="1m")
    await overtake(drive)

    drive.cloud.end_stuck_jobs()
    await drive.run_for(timedelta(minutes=10))

    assert drive.cloud.shares == {A: end, B: ACCEPTED}
    assert drive.reason == "Accepted"
    assert "message" not in rows(drive)[A]


async def test_two_jobs_that_never_end_do_not_keep_back_a_third_build() -> None:
    drive = started(timeout="1m")
    drive.cloud.usual = Fate(takes=timedelta(days=9))
    for image in (A, B):
        drive.cloud.publish(image, "ubuntu-20260101")
        await drive.run_for(timedelta(minutes=10))
    drive.cloud.usual = FAITHFUL

    drive.cloud.publish(C, "ubuntu-20260108")
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.puts == [(A,), (B,), (C,)]
    assert f"Image {B} and 1 more: job " in drive.ready["message"]


async def test_image_of_a_job_that_never_ends_is_sent_again_for_a_new_spec() -> None:
    drive = started(timeout="1m")
    await overtake(drive)

    drive.edit(timeout="2m")
    await drive.until("Accepted")

    assert drive.cloud.puts == [(A,), (B,), (A,)]


async def overtake(drive: Drive) -> None:
    """Let the job of A never end, and the one of B, which is sent after it, succeed."""
    drive.cloud.fates = [Fate(takes=timedelta(days=9))]
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("JobTimeout")
    drive.clock.pass_by(DAY)
    drive.cloud.publish(B, "ubuntu-20260108")
    await drive.run_for(timedelta(minutes=5))
    assert drive.cloud.shares[B] is ACCEPTED


async def test_image_that_is_removed_from_a_list_is_rejected() -> None:
    drive = Drive(spec((A, B), removalPolicy="Reject"))
    await drive.until("Accepted")

    drive.edit(images=[A])
    await drive.run_for(timedelta(minutes=1))

    assert drive.cloud.shares[B] is REJECTED
    assert list(rows(drive)) == [A]
    assert drive.reason == "Accepted"


@pytest.mark.parametrize(
    "fate",
    [
        Fate(takes=timedelta(minutes=1)),
        Fate(takes=timedelta(minutes=1), lag=timedelta(seconds=30)),
        Fate(lost=True, takes=timedelta(seconds=20)),
    ],
    ids=["job runs", "membership lags", "response is lost"],
)
@pytest.mark.parametrize("restarts", [False, True])
async def test_image_removed_from_a_list_during_its_job_is_rejected(
    fate: Fate, *, restarts: bool
) -> None:
    drive = Drive(spec((A, B), removalPolicy="Reject", interval="0s"))
    drive.cloud.fates = [fate]
    while not drive.cloud.puts:
        await drive.step()

    drive.edit(images=[A])
    await drive.step()
    if restarts:
        drive.restart()
    await drive.run_for(timedelta(minutes=5))

    assert (drive.cloud.shares[A], drive.cloud.shares[B]) == (ACCEPTED, REJECTED)
    assert drive.cloud.puts == [(A, B), (B,)]
    assert list(rows(drive)) == [A]
    assert "unanswered" not in drive.status
    assert drive.reason == "Accepted"


async def test_image_removed_from_a_list_is_not_rejected_when_its_job_failed() -> None:
    drive = Drive(spec((A, B), removalPolicy="Reject", interval="5m"))
    drive.cloud.fates = [Fate(takes=timedelta(minutes=1), state=JobState.FAIL, applied=0)]
    while not drive.cloud.puts:
        await drive.step()

    drive.edit(images=[A])
    await drive.run_for(timedelta(minutes=5))
    drive.cloud.set_by_hand(B, ACCEPTED)
    await drive.run_for(timedelta(hours=1))

    assert (drive.cloud.shares[A], drive.cloud.shares[B]) == (ACCEPTED, ACCEPTED)
    assert drive.cloud.puts == [(A, B), (A,)]
    assert list(rows(drive)) == [A]


async def test_removed_image_of_a_failed_job_stays_while_another_can_not_be_read() -> None:
    drive = Drive(spec((A, B, C), removalPolicy="Reject", interval="5m"))
    drive.cloud.fates = [Fate(takes=timedelta(minutes=1), named=1, applied=2)]
    while not drive.cloud.puts:
        await drive.step()
    drive.cloud.unreadable[B] = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)

    drive.edit(images=[C])
    await drive.run_for(timedelta(minutes=10))
    drive.cloud.set_by_hand(A, ACCEPTED)
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares[A] is ACCEPTED
    drive.cloud.unreadable.clear()
    await drive.run_for(timedelta(hours=1))
    assert drive.cloud.shares == drive.cloud.shares | {A: ACCEPTED, B: REJECTED, C: ACCEPTED}


async def test_image_that_is_removed_from_a_list_stays_by_default() -> None:
    drive = Drive(spec((A, B)))
    await drive.until("Accepted")

    drive.edit(images=[A])
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares[B] is ACCEPTED


async def test_migration_from_a_list_rejects_nothing() -> None:
    drive = Drive(spec((A,), removalPolicy="Reject", interval="5m"))
    drive.cloud.shares = {A: ACCEPTED}
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")
    drive.cloud.publish(B, "ubuntu-20260108")

    drive.edit(images=None, imageSelectorTerms=selecting()["imageSelectorTerms"])
    await drive.until("Accepted")
    await drive.run_for(timedelta(hours=1))

    assert (drive.cloud.shares[A], drive.cloud.shares[B]) == (ACCEPTED, ACCEPTED)


async def test_deletion_rejects_all_images_that_it_accepted() -> None:
    drive = started({"newest": 1}, deletionPolicy="Reject")
    await accept_then_publish(drive)
    await drive.run_for(timedelta(minutes=6))

    drive.delete()
    await drive.run_for(timedelta(minutes=1))

    assert drive.cloud.shares == {A: REJECTED, B: REJECTED}
    assert drive.kube.released


async def test_deletion_waits_for_a_superseded_image_that_can_not_be_read() -> None:
    drive = started({"newest": 1}, deletionPolicy="Reject")
    await accept_then_publish(drive)
    await drive.run_for(timedelta(minutes=6))
    drive.cloud.unreadable[A] = RetryableError("HTTP 409 IMG.0035")

    drive.delete()
    await drive.run_for(timedelta(minutes=1))
    assert not drive.kube.released
    drive.cloud.unreadable.clear()
    await drive.run_for(timedelta(minutes=10))

    assert drive.cloud.shares == {A: REJECTED, B: REJECTED}
    assert drive.kube.released


async def test_deletion_after_an_outage_rejects_what_another_client_accepted() -> None:
    drive = started(deletionPolicy="Reject")
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")
    drive.cloud.publish(B, "ubuntu-20260108")
    drive.cloud.set_by_hand(B, ACCEPTED)
    await drive.run_for(timedelta(minutes=6))

    drive.cloud.down = RetryableError("connection refused")
    drive.delete()
    await drive.run_for(timedelta(minutes=1))
    drive.cloud.down = None
    await drive.run_for(timedelta(minutes=10))

    assert drive.cloud.puts == [(A,), (A,), (B,)]
    assert drive.cloud.shares == {A: REJECTED, B: REJECTED}
    assert drive.kube.released


async def test_restart_before_anything_is_known_of_a_deleted_one_ends() -> None:
    drive = started(deletionPolicy="Reject")
    await drive.until("NothingSelected")

    drive.delete()
    await drive.run_for(timedelta(minutes=1))

    assert drive.kube.released


async def test_lost_response_to_a_rejection_is_settled_by_a_read() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)
    drive.cloud.on_put = lambda *_: setattr(drive.cloud, "lost", len(drive.cloud.puts) == 3)

    await drive.run_for(timedelta(minutes=10))

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}
    assert drive.cloud.puts == [(A,), (B,), (A,)]
    assert drive.reason == "Accepted"


async def test_failed_rejection_is_reported_and_retried() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)
    drive.cloud.spoiled[A] = ("IMG.0001", True)

    await drive.run_for(timedelta(minutes=6))

    assert drive.reason in ("PartiallyFailed", "InvalidRequest", "CloudUnavailable")
    assert A in drive.ready["message"]
    assert rows(drive)[B]["membership"] == "accepted"
    drive.cloud.spoiled.clear()
    await drive.run_for(timedelta(hours=1))
    assert drive.cloud.shares[A] is REJECTED
    assert drive.reason == "Accepted"


async def test_settled_resource_reads_only_lists_and_writes_nothing() -> None:
    drive = started({"newest": 2})
    for place, image in enumerate((A, B, C)):
        drive.cloud.publish(image, f"ubuntu-{place}")
    await drive.until("Accepted")
    writes, reads = len(drive.kube.writes), drive.cloud.looks

    await drive.run_for(timedelta(hours=3))

    assert drive.cloud.lists > 30
    assert drive.cloud.looks == reads
    assert len(drive.kube.writes) == writes


@pytest.mark.parametrize("lost", [False, True])
async def test_crash_at_any_moment_ends_in_the_same_state(*, lost: bool) -> None:
    """The status is all that a new process has."""
    for steps in range(14):
        drive = started({"newest": 1}, removalPolicy="Reject")
        drive.cloud.publish(A, "ubuntu-20260101")
        await drive.until("Accepted")
        drive.clock.pass_by(DAY)
        drive.cloud.publish(B, "ubuntu-20260108")
        drive.cloud.lost = int(lost)
        for _ in range(steps):
            await drive.step()
        drive.restart()

        await drive.run_for(timedelta(minutes=20))

        assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}, steps
        assert drive.reason == "Accepted", steps


def cache_lists(drive: Drive) -> None:
    """Serve lists that are as old as the caller accepts, as `ShareLists` does."""
    read_list = drive.cloud.list_shares
    kept: list[tuple[Any, tuple[Share, ...]]] = []

    async def list_shares(owners: tuple[str, ...], max_age: timedelta) -> tuple[Share, ...]:
        if not kept or kept[-1][0] < drive.clock.at - max_age:
            kept.append((drive.clock.at, await read_list(owners, max_age)))
        return kept[-1][1]

    drive.cloud.list_shares = list_shares  # type: ignore[method-assign]


async def test_superseded_image_is_rejected_when_the_list_is_from_before_the_job() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject", interval="0s")
    cache_lists(drive)
    await accept_then_publish(drive)

    drive.annotate(reconcile_at="now")
    await drive.run_for(timedelta(minutes=5))

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}


async def test_renamed_image_is_reported_with_its_new_name() -> None:
    drive = started()
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")

    drive.cloud.publish(A, "ubuntu-20260102")
    await drive.run_for(timedelta(minutes=6))

    assert rows(drive)[A]["name"] == "ubuntu-20260102"
    drive.cloud.set_by_hand(A, PENDING)
    await drive.run_for(timedelta(minutes=11))
    assert rows(drive)[A]["jobID"] == drive.status["job"]["id"], "it counts as renamed once"


async def test_image_that_only_the_status_knows_is_not_submitted() -> None:
    """Another client wrote the row; the lists have the image under its real owner."""
    drive = started({"newest": 1}, removalPolicy="Reject")
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("Accepted")
    drive.cloud.set_by_hand(C, PENDING)
    row = {**rows(drive)[A], "id": C, "membership": "pending", "createdAt": "2099-01-01T00:00:00Z"}

    drive.kube.changed(status={**drive.status, "images": [row, *drive.status["images"]]})
    drive.restart()
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.puts == [(A,)]
    assert list(rows(drive)) == [A]
    assert drive.reason == "Accepted"


async def test_nothing_is_rejected_when_a_shared_image_is_missing_in_the_list() -> None:
    drive = started({"newest": 1})
    await accept_then_publish(drive)
    await drive.run_for(timedelta(minutes=6))

    drive.cloud.unlisted.add(B)
    drive.edit(removalPolicy="Reject")
    await drive.run_for(timedelta(minutes=6))
    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}
    drive.cloud.unlisted.clear()
    await drive.run_for(timedelta(minutes=6))

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}


async def test_image_that_others_accept_while_its_successor_is_pending_stays() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)
    while len(drive.cloud.puts) < 3:
        await drive.step()
    drive.cloud.set_by_hand(B, PENDING)
    await drive.run_for(timedelta(minutes=10))
    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}

    drive.cloud.set_by_hand(A, ACCEPTED)
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}


FAILURES = pytest.mark.parametrize(
    "fate",
    [Fate(state=JobState.FAIL, applied=0), Fate(named=1, applied=0)],
    ids=["job failed", "job names the image"],
)


@FAILURES
@pytest.mark.parametrize("restarts", [False, True])
async def test_image_that_others_accept_after_its_job_failed_stays(
    fate: Fate, *, restarts: bool
) -> None:
    drive = await after_failed_job(fate)
    if restarts:
        drive.restart()
        await drive.step()

    drive.cloud.set_by_hand(A, ACCEPTED)
    await drive.run_for(timedelta(minutes=40))
    await supersede(drive)

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}


@FAILURES
@pytest.mark.parametrize("restarts", [False, True])
async def test_superseded_image_that_others_accept_after_its_job_failed_stays(
    fate: Fate, *, restarts: bool
) -> None:
    drive = await after_failed_job(fate)
    await supersede(drive)
    if restarts:
        drive.restart()

    drive.cloud.set_by_hand(A, ACCEPTED)
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}


async def after_failed_job(fate: Fate) -> Drive:
    """A selector of the newest image whose job failed: A is published, and not accepted."""
    drive = started({"newest": 1}, removalPolicy="Reject")
    drive.cloud.usual = fate
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.run_for(timedelta(minutes=10))
    return drive


async def supersede(drive: Drive) -> None:
    """Publish B a day later; its job succeeds."""
    drive.cloud.usual = FAITHFUL
    drive.clock.pass_by(DAY)
    drive.cloud.publish(B, "ubuntu-20260108")
    await drive.run_for(timedelta(minutes=40))
    assert drive.cloud.shares[B] is ACCEPTED


async def test_image_that_others_accept_during_bisection_stays() -> None:
    """Its job failed without naming an image; the next job carries the other half."""
    drive = started({"newest": 2}, removalPolicy="Reject")
    drive.cloud.fates = [
        Fate(state=JobState.FAIL, applied=0),
        Fate(state=JobState.FAIL, applied=0, takes=timedelta(minutes=5)),
    ]
    drive.cloud.publish(A, "ubuntu-20260101")
    drive.cloud.publish(C, "ubuntu-20260102")
    while len(drive.cloud.puts) < 2:
        await drive.step()
    (waiting,) = {A, C} - set(drive.cloud.puts[1])

    drive.cloud.set_by_hand(waiting, ACCEPTED)
    await drive.run_for(timedelta(hours=1))
    drive.clock.pass_by(DAY)
    drive.cloud.publish(B, "ubuntu-20260108")
    drive.cloud.publish(D, "ubuntu-20260109")
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED, C: REJECTED, D: ACCEPTED} | {
        waiting: ACCEPTED
    }


async def test_image_that_others_accept_after_its_retry_was_refused_stays() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    drive.cloud.fates = [Fate(state=JobState.FAIL, applied=0)]
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.run_for(timedelta(minutes=10))
    drive.cloud.refusals[A] = ImagesRefusedError("HTTP 400 IMG.0144")
    await drive.run_for(timedelta(minutes=40))
    assert rows(drive)[A]["message"] == "HTTP 400 IMG.0144"

    drive.cloud.refusals.clear()
    drive.cloud.set_by_hand(A, ACCEPTED)
    await drive.run_for(timedelta(minutes=40))
    await supersede(drive)

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}


@pytest.mark.parametrize("policy", [{"newest": 1}, {"newest": 2, "exclude": [A]}])
async def test_unselected_image_that_others_set_to_pending_and_accept_stays(
    policy: dict[str, Any],
) -> None:
    drive = started({"newest": 2})
    drive.cloud.publish(B, "ubuntu-20260108")
    await drive.until("Accepted")
    drive.cloud.publish(A, "ubuntu-20260101", created_at=drive.clock.at - DAY)
    await drive.run_for(timedelta(minutes=10))
    drive.edit(imageSelectionPolicy=policy)

    for membership in (PENDING, ACCEPTED):
        await drive.run_for(timedelta(minutes=10))
        drive.cloud.set_by_hand(A, membership)
    await drive.run_for(timedelta(minutes=10))
    drive.edit(removalPolicy="Reject")
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}


async def test_listed_image_that_others_accept_after_its_job_failed_stays() -> None:
    drive = Drive(spec((A, B), removalPolicy="Reject", interval="5m"))
    drive.cloud.fates = [Fate(state=JobState.FAIL, named=1, applied=0)]
    await drive.run_for(timedelta(minutes=10))
    drive.cloud.set_by_hand(A, ACCEPTED)
    await drive.run_for(timedelta(hours=1))
    assert drive.reason == "Accepted"

    drive.edit(images=[B])
    await drive.run_for(timedelta(hours=1))

    assert (drive.cloud.shares[A], drive.cloud.shares[B]) == (ACCEPTED, ACCEPTED)


async def test_image_that_others_accept_while_suspended_stays() -> None:
    """An edit clears the message that said that the job failed."""
    drive = Drive(spec((A,), removalPolicy="Reject", interval="5m"))
    drive.cloud.fates = [Fate(state=JobState.FAIL, applied=0)]
    await drive.run_for(timedelta(minutes=10))
    drive.edit(suspend=True)
    await drive.step()

    drive.cloud.set_by_hand(A, ACCEPTED)
    drive.edit(suspend=False)
    await drive.until("Accepted")
    drive.edit(images=[B])
    await drive.run_for(timedelta(hours=1))

    assert (drive.cloud.shares[A], drive.cloud.shares[B]) == (ACCEPTED, ACCEPTED)


async def test_image_that_is_shared_again_and_accepted_by_others_stays() -> None:
    drive = Drive(spec((A, B), removalPolicy="Reject", interval="5m"))
    drive.cloud.fates = [Fate(state=JobState.FAIL, named=1, applied=0)]
    await drive.run_for(timedelta(minutes=10))
    for membership in (None, ACCEPTED):
        drive.cloud.set_by_hand(A, membership)
        await drive.run_for(timedelta(hours=1))
    assert drive.reason == "Accepted"

    drive.edit(images=[B])
    await drive.run_for(timedelta(hours=1))

    assert (drive.cloud.shares[A], drive.cloud.shares[B]) == (ACCEPTED, ACCEPTED)


@pytest.mark.parametrize(
    "fate",
    [
        Fate(lag=timedelta(minutes=5)),
        Fate(state=JobState.FAIL, applied=1),
        Fate(lag=timedelta(seconds=30)),
    ],
    ids=["after success without effect", "failed job", "in time"],
)
async def test_image_that_its_job_accepted_is_rejected_when_superseded(fate: Fate) -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    drive.cloud.fates = [fate]
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.run_for(timedelta(minutes=10))
    assert drive.cloud.puts == [(A,)]

    await supersede(drive)

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}


async def test_image_superseded_while_its_membership_lags_is_rejected() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject", interval="1m")
    drive.cloud.fates = [Fate(takes=timedelta(minutes=1), lag=timedelta(minutes=3))]
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("JobRunning")
    drive.clock.pass_by(timedelta(seconds=2))
    drive.cloud.publish(B, "ubuntu-20260108")

    await drive.run_for(timedelta(minutes=2))
    assert drive.cloud.puts == [(A,), (B,)]
    await drive.run_for(timedelta(minutes=20))

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}


async def test_superseded_image_that_can_not_be_read_for_a_time_is_rejected() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)
    drive.cloud.set_by_hand(B, ACCEPTED)
    drive.cloud.unreadable[A] = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)
    await drive.run_for(timedelta(minutes=6))
    assert rows(drive)[A]["membership"] == "unknown"

    drive.cloud.unreadable.clear()
    await drive.run_for(timedelta(minutes=30))

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED}


async def test_image_that_an_overdue_job_accepts_is_rejected_when_superseded() -> None:
    drive = started({"newest": 2}, removalPolicy="Reject", timeout="1m")
    await overtake(drive)
    drive.cloud.end_stuck_jobs()
    await drive.run_for(timedelta(minutes=10))

    drive.clock.pass_by(DAY)
    drive.cloud.publish(C, "ubuntu-20260115")
    await drive.run_for(timedelta(minutes=10))

    assert drive.cloud.shares == {A: REJECTED, B: ACCEPTED, C: ACCEPTED}


@FAILURES
async def test_image_superseded_during_its_failing_job_stays(fate: Fate) -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    drive.cloud.fates = [replace(fate, takes=timedelta(minutes=1))]
    drive.cloud.publish(A, "ubuntu-20260101")
    await drive.until("JobRunning")
    drive.clock.pass_by(timedelta(seconds=2))
    drive.cloud.publish(B, "ubuntu-20260108")
    await drive.run_for(timedelta(minutes=10))
    assert drive.cloud.puts == [(A,), (B,)]

    drive.cloud.set_by_hand(A, ACCEPTED)
    await drive.run_for(timedelta(hours=1))

    assert drive.cloud.shares == {A: ACCEPTED, B: ACCEPTED}


async def test_status_has_no_more_rows_than_the_api_server_takes() -> None:
    drive = Drive(spec(IMAGES[:3], removalPolicy="Reject"))
    listed = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(499)]
    drive.cloud.shares |= dict.fromkeys(listed, ACCEPTED)
    await drive.until("Accepted")

    drive.edit(images=listed)
    sizes = set[int]()
    drive.kube.on_write = lambda status: sizes.add(len(status["images"]))
    await drive.run_for(timedelta(minutes=5))

    assert max(sizes) == 500
    assert drive.reason == "Accepted"


async def test_status_of_a_selector_has_up_to_500_rows_selected_ones_first() -> None:
    drive = started({"newest": 3})
    for number in range(600):
        drive.cloud.publish(f"{number:08x}-0000-4000-8000-000000000000", f"ubuntu-{number}")

    await drive.until("Accepted")

    verdicts = [row["selection"] for row in drive.status["images"]]
    assert verdicts == ["Selected"] * 3 + ["Superseded"] * 497


async def test_message_names_the_decision_of_the_job() -> None:
    drive = started({"newest": 1}, removalPolicy="Reject")
    await accept_then_publish(drive)
    drive.cloud.job_takes = timedelta(minutes=1)
    while len(drive.cloud.puts) < 3:
        await drive.step()

    await drive.step()

    assert drive.ready["message"] == "Waiting for the job that rejects 1 image."
