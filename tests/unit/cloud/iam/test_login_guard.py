"""Wrong credentials are sent to IAM twice at most, for all projects: IAM locks accounts."""

import asyncio
import itertools
from collections.abc import Iterable
from datetime import timedelta

import httpx
import pytest

from fakes import FakeHttpCloud
from image_share_operator.api.credentials import (
    Credentials,
    Identity,
    PasswordCredentials,
    RefusedLogin,
)
from image_share_operator.api.errors import (
    CloudError,
    LoginBlockedError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Membership
from image_share_operator.cloud.http.throttle import MAX_WAIT
from image_share_operator.cloud.iam.login_guard import BLOCK_TIME

pytestmark = pytest.mark.looptime
WRONG = PasswordCredentials(user_name="u", password="wrong", domain_name="d")
PROJECTS = tuple(f"{number:032x}" for number in range(40))


def refuses(_: str) -> httpx.Response:
    return httpx.Response(401, json={"error": {"code": 401}})


def locks(_: str) -> httpx.Response:
    return httpx.Response(401, json={"error_code": "IAM.0061"})


def throttles(_: str) -> httpx.Response:
    return httpx.Response(429, json={"error_code": "IAM.0012"})


def wrong_project(_: str) -> httpx.Response:
    return httpx.Response(404, json={"error_code": "IAM.0004"})


class Cloud(FakeHttpCloud):
    """Many projects of one user: IMS has one share."""

    def __init__(self, **limits: int) -> None:
        super().__init__(self.share, latency_s=0.3, **limits)
        self.refused_tokens: set[str] = set()

    def share(self, request: httpx.Request) -> httpx.Response:
        if request.headers["X-Auth-Token"] in self.refused_tokens:
            return httpx.Response(401, json={"error_code": "APIGW.0301"})
        return httpx.Response(200, json={"status": "pending"})

    def of(self, project: str, credentials: Credentials = WRONG, **changes: str | None) -> Identity:
        return self.identity(credentials, project, **changes)

    async def read(self, identity: Identity) -> CloudError | None:
        """Read a membership; return the error, if any."""
        try:
            found = await self.sessions.session(identity).members(("i",), timedelta())
        except CloudError as exc:
            return exc
        assert found == {"i": Membership.PENDING}
        return None

    async def read_all(self, projects: Iterable[str] = PROJECTS) -> list[CloudError | None]:
        return list(await asyncio.gather(*(self.read(self.of(one)) for one in projects)))


def reasons(errors: Iterable[CloudError | None]) -> set[Reason | None]:
    return {error.reason if isinstance(error, TerminalError) else None for error in errors}


async def test_wrong_password_is_sent_twice_for_many_projects_at_once() -> None:
    cloud = Cloud()
    cloud.login = refuses

    errors = await cloud.read_all()

    assert len(cloud.logins) == 2
    assert reasons(errors) == {Reason.CREDENTIALS_INVALID}
    assert sum("login skipped" in str(error) for error in errors) == len(PROJECTS) - 2
    assert "wrong" not in "".join(str(error).replace("is wrong", "") for error in errors)


async def test_blocked_login_names_the_time_of_the_next_one() -> None:
    cloud = Cloud()
    cloud.login = refuses
    identity = cloud.of(PROJECTS[0])
    first = await cloud.read(identity)

    until = set[object]()
    for _ in range(3):
        error = await cloud.read(identity)
        assert isinstance(error, LoginBlockedError)
        assert str(error) == str(first)
        until.add(error.until)
        cloud.clock.pass_by(timedelta(minutes=6))

    assert until == {cloud.clock.at - timedelta(minutes=18) + BLOCK_TIME}
    assert isinstance(first, LoginBlockedError)
    assert {first.until} == until


async def test_wrong_password_is_sent_twice_for_projects_in_sequence() -> None:
    cloud = Cloud()
    cloud.login = refuses

    for project in PROJECTS:
        assert await cloud.read(cloud.of(project)) is not None
        cloud.clock.pass_by(timedelta(seconds=20))

    assert len(cloud.logins) == 2


@pytest.mark.parametrize(
    ("iam", "ca"),
    [("https://IAM.test", None), ("https://iam.test:443", None), ("https://iam.test.", None)],
)
async def test_spelling_of_the_endpoint_does_not_bypass_the_guard(iam: str, ca: str | None) -> None:
    cloud = Cloud()
    cloud.login = locks
    await cloud.read(cloud.of(PROJECTS[0]))

    error = await cloud.read(cloud.of(PROJECTS[1], iam=iam, ca=ca, ims="https://other.test"))

    assert reasons([error]) == {Reason.ACCOUNT_LOCKED}
    assert len(cloud.logins) == 1


async def test_other_endpoint_and_other_password_are_not_blocked() -> None:
    cloud = Cloud()
    cloud.login = locks
    await cloud.read(cloud.of(PROJECTS[0]))
    cloud.login = cloud.token

    other = PasswordCredentials(user_name="u", password="right", domain_name="d")
    assert await cloud.read(cloud.of(PROJECTS[0], other)) is None
    assert await cloud.read(cloud.of(PROJECTS[0], iam="https://iam.other")) is None


async def test_locked_account_blocks_all_projects() -> None:
    cloud = Cloud()
    cloud.login = locks

    errors = await cloud.read_all()

    assert len(cloud.logins) == 1
    assert reasons(errors) == {Reason.ACCOUNT_LOCKED}


async def test_refused_credentials_are_sent_twice_again_after_the_block() -> None:
    cloud = Cloud()
    cloud.login = refuses
    await cloud.read_all()

    cloud.clock.pass_by(BLOCK_TIME)
    await cloud.read_all()
    assert len(cloud.logins) == 4
    cloud.clock.pass_by(BLOCK_TIME)
    cloud.login = cloud.token

    assert await cloud.read_all() == [None] * len(PROJECTS)


async def test_refused_project_does_not_block_other_projects() -> None:
    """Some clouds return 401 for a project that the user has no access to."""
    cloud = Cloud()
    bad = PROJECTS[0]
    cloud.login = lambda project: (refuses if project == bad else cloud.token)(project)

    errors = await cloud.read_all()
    assert errors == [errors[0], *[None] * (len(PROJECTS) - 1)]
    await cloud.read(cloud.of(bad))

    assert cloud.logins.count(bad) == 1


async def test_successful_login_resets_the_first_refusal() -> None:
    cloud = Cloud()
    bad = PROJECTS[:2]
    cloud.login = lambda project: (refuses if project in bad else cloud.token)(project)

    for project in (PROJECTS[0], PROJECTS[2], PROJECTS[1], PROJECTS[3]):
        await cloud.read(cloud.of(project))

    assert await cloud.read(cloud.of(PROJECTS[4])) is None


async def test_refusal_before_the_block_time_does_not_count() -> None:
    cloud = Cloud()
    cloud.login = refuses
    await cloud.read(cloud.of(PROJECTS[0]))
    cloud.clock.pass_by(BLOCK_TIME)
    await cloud.read(cloud.of(PROJECTS[1]))
    cloud.login = cloud.token

    assert await cloud.read(cloud.of(PROJECTS[2])) is None


async def test_wrong_projects_block_only_themselves() -> None:
    cloud = Cloud()
    cloud.login = lambda project: (wrong_project if project < PROJECTS[20] else cloud.token)(
        project
    )

    results = [await cloud.read_all() for _ in range(3)]

    assert all(errors[20:] == [None] * 20 for errors in results)
    assert len(cloud.logins) == len(PROJECTS)


async def test_password_changed_in_iam_is_sent_twice_for_all_old_tokens() -> None:
    cloud = Cloud()
    await cloud.read_all()
    cloud.refused_tokens = {f"token-{number + 1}-{one}" for number, one in enumerate(cloud.logins)}
    cloud.login = refuses
    cloud.logins.clear()

    errors = await cloud.read_all()

    assert len(cloud.logins) == 2
    assert reasons(errors) == {Reason.CREDENTIALS_INVALID}


async def test_old_tokens_are_used_while_their_renewal_is_refused() -> None:
    cloud = Cloud()
    await cloud.read_all()
    cloud.logins.clear()
    cloud.login = refuses
    cloud.clock.pass_by(timedelta(hours=23, minutes=50))

    assert await cloud.read_all() == [None] * len(PROJECTS)
    cloud.clock.pass_by(timedelta(minutes=9))
    assert await cloud.read_all() == [None] * len(PROJECTS)
    assert len(cloud.logins) == 2
    cloud.clock.pass_by(timedelta(minutes=2))

    assert reasons(await cloud.read_all()) == {Reason.CREDENTIALS_INVALID}
    assert len(cloud.logins) == 2


async def test_slow_login_is_awaited_once_by_all_projects() -> None:
    cloud = Cloud()
    loop = asyncio.get_running_loop()

    def unavailable(_: str) -> httpx.Response:
        return httpx.Response(503)

    cloud.login = unavailable
    began = loop.time()
    errors = await cloud.read_all()

    assert all(isinstance(error, RetryableError) for error in errors)
    assert len(cloud.logins) == 1
    assert loop.time() - began < 1


@pytest.mark.parametrize("objects", [1, 60])
async def test_throttled_logins_back_off_for_any_number_of_callers(objects: int) -> None:
    """Status 429 for ten minutes, without ``Retry-After``."""
    cloud = Cloud()
    cloud.login = throttles
    end = cloud.clock.at + timedelta(minutes=10)

    for project in itertools.cycle(PROJECTS):
        if cloud.clock.at >= end:
            break
        error = await cloud.read(cloud.of(project))
        assert isinstance(error, ThrottledError)
        cloud.clock.pass_by(timedelta(seconds=60 / objects))

    assert len(cloud.logins) <= 7 + timedelta(minutes=10) / MAX_WAIT


async def test_throttled_logins_wait_for_retry_after() -> None:
    cloud = Cloud()
    cloud.login = lambda _: httpx.Response(429, headers={"Retry-After": "90"})
    await cloud.read_all()

    cloud.clock.pass_by(timedelta(seconds=89))
    await cloud.read_all()
    assert len(cloud.logins) == 1
    cloud.clock.pass_by(timedelta(seconds=1))
    cloud.login = cloud.token

    assert await cloud.read_all() == [None] * len(PROJECTS)


async def test_many_other_identities_do_not_remove_a_block() -> None:
    cloud = Cloud(max_identities=3)
    cloud.login = refuses
    await cloud.read_all(PROJECTS[:2])
    cloud.login = cloud.token

    for number in range(10):
        other = PasswordCredentials(user_id=f"u{number}", password="p")
        assert await cloud.read(cloud.of(PROJECTS[0], other)) is None

    assert reasons(await cloud.read_all()) == {Reason.CREDENTIALS_INVALID}
    assert len(cloud.logins) == 12


TWO = RefusedLogin(locked=False, of_project=False, of_all=True)
ONE = RefusedLogin(locked=False, of_project=False, of_all=False)
OWN = RefusedLogin(locked=False, of_project=True, of_all=False)
LOCK = RefusedLogin(locked=True, of_project=False, of_all=True)


@pytest.mark.parametrize(
    ("refused_login", "reason"), [(TWO, Reason.CREDENTIALS_INVALID), (LOCK, Reason.ACCOUNT_LOCKED)]
)
async def test_refusal_of_an_earlier_process_blocks_for_the_block_time(
    refused_login: RefusedLogin, reason: Reason
) -> None:
    cloud = Cloud()
    cloud.sessions.note_refused_login(cloud.of(PROJECTS[0]), refused_login)

    assert reasons(await cloud.read_all()) == {reason}
    assert cloud.logins == []
    cloud.clock.pass_by(BLOCK_TIME)
    cloud.sessions.note_refused_login(cloud.of(PROJECTS[0]), refused_login)

    assert await cloud.read_all() == [None] * len(PROJECTS)


async def test_one_refusal_of_an_earlier_process_leaves_one_login() -> None:
    cloud = Cloud()
    cloud.login = refuses
    cloud.sessions.note_refused_login(cloud.of(PROJECTS[0]), ONE)

    assert reasons(await cloud.read_all()) == {Reason.CREDENTIALS_INVALID}
    assert len(cloud.logins) == 1


async def test_refused_project_of_an_earlier_process_is_blocked_alone() -> None:
    cloud = Cloud()
    cloud.sessions.note_refused_login(cloud.of(PROJECTS[0]), OWN)

    errors = await cloud.read_all()

    assert reasons(errors[:1]) == {Reason.CREDENTIALS_INVALID}
    assert errors[1:] == [None] * (len(PROJECTS) - 1)


async def test_refusal_of_an_earlier_process_is_ignored_after_a_success() -> None:
    cloud = Cloud()
    await cloud.read(cloud.of(PROJECTS[0]))

    cloud.sessions.note_refused_login(cloud.of(PROJECTS[1]), TWO)

    assert await cloud.read_all() == [None] * len(PROJECTS)
