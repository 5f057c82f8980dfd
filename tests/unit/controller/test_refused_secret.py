"""What one process found out about a Secret, the next one does not try out again."""

from datetime import timedelta

import pytest
from drive import IMAGES, KEY, PROJECT, Drive, spec, told

from image_share_operator.api.credentials import RefusedLogin
from image_share_operator.api.errors import LoginBlockedError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Desired, Status
from image_share_operator.controller.login_history import MAX_SECRETS, LoginHistory

REFUSED = TerminalError("401", reason=Reason.CREDENTIALS_INVALID)
OTHER, THIRD = "1" * 32, "2" * 32


async def refused(drive: Drive) -> int:
    """Let the login of the object be refused from now on; return how many tries are left."""
    drive.cloud.fails = [REFUSED] * 99
    await drive.until("CredentialsInvalid")
    return len(drive.cloud.fails)


@pytest.mark.parametrize(
    ("sent", "job_takes", "then"),
    [
        (False, timedelta(seconds=1), "Accepted"),
        (True, timedelta(seconds=1), "Accepted"),
        (True, timedelta(days=2), "JobTimeout"),
    ],
    ids=["there is no job yet", "a job to ask for", "a job that is stuck"],
)
async def test_refused_secret_is_not_tried_again_by_the_next_process(
    sent: bool, job_takes: timedelta, then: str
) -> None:
    drive = Drive()
    drive.cloud.job_takes = job_takes
    if sent:
        await drive.step()
    tried = await refused(drive)

    for _ in range(5):
        drive.restart()
        await drive.run_for(timedelta(minutes=5))

    assert len(drive.cloud.fails) == tried
    drive.cloud.fails = []
    drive.credentials.version = "2"
    await drive.run_for(timedelta(minutes=1))
    assert drive.reason == then


async def test_refused_secret_is_tried_again_in_the_end_although_the_job_is_not_settled() -> None:
    drive = Drive()
    drive.cloud.job_takes = timedelta(minutes=5)
    await drive.step()
    await refused(drive)
    drive.cloud.fails = []
    drive.restart()

    await drive.run_for(timedelta(minutes=40))

    assert drive.reason == "Accepted"


async def test_overdue_job_is_polled_at_once_by_the_next_process() -> None:
    drive = Drive(spec(timeout="1m"))
    drive.cloud.job_takes = timedelta(days=2)
    await drive.until("JobTimeout")
    polls = drive.cloud.polls

    drive.restart()
    await drive.step()

    assert drive.cloud.polls == polls + 1
    assert "secretVersion" not in drive.status


async def test_new_process_doubts_what_it_is_asked_to_try_again() -> None:
    drive = Drive()
    await refused(drive)
    drive.restart()

    drive.annotate(reconcile_at="now")
    await drive.step()

    assert drive.cloud.login_history == [RefusedLogin(locked=False, of_project=True, of_all=False)]


async def test_retry_that_is_held_back_names_the_time_of_the_next_login() -> None:
    drive = Drive()
    await refused(drive)
    until = drive.clock.at + timedelta(minutes=20)
    blocked = LoginBlockedError("HTTP 401", reason=Reason.CREDENTIALS_INVALID, until=until)
    drive.cloud.fails = [blocked] * 9

    for retry in "12":
        drive.annotate(reconcile_at=retry)
        await drive.step()

        assert drive.ready["message"] == (
            "Secret otc: HTTP 401. The operator does not use these credentials before "
            f"{until:%H:%M} UTC; it uses others at once when they are in the Secret."
        )


async def test_changed_secret_is_not_doubted() -> None:
    drive = Drive()
    await refused(drive)
    drive.restart()

    drive.credentials.version = "2"
    await drive.run_for(timedelta(minutes=1))

    assert drive.cloud.login_history == []


async def test_changed_secret_is_used_when_all_resources_are_known() -> None:
    """A new process waits for them before it removes images."""
    drive = Drive(spec(removalPolicy="Reject"))
    await refused(drive)
    drive.cloud.fails = []
    drive.restart()
    drive.reconciler.is_synced = lambda: False
    drive.credentials.version = "2"
    await drive.run_for(timedelta(seconds=10))
    assert drive.reason == "CredentialsInvalid"

    drive.reconciler.is_synced = lambda: True
    await drive.run_for(timedelta(minutes=1))

    assert drive.reason == "Accepted"


def desired(project: str = PROJECT, **changes: object) -> Desired:
    return Desired.parse({**spec(IMAGES[:1], **changes), "projectID": project}, 1)


def refused_login(statuses: dict[str, Status], project: str = PROJECT) -> RefusedLogin | None:
    """What a process that found these statuses, by project, fears of version 7."""
    login_history = LoginHistory()
    for one, status in statuses.items():
        login_history.note(KEY.namespace, desired(one), status)
    return login_history.of(KEY.namespace, desired(project), "7")


INVALID, LOCKED = told(Reason.CREDENTIALS_INVALID), told(Reason.ACCOUNT_LOCKED)
READY = told(Reason.ACCEPTED, version=None)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({}, None),
        ({OTHER: READY}, None),
        ({OTHER: told(Reason.PERMISSION_DENIED)}, None),
        ({OTHER: told(Reason.CREDENTIALS_INVALID, version="6")}, None),
        ({OTHER: told(Reason.CREDENTIALS_INVALID, generation=2)}, None),
        ({PROJECT: INVALID}, RefusedLogin(locked=False, of_project=True, of_all=False)),
        ({OTHER: INVALID}, RefusedLogin(locked=False, of_project=False, of_all=False)),
        ({OTHER: LOCKED}, RefusedLogin(locked=True, of_project=False, of_all=True)),
        (
            {OTHER: INVALID, THIRD: INVALID},
            RefusedLogin(locked=False, of_project=False, of_all=True),
        ),
        (
            {OTHER: INVALID, THIRD: INVALID, PROJECT: READY},
            RefusedLogin(locked=False, of_project=False, of_all=False),
        ),
    ],
    ids=[
        "nothing is known",
        "another is ready",
        "a right is missing",
        "another version was refused",
        "the spec was changed since",
        "refused for this project",
        "refused for another project",
        "the account was locked",
        "refused for two projects",
        "refused for two projects, good for this one",
    ],
)
def test_doubts_of_a_secret(statuses: dict[str, Status], expected: RefusedLogin | None) -> None:
    assert refused_login(statuses) == expected


def test_doubts_of_another_iam_or_another_namespace_are_none() -> None:
    login_history = LoginHistory()
    login_history.note(KEY.namespace, desired(), INVALID)

    assert login_history.of("elsewhere", desired(), "7") is None
    assert login_history.of(KEY.namespace, desired(region="eu-nl"), "7") is None


def test_login_with_a_corrected_agency_is_not_expected_to_be_refused() -> None:
    agency = {"name": "shares", "domainName": "customer"}
    login_history = LoginHistory()
    login_history.note(KEY.namespace, desired(agency=agency), INVALID)

    same = login_history.of(KEY.namespace, desired(agency=agency), "7")
    other = login_history.of(KEY.namespace, desired(agency={**agency, "name": "images"}), "7")
    none = login_history.of(KEY.namespace, desired(), "7")

    assert same == RefusedLogin(locked=False, of_project=True, of_all=False)
    assert other == none == RefusedLogin(locked=False, of_project=False, of_all=False)


def test_history_keeps_the_latest_secrets_only() -> None:
    login_history = LoginHistory()
    for number in range(MAX_SECRETS + 100):
        version = told(Reason.CREDENTIALS_INVALID, version=str(number))
        login_history.note(KEY.namespace, desired(), version)

    assert len(login_history) == MAX_SECRETS
    assert login_history.of(KEY.namespace, desired(), "99") is None
    assert login_history.of(KEY.namespace, desired(), "100") is not None
