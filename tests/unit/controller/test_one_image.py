"""One image that the cloud does not read or change keeps no other image from being done."""

from datetime import timedelta

import pytest
from drive import IMAGES, KEY, START, Drive, accepted, spec
from hypothesis import given
from hypothesis import strategies as st

from image_share_operator.api.errors import (
    CloudError,
    ImagesRefusedError,
    OutcomeUnknownError,
    RefusedForNowError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Membership

A, B, C, D, E = IMAGES[:5]
ACCEPTED, PENDING = Membership.ACCEPTED, Membership.PENDING
DENIED = TerminalError(
    "HTTP 403 IMG.0041: the user lacks a permission; grant it in IAM",
    reason=Reason.PERMISSION_DENIED,
)
GONE = TerminalError("HTTP 410 Gone; correct the spec", reason=Reason.INVALID_REQUEST)
BROKEN = RetryableError("HTTP 500")
REFUSED = ImagesRefusedError("HTTP 400 IMG.0027")
READ_ERRORS = (DENIED, GONE, BROKEN, RetryableError("unknown member status 'odd'"))
WRITE_ERRORS = (DENIED, REFUSED, RefusedForNowError("HTTP 409", persistent=True))


def row_of(drive: Drive, image: str) -> dict[str, object]:
    return next(row for row in drive.status["images"] if row["id"] == image)


@pytest.mark.parametrize("error", READ_ERRORS, ids=str)
async def test_image_that_cannot_be_read_is_named_and_others_are_done(error: CloudError) -> None:
    drive = Drive(spec((A, B, C)))
    drive.cloud.unreadable[B] = error

    await drive.until("PartiallyFailed")

    assert drive.cloud.puts == [(A, C)]
    assert (drive.cloud.shares[A], drive.cloud.shares[C]) == (ACCEPTED, ACCEPTED)
    assert B in drive.ready["message"]
    assert row_of(drive, B)["membership"] == "unknown"
    assert str(error) in str(row_of(drive, B)["message"])
    stalled = isinstance(error, TerminalError)
    assert (drive.condition("Stalled") is not None) is stalled


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ((DENIED, DENIED), "PermissionDenied"),
        ((BROKEN, ThrottledError("HTTP 429")), "CloudUnavailable"),
    ],
)
async def test_error_is_reported_when_no_image_can_be_read(
    errors: tuple[CloudError, CloudError], reason: str
) -> None:
    drive = Drive(spec((A, B)))
    drive.cloud.unreadable |= dict(zip((A, B), errors, strict=True))

    await drive.until(reason)

    assert drive.cloud.puts == []


async def test_image_is_sent_as_soon_as_it_can_be_read() -> None:
    drive = Drive(spec((A, B)))
    drive.cloud.unreadable[B] = DENIED
    await drive.until("PartiallyFailed")

    drive.cloud.unreadable.clear()
    drive.annotate(reconcile_at="now")
    await drive.until("Accepted")

    assert drive.cloud.puts == [(A,), (B,)]


async def test_image_is_sent_after_a_restart_when_it_can_be_read_again() -> None:
    drive = Drive(spec((A, B)))
    drive.cloud.unreadable[B] = DENIED
    await drive.until("PartiallyFailed")

    drive.cloud.unreadable.clear()
    drive.restart()
    await drive.run_for(timedelta(minutes=35))

    assert drive.reason == "Accepted"


async def test_read_error_that_occurs_once_does_not_change_ready() -> None:
    drive = await accepted(spec((A, B), interval="10m"))
    drive.cloud.unreadable[B] = BROKEN
    looks, writes = drive.cloud.looks, len(drive.kube.writes)

    await drive.step()
    drive.cloud.unreadable.clear()
    await drive.step()

    assert drive.cloud.looks == looks + 2
    assert len(drive.kube.writes) == writes


async def test_image_with_a_transient_read_error_is_read_with_backoff() -> None:
    drive = Drive(spec((A, B)))
    drive.cloud.unreadable[B] = BROKEN
    await drive.until("PartiallyFailed")
    looks, writes = drive.cloud.looks, len(drive.kube.writes)

    await drive.run_for(timedelta(hours=1))

    assert 6 <= drive.cloud.looks - looks <= 30
    assert len(drive.kube.writes) == writes
    assert len(drive.cloud.puts) == 1


async def test_drift_behind_a_read_error_is_repaired() -> None:
    drive = await accepted(spec((A, B), interval="10m"))
    drive.cloud.unreadable[B] = BROKEN
    await drive.until("PartiallyFailed")

    drive.cloud.shares[B] = PENDING
    drive.cloud.unreadable.clear()
    await drive.run_for(timedelta(minutes=1))

    assert drive.reason == "Accepted"
    assert drive.cloud.puts == [(A, B), (B,)]


@pytest.mark.parametrize("error", WRITE_ERRORS, ids=str)
async def test_image_that_cannot_be_changed_is_named_and_others_are_done(error: CloudError) -> None:
    drive = Drive(spec((A, B, C)))
    drive.cloud.refusals[B] = error

    await drive.until("PartiallyFailed")

    assert (drive.cloud.shares[A], drive.cloud.shares[C]) == (ACCEPTED, ACCEPTED)
    assert str(error) in str(row_of(drive, B)["message"])


@pytest.mark.parametrize("bad", IMAGES[:4])
async def test_image_whose_batches_get_5xx_keeps_no_other_from_being_done(bad: str) -> None:
    images = IMAGES[:4]
    drive = Drive(spec(images))
    drive.cloud.refusals[bad] = OutcomeUnknownError("HTTP 500", answered=True, persistent=True)

    await drive.run_for(timedelta(minutes=15))

    done = [image for image in images if drive.cloud.shares[image] is ACCEPTED]
    assert done == [image for image in images if image != bad]
    assert drive.reason == "CloudUnavailable"
    assert drive.ready["message"].startswith(f"Image {bad}: HTTP 500. If this does not end, remove")
    assert len(drive.cloud.puts) <= 30


async def test_missing_permission_is_reported_when_no_image_can_be_changed() -> None:
    drive = Drive(spec((A, B)))
    drive.cloud.refusals |= {A: DENIED, B: DENIED}

    await drive.until("PermissionDenied")

    assert len(drive.cloud.puts) <= 4


async def test_failed_job_of_an_unreadable_image_blames_no_other() -> None:
    drive = Drive(spec((A, B)))
    drive.cloud.spoiled[A] = ("IMG.0098", False)
    await drive.step()
    drive.cloud.unreadable[A] = DENIED

    await drive.until("PartiallyFailed")

    assert drive.cloud.shares[B] is ACCEPTED
    assert drive.cloud.puts == [(A, B), (B,)]


async def test_image_that_a_successful_job_names_is_sent_again_soon() -> None:
    drive = Drive(spec((A, B)))
    drive.cloud.odd_rows[B] = 2

    await drive.until("Accepted")

    assert drive.cloud.puts == [(A, B), (B,), (B,)]
    assert drive.clock.at - START < timedelta(seconds=20)


async def test_image_that_jobs_always_name_is_sent_three_times_more() -> None:
    drive = Drive(spec((A, B)))
    drive.cloud.odd_rows[B] = 100

    await drive.run_for(timedelta(minutes=20))

    assert drive.cloud.puts == [(A, B), (B,), (B,), (B,)]
    assert (drive.reason, drive.condition("Stalled") is not None) == ("PartiallyFailed", True)


async def test_retry_that_is_held_back_is_reported_with_its_time() -> None:
    drive = Drive(spec((A, B)))
    drive.cloud.refusals[B] = REFUSED
    await drive.until("PartiallyFailed")
    writes, puts = len(drive.kube.writes), len(drive.cloud.puts)
    entry = drive.store.get(KEY)
    assert entry is not None
    assert entry.runtime.retry_at is not None

    assert f"retries at {entry.runtime.retry_at:%Y-%m-%dT%H:%M:%SZ}" in drive.ready["message"]
    await drive.run_for(timedelta(minutes=20))
    assert (len(drive.kube.writes), len(drive.cloud.puts)) == (writes, puts)


@pytest.mark.parametrize(
    ("vault", "told"), [({}, True), ({"vaultID": "11111111-1111-4222-8333-444455556666"}, False)]
)
async def test_full_server_image_without_a_vault_says_what_to_set(
    vault: dict[str, str], *, told: bool
) -> None:
    drive = Drive(spec((A, B), **vault))
    drive.cloud.refusals[B] = ImagesRefusedError("HTTP 400 IMG.0184 Vault is required.")

    await drive.until("PartiallyFailed")

    assert ("; set spec.vaultID" in str(row_of(drive, B)["message"])) is told
    assert ("; set spec.vaultID" in drive.ready["message"]) is told


async def test_deletion_waits_for_an_image_that_cannot_be_read() -> None:
    drive = await accepted(spec((A, B), deletionPolicy="Reject"))
    drive.cloud.unreadable[B] = DENIED

    drive.delete()
    await drive.run_for(timedelta(minutes=2))

    assert not drive.kube.released
    assert drive.cloud.shares[A] is Membership.REJECTED
    assert (drive.reason, B in drive.ready["message"]) == ("Rejecting", True)


answers = st.sampled_from((None, *READ_ERRORS))
refusals = st.sampled_from((None, None, *WRITE_ERRORS))


@given(st.lists(st.tuples(answers, refusals), min_size=2, max_size=6))
async def test_every_unaffected_image_is_done(
    cases: list[tuple[CloudError | None, CloudError | None]],
) -> None:
    images = IMAGES[: len(cases)]
    drive = Drive(spec(images))
    for image, (read, write) in zip(images, cases, strict=True):
        if read is not None:
            drive.cloud.unreadable[image] = read
        if write is not None:
            drive.cloud.refusals[image] = write
    affected = drive.cloud.unreadable.keys() | drive.cloud.refusals.keys()
    good = [image for image in images if image not in affected]

    await drive.run_for(timedelta(minutes=5))

    assert all(drive.cloud.shares[image] is ACCEPTED for image in good)
    assert all(drive.cloud.shares[image] is PENDING for image in affected)
    puts, looks = len(drive.cloud.puts), drive.cloud.looks
    assert puts <= 10 + 10 * len(images)
    if good and affected:
        assert drive.reason == "PartiallyFailed"
        named = {row["id"] for row in drive.status["images"] if "message" in row}
        assert named == affected
    await drive.run_for(timedelta(minutes=5))
    assert drive.cloud.looks <= looks + 10
    assert len(drive.cloud.puts) <= puts + 4 * len(images)
