"""A status that others write over, or that the API server refuses; on the virtual clock."""

from datetime import timedelta
from typing import Any

import pytest
from drive import IMAGES, KEY, Drive, accepted, spec

from image_share_operator.api import status_json
from image_share_operator.api.errors import KubeInvalidError, KubeRetryableError
from image_share_operator.api.types import Membership

REFUSED = KubeInvalidError("patch imageshareacceptances/status: HTTP 422")


def overwrite(drive: Drive, **changes: Any) -> None:
    """Write the status as another client, as `kubectl edit --subresource=status` does."""
    drive.kube.changed(status={**drive.status, **changes})
    if drive.store.observe(drive.kube.body) == KEY:
        drive.requeue_after = timedelta()


async def in_vain(drive: Drive, passes: int) -> None:
    """Do passes whose status is refused."""
    for _ in range(passes):
        drive.requeue_after = timedelta(minutes=1)
        with pytest.raises(KubeInvalidError):
            await drive.step()


@pytest.mark.parametrize("interval", ["1h", "0s"])
async def test_status_changed_by_another_client_is_restored_at_once(interval: str) -> None:
    drive = await accepted(spec(interval=interval))
    right, looks = drive.status, drive.cloud.looks

    overwrite(drive, summary="9/9", conditions=[])
    await drive.step()

    assert drive.status == right
    assert drive.cloud.looks == looks, "the cloud has nothing to do with it"


async def test_status_that_is_gone_comes_back() -> None:
    drive = await accepted(spec(interval="0s"))
    right = drive.status

    drive.kube.body = {key: part for key, part in drive.kube.body.items() if key != "status"}
    drive.store.observe(drive.kube.changed())
    drive.requeue_after = timedelta()
    await drive.step()

    assert drive.status == right


async def test_two_who_write_over_each_other_do_so_once_a_minute() -> None:
    drive = await accepted(spec(interval="0s"))
    right, writes = drive.status, len(drive.kube.writes)

    for _ in range(600):
        if drive.status == right:
            overwrite(drive, summary="9/9")
        await drive.run_for(timedelta(seconds=1))

    assert len(drive.kube.writes) - writes <= 11
    await drive.run_for(timedelta(minutes=1))
    assert drive.status == right


async def test_status_that_its_spoiler_puts_back_needs_no_write() -> None:
    drive = await accepted(spec(interval="0s"))
    right = drive.status
    overwrite(drive, summary="9/9")
    await drive.step()
    overwrite(drive, summary="9/9")
    writes = len(drive.kube.writes)

    overwrite(drive, **right)
    await drive.run_for(timedelta(minutes=5))

    assert len(drive.kube.writes) == writes


async def test_own_write_whose_answer_was_lost_is_not_taken_for_another_s() -> None:
    drive = Drive(spec(interval="0s"))
    await drive.until("JobRunning")
    drive.kube.fails = [KubeRetryableError("no answer")]
    with pytest.raises(KubeRetryableError):
        await drive.until("Accepted")
    entry = drive.store.get(KEY)
    assert entry is not None

    overwrite(drive, **status_json.write(entry.known))
    entry = drive.store.get(KEY)
    assert entry is not None
    assert not entry.overwritten
    drive.requeue_after = timedelta()
    await drive.run_for(timedelta(minutes=5))

    summaries = [row["summary"] for row in drive.kube.writes]
    assert summaries == ["0/1", "1/1"], "once more, to be sure, and no more"


async def test_new_spec_is_worked_for_although_the_status_of_the_old_one_is_refused() -> None:
    drive = Drive()
    drive.kube.fails = [REFUSED] * 99
    with pytest.raises(KubeInvalidError):
        await drive.step()

    drive.edit(images=list(IMAGES[:2]))
    await in_vain(drive, passes=5)
    assert drive.cloud.puts == [IMAGES[:1], IMAGES[1:2]]

    drive.kube.fails = []
    await drive.until("Accepted")
    assert drive.status["summary"] == "2/2"
    assert len(drive.cloud.puts) == 2


async def test_refused_status_of_the_same_spec_sends_nothing_twice() -> None:
    drive = Drive()
    drive.kube.fails = [REFUSED] * 99
    await in_vain(drive, passes=20)
    assert len(drive.cloud.puts) == 1

    drive.restart()
    await in_vain(drive, passes=1)
    drive.kube.fails = []
    await drive.until("Accepted")
    assert len(drive.cloud.puts) == 1, "the next process knows of no job, and looks first"


async def test_status_that_is_refused_is_written_again() -> None:
    """Whatever is wrong with it, the next may be right."""
    drive = Drive()
    drive.kube.fails = [REFUSED, REFUSED, None]
    with pytest.raises(KubeInvalidError):
        await drive.step()
    drive.clock.pass_by(timedelta(seconds=5))

    await drive.step()

    assert drive.reason == "Accepted"


async def test_refused_status_holds_nothing_that_may_go() -> None:
    drive = Drive(spec(deletionPolicy="Reject"))
    await drive.step()
    drive.kube.fails = [REFUSED] * 9
    with pytest.raises(KubeInvalidError):
        await drive.step()
    drive.delete()
    with pytest.raises(KubeInvalidError):
        await drive.step()

    drive.annotate(skip_reject="true")
    await drive.step()

    assert drive.kube.released
    assert drive.cloud.shares[IMAGES[0]] is Membership.PENDING
