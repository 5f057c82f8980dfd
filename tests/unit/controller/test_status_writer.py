"""What is measured and logged of a pass; on the virtual clock."""

import logging
from datetime import timedelta

import pytest
from drive import IMAGES, Drive, accepted, spec

from image_share_operator.api.errors import RetryableError, TerminalError, ThrottledError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Membership
from image_share_operator.controller.credential_cache import UnusableSecretError
from image_share_operator.telemetry import metrics

LOGGER = "image_share_operator.controller.status_writer"
MISSING = UnusableSecretError("not found", reason=Reason.SECRET_NOT_FOUND, version="")


def sample(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"image_share_operator_{name}", labels) or 0.0


class ToReady:
    """What was added to the histogram since."""

    def __init__(self) -> None:
        self._began = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        name = "change_to_ready_seconds"
        return sample(f"{name}_count"), sample(f"{name}_sum")

    @property
    def seconds(self) -> float | None:
        """Of the one that was added; ``None`` when none was."""
        (count, total), (before, sum_before) = self._now(), self._began
        assert count - before <= 1
        return total - sum_before if count > before else None


async def test_time_to_ready_begins_when_the_spec_is_seen() -> None:
    drive, measured = Drive(), ToReady()
    drive.requeue_after = timedelta(seconds=40)  # it waits for its turn

    await drive.until("Accepted")

    assert measured.seconds == pytest.approx(41, abs=1)


async def test_time_to_ready_counts_where_no_job_is_needed() -> None:
    drive, measured = Drive(), ToReady()
    drive.cloud.shares[IMAGES[0]] = Membership.ACCEPTED
    drive.requeue_after = timedelta(seconds=5)

    await drive.step()

    assert measured.seconds == 5


async def test_time_to_ready_of_a_changed_spec_begins_with_the_change() -> None:
    drive = await accepted()
    drive.clock.pass_by(timedelta(days=1))
    measured = ToReady()

    drive.edit(images=list(IMAGES[:2]))
    drive.requeue_after = timedelta(seconds=3)
    await drive.until("Accepted")

    assert measured.seconds == pytest.approx(4, abs=1)


async def test_time_to_ready_of_a_drift_begins_when_it_is_found() -> None:
    drive = await accepted()
    drive.clock.pass_by(timedelta(days=1))
    measured = ToReady()

    drive.cloud.shares[IMAGES[0]] = Membership.REJECTED
    drive.annotate(reconcile_at="1")
    await drive.step()
    await drive.until("Accepted")

    assert measured.seconds == pytest.approx(1, abs=0.5)


async def test_time_to_ready_goes_on_where_the_next_process_takes_over() -> None:
    drive = Drive()
    drive.cloud.fails = [TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)] * 2
    await drive.until("PermissionDenied")
    drive.restart()
    measured = ToReady()
    drive.cloud.fails = []
    await drive.run_for(timedelta(seconds=30))

    drive.credentials.version = "2"
    await drive.until("Accepted")

    assert measured.seconds is not None
    assert measured.seconds > 30


async def test_steady_object_is_not_measured_again() -> None:
    drive = await accepted(spec(interval="5m"))
    measured = ToReady()
    drive.cloud.fails = [RetryableError("HTTP 503")]

    await drive.run_for(timedelta(hours=1))

    assert measured.seconds is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RetryableError("HTTP 503"), "CloudUnavailable"), (ThrottledError("HTTP 429"), "Throttled")],
)
async def test_hiccup_is_counted_by_its_own_reason(error: Exception, reason: str) -> None:
    drive = await accepted(spec(interval="5m"))
    before = {name: sample("retries_total", reason=name) for name in (reason, "Accepted")}
    drive.cloud.fails = [error]

    await drive.run_for(timedelta(minutes=10))

    assert drive.reason == "Accepted"
    assert sample("retries_total", reason=reason) == before[reason] + 1
    assert sample("retries_total", reason="Accepted") == before["Accepted"]


def changes(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and reason of each logged change."""
    return [
        (record.levelname, record.__dict__["reason"])
        for record in caplog.records
        if record.name == LOGGER and "reason" in record.__dict__
    ]


@pytest.mark.parametrize(
    ("failure", "reason", "expected"),
    [
        (None, "Accepted", [("INFO", "JobRunning"), ("INFO", "Accepted")]),
        (MISSING, "SecretNotFound", [("ERROR", "SecretNotFound")]),
        (RetryableError("HTTP 503"), "CloudUnavailable", [("WARNING", "CloudUnavailable")]),
        ("not shared", "NotShared", [("INFO", "NotShared")]),
    ],
    ids=["success", "needs a user", "retried", "waits for a share"],
)
async def test_change_of_ready_is_logged_with_its_level(
    failure: object,
    reason: str,
    expected: list[tuple[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    drive = Drive()
    if failure == "not shared":
        del drive.cloud.shares[IMAGES[0]]
    elif isinstance(failure, UnusableSecretError):
        drive.credentials.error = failure
    elif isinstance(failure, Exception):
        drive.cloud.fails = [failure] * 9

    await drive.until(reason)

    assert changes(caplog) == expected


async def test_write_that_keeps_ready_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    drive = await accepted()
    caplog.set_level(logging.INFO, LOGGER)
    writes = len(drive.kube.writes)

    drive.annotate(reconcile_at="now")
    await drive.step()

    assert drive.status["lastHandledReconcileAt"] == "now"
    assert len(drive.kube.writes) == writes + 1
    assert changes(caplog) == []
