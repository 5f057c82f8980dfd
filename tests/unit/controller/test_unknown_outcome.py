"""A batch whose answer never came: looked for until it shows or surely was not taken."""

from datetime import timedelta

import pytest
from drive import IMAGES, START, Drive, accepted, spec

from image_share_operator.api.errors import (
    KubeConflictError,
    KubeRetryableError,
    OutcomeUnknownError,
    RetryableError,
)
from image_share_operator.api.types import Decision, Membership

ACCEPTED, REJECTED = Membership.ACCEPTED, Membership.REJECTED
MINUTE = timedelta(minutes=1)
LOST = OutcomeUnknownError("PUT: connection lost")
BROKEN = OutcomeUnknownError("PUT: HTTP 500", answered=True)


def orders(drive: Drive) -> list[Decision]:
    return [job.decision for job in drive.cloud.jobs.values()]


async def test_lost_response_is_in_the_status() -> None:
    drive = Drive(spec(IMAGES[:2]))
    drive.cloud.lost = 1

    await drive.step()

    assert drive.status["unanswered"] == {
        "decision": "Accept",
        "images": list(IMAGES[:2]),
        "since": "2026-01-31T12:00:00.000Z",
        "until": "2026-01-31T12:01:00.000Z",
    }
    assert drive.status["observedGeneration"] == 1
    assert drive.reason == "JobRunning"
    assert "its outcome is unknown" in drive.ready["message"]
    assert "job" not in drive.status


async def test_answer_that_comes_costs_no_third_write() -> None:
    drive = Drive(spec(IMAGES[:2]))

    await drive.until("Accepted")

    assert len(drive.kube.writes) == 2
    assert not any("unanswered" in write for write in drive.kube.writes)


@pytest.mark.parametrize("takes_s", [0, 2, 8, 45])
async def test_batch_whose_answer_was_lost_is_not_sent_twice(takes_s: int) -> None:
    drive = Drive(spec(IMAGES[:3]))
    drive.cloud.lost = 1
    drive.cloud.job_takes = timedelta(seconds=takes_s)

    await drive.until("Accepted")

    assert drive.cloud.puts == [IMAGES[:3]]
    assert "unanswered" not in drive.status
    assert len(drive.kube.writes) == 2
    assert drive.clock.at - START <= timedelta(seconds=takes_s * 1.25 + 2)


@pytest.mark.parametrize("takes_s", [8, 45])
async def test_next_process_looks_for_what_the_last_one_sent(takes_s: int) -> None:
    drive = Drive()
    drive.cloud.lost = 1
    drive.cloud.job_takes = timedelta(seconds=takes_s)
    await drive.step()

    drive.restart()
    await drive.step()
    assert drive.clock.at == START
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 1
    assert drive.clock.at - START <= timedelta(seconds=takes_s * 1.25 + 2)


@pytest.mark.parametrize(
    ("error", "after_s"), [(LOST, 60), (BROKEN, 10)], ids=["no answer", "a 5xx"]
)
async def test_batch_that_was_not_taken_is_sent_again(error: Exception, after_s: int) -> None:
    drive = Drive()
    drive.cloud.fails = [None, error]

    while not drive.cloud.puts:
        await drive.step()

    assert timedelta() <= drive.clock.at - START - timedelta(seconds=after_s)
    assert drive.clock.at - START <= timedelta(seconds=after_s + 6)
    await drive.until("Accepted")
    assert "unanswered" not in drive.status


async def test_lost_answers_in_a_row_are_trouble_and_ever_rarer() -> None:
    drive = Drive()
    drive.cloud.inert = True
    drive.cloud.lost = 1000

    await drive.run_for(timedelta(hours=1))

    assert 10 < len(drive.cloud.puts) < 30
    assert drive.reason == "CloudUnavailable"
    assert drive.condition("Reconciling") is not None


async def test_trouble_while_looking_does_not_send_before_the_time() -> None:
    drive = Drive()
    drive.cloud.lost = 1
    drive.cloud.job_takes = timedelta(seconds=30)
    await drive.step()

    drive.cloud.fails = [RetryableError("HTTP 502")] * 3
    await drive.until("CloudUnavailable")
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 1


async def test_asking_for_a_pass_sends_nothing_before_the_time() -> None:
    drive = Drive()
    drive.cloud.lost = 1
    drive.cloud.job_takes = timedelta(seconds=30)
    await drive.step()

    drive.annotate(reconcile_at="now")
    await drive.until("Accepted")

    assert len(drive.cloud.puts) == 1


@pytest.mark.parametrize("was", [Membership.PENDING, REJECTED], ids=str)
@pytest.mark.parametrize("edit_s", [0, 5, 25])
async def test_late_accept_does_not_win_over_a_reject_that_came_after_it(
    was: Membership, edit_s: int
) -> None:
    """The lost Accept takes effect 30 s after it was sent."""
    drive = Drive()
    drive.cloud.shares[IMAGES[0]] = was
    drive.cloud.lost = 1
    drive.cloud.job_takes = timedelta(seconds=30)
    await drive.step()
    await drive.run_for(timedelta(seconds=edit_s))

    drive.cloud.job_takes = timedelta(seconds=1)
    drive.edit(decision="Reject")
    await drive.until("Rejected", passes=200)
    told = drive.clock.at
    await drive.run_for(timedelta(minutes=30))

    assert drive.cloud.shares[IMAGES[0]] is REJECTED
    assert drive.reason == "Rejected"
    assert told - START > timedelta(seconds=30)
    assert told - START < timedelta(seconds=75)
    assert orders(drive) == [Decision.ACCEPT, Decision.REJECT]
    assert "unanswered" not in drive.status


@pytest.mark.parametrize("takes_s", [1, 20])
async def test_next_process_knows_that_the_lost_order_came_after_the_last_job(takes_s: int) -> None:
    """It can't know when that job, of the other decision, has settled: long before, here."""
    drive = await accepted()
    await drive.run_for(timedelta(minutes=2))
    drive.cloud.lost = 1
    drive.cloud.job_takes = timedelta(seconds=takes_s)
    drive.edit(decision="Reject")
    await drive.step()

    for _ in range(2):
        drive.restart()
        await drive.run_for(timedelta(seconds=10))
    await drive.until("Rejected", passes=200)
    drive.restart()
    await drive.run_for(timedelta(hours=3))

    assert orders(drive) == [Decision.ACCEPT, Decision.REJECT]
    assert drive.reason == "Rejected"


async def test_own_order_is_final_where_the_lost_one_never_shows() -> None:
    drive = Drive()
    drive.cloud.shares[IMAGES[0]] = REJECTED
    drive.cloud.fails = [None, LOST]
    await drive.step()

    drive.edit(decision="Reject")
    await drive.until("Rejected", passes=200)

    assert orders(drive) == [Decision.REJECT]
    assert drive.clock.at - START >= MINUTE
    assert "unanswered" not in drive.status


async def test_suspended_resource_is_not_ready_while_the_opposite_may_come() -> None:
    drive = Drive(spec(decision="Reject"))
    await drive.until("Rejected")
    drive.edit(decision="Accept")
    drive.cloud.fails = [None, LOST]
    await drive.step()

    drive.edit(decision="Reject", suspend=True)
    await drive.step()

    assert drive.ready["status"] != "True"


async def test_image_that_is_not_shared_any_more_is_not_looked_for() -> None:
    drive = Drive()
    drive.cloud.fails = [None, LOST]
    await drive.step()
    del drive.cloud.shares[IMAGES[0]]

    await drive.until("NotShared")

    assert "unanswered" not in drive.status


async def test_time_that_is_out_of_all_bounds_holds_nothing_up() -> None:
    """The clock of the process before was wrong."""
    drive = Drive()
    drive.cloud.fails = [None, LOST]
    await drive.step()
    drive.kube.body["status"]["unanswered"]["until"] = "2027-01-01T00:00:00.000Z"

    drive.restart()
    await drive.until("Accepted")

    assert drive.clock.at - START < MINUTE


@pytest.mark.looptime
@pytest.mark.parametrize(
    "failure",
    [KubeRetryableError("HTTP 503"), KubeConflictError("HTTP 409")],
    ids=["API server away", "edited meanwhile"],
)
async def test_batch_is_put_on_record_although_the_first_write_of_it_fails(
    failure: Exception,
) -> None:
    """At the end of the process there is no other reconcile."""
    drive = Drive()
    drive.cloud.lost = 1
    drive.kube.fails = [failure, failure]
    with pytest.raises(KubeRetryableError):
        await drive.step()

    await drive.reconciler.status_writer.save_all()

    assert drive.status["unanswered"]["images"] == [IMAGES[0]]
    assert drive.cloud.polls == 0
