"""Wrong credentials are tried twice at most, whoever uses them and wherever: IAM locks accounts."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from drive import Clock

from image_share_operator.api.credentials import (
    Credentials,
    Identity,
    PasswordCredentials,
    RefusedLogin,
)
from image_share_operator.api.errors import (
    CloudError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Endpoints, Membership
from image_share_operator.cloud.http.circuit_breaker import CircuitBreakers
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.throttle import MAX_QUIET
from image_share_operator.cloud.iam.login_guard import REFUSED_FOR
from image_share_operator.cloud.sessions import BatchSettings, Sessions

pytestmark = pytest.mark.looptime
WRONG = PasswordCredentials(user_name="u", password="wrong", domain_name="d")
IAM, IMS = "https://iam.test", "https://ims.test"
PROJECTS = tuple(f"{number:032x}" for number in range(40))

Answer = Callable[[str], httpx.Response]
"""Answers a login that asks for a project."""


def refuses(_: str) -> httpx.Response:
    return httpx.Response(401, json={"error": {"code": 401}})


def locks(_: str) -> httpx.Response:
    return httpx.Response(401, json={"error_code": "IAM.0061"})


def throttles(_: str) -> httpx.Response:
    return httpx.Response(429, json={"error_code": "IAM.0012"})


def wrong_project(_: str) -> httpx.Response:
    return httpx.Response(404, json={"error_code": "IAM.0004"})


class Cloud:
    """Many projects of one user: IAM answers as told, IMS knows one share.

    Attributes:
        logins: the projects that were asked for, in order.
        dead: tokens that IMS does not take any more.
    """

    def __init__(self, **most: int) -> None:
        self.clock = Clock()
        self.answer: Answer = self.token
        self.logins: list[str] = []
        self.dead: set[str] = set()
        self.sessions = Sessions(
            CloudHttpClient(
                client=httpx.AsyncClient(transport=httpx.MockTransport(self._serve)),
                timeout=timedelta(seconds=60),
                circuits=CircuitBreakers(self.clock.now, lambda: 1.0),
            ),
            self.clock.now,
            BatchSettings(window=timedelta(), images=50),
            **most,
        )

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.3)
        if request.url.path == "/v3/auth/tokens":
            body: Any = json.loads(request.content)
            project = body["auth"]["scope"]["project"]["id"]
            self.logins.append(project)
            return self.answer(project)
        if request.headers["X-Auth-Token"] in self.dead:
            return httpx.Response(401, json={"error_code": "APIGW.0301"})
        return httpx.Response(200, json={"status": "pending"})

    def token(self, project: str) -> httpx.Response:
        at = self.clock.at
        return httpx.Response(
            201,
            headers={"X-Subject-Token": f"token-{len(self.logins)}-{project}"},
            json={"token": {"expires_at": (at + timedelta(days=1)).isoformat()}},
        )

    def identity(
        self, project: str, credentials: Credentials = WRONG, **changes: str | None
    ) -> Identity:
        endpoints = Endpoints(iam=changes.get("iam") or IAM, ims=changes.get("ims") or IMS)
        return Identity(
            credentials=credentials, project_id=project, endpoints=endpoints, ca=changes.get("ca")
        )

    async def look(self, identity: Identity) -> CloudError | None:
        """Look at a share; return the error, if any."""
        try:
            found = await self.sessions.session(identity).members(("i",), timedelta())
        except CloudError as exc:
            return exc
        assert found == {"i": Membership.PENDING}
        return None

    async def look_at_all(self, projects: Iterable[str] = PROJECTS) -> list[CloudError | None]:
        return list(await asyncio.gather(*(self.look(self.identity(one)) for one in projects)))


def reasons(errors: Iterable[CloudError | None]) -> set[Reason | None]:
    return {error.reason if isinstance(error, TerminalError) else None for error in errors}


async def test_wrong_password_is_tried_twice_however_many_projects_use_it_at_once() -> None:
    cloud = Cloud()
    cloud.answer = refuses

    errors = await cloud.look_at_all()

    assert len(cloud.logins) == 2
    assert reasons(errors) == {Reason.CREDENTIALS_INVALID}
    assert sum("not tried" in str(error) for error in errors) == len(PROJECTS) - 2
    assert "wrong" not in "".join(str(error).replace("is wrong", "") for error in errors)


async def test_wrong_password_is_tried_twice_by_those_who_come_one_after_another() -> None:
    cloud = Cloud()
    cloud.answer = refuses

    for project in PROJECTS:
        assert await cloud.look(cloud.identity(project)) is not None
        cloud.clock.pass_by(timedelta(seconds=20))

    assert len(cloud.logins) == 2


@pytest.mark.parametrize(
    ("iam", "ca"),
    [("https://IAM.test", None), ("https://iam.test:443", None), ("https://iam.test.", None)],
)
async def test_other_spelling_of_the_endpoint_is_no_way_around(iam: str, ca: str | None) -> None:
    cloud = Cloud()
    cloud.answer = locks
    await cloud.look(cloud.identity(PROJECTS[0]))

    error = await cloud.look(cloud.identity(PROJECTS[1], iam=iam, ca=ca, ims="https://other.test"))

    assert reasons([error]) == {Reason.ACCOUNT_LOCKED}
    assert len(cloud.logins) == 1


async def test_another_iam_and_another_password_are_tried() -> None:
    cloud = Cloud()
    cloud.answer = locks
    await cloud.look(cloud.identity(PROJECTS[0]))
    cloud.answer = cloud.token

    other = PasswordCredentials(user_name="u", password="right", domain_name="d")
    assert await cloud.look(cloud.identity(PROJECTS[0], other)) is None
    assert await cloud.look(cloud.identity(PROJECTS[0], iam="https://iam.other")) is None


async def test_locked_account_holds_all_projects_at_once() -> None:
    cloud = Cloud()
    cloud.answer = locks

    errors = await cloud.look_at_all()

    assert len(cloud.logins) == 1
    assert reasons(errors) == {Reason.ACCOUNT_LOCKED}


async def test_refused_credentials_are_tried_twice_again_when_the_hold_ends() -> None:
    cloud = Cloud()
    cloud.answer = refuses
    await cloud.look_at_all()

    cloud.clock.pass_by(REFUSED_FOR)
    await cloud.look_at_all()
    assert len(cloud.logins) == 4
    cloud.clock.pass_by(REFUSED_FOR)
    cloud.answer = cloud.token

    assert await cloud.look_at_all() == [None] * len(PROJECTS)


async def test_project_that_is_refused_alone_holds_nobody_else() -> None:
    """Some answer 401 to a project that is not the user's."""
    cloud = Cloud()
    bad = PROJECTS[0]
    cloud.answer = lambda project: (refuses if project == bad else cloud.token)(project)

    errors = await cloud.look_at_all()
    assert errors == [errors[0], *[None] * (len(PROJECTS) - 1)]
    await cloud.look(cloud.identity(bad))

    assert cloud.logins.count(bad) == 1


async def test_login_that_works_makes_up_for_a_refused_one() -> None:
    cloud = Cloud()
    bad = PROJECTS[:2]
    cloud.answer = lambda project: (refuses if project in bad else cloud.token)(project)

    for project in (PROJECTS[0], PROJECTS[2], PROJECTS[1], PROJECTS[3]):
        await cloud.look(cloud.identity(project))

    assert await cloud.look(cloud.identity(PROJECTS[4])) is None


async def test_refusal_of_long_ago_does_not_count() -> None:
    cloud = Cloud()
    cloud.answer = refuses
    await cloud.look(cloud.identity(PROJECTS[0]))
    cloud.clock.pass_by(REFUSED_FOR)
    await cloud.look(cloud.identity(PROJECTS[1]))
    cloud.answer = cloud.token

    assert await cloud.look(cloud.identity(PROJECTS[2])) is None


async def test_wrong_projects_hold_only_themselves() -> None:
    cloud = Cloud()
    cloud.answer = lambda project: (wrong_project if project < PROJECTS[20] else cloud.token)(
        project
    )

    rounds = [await cloud.look_at_all() for _ in range(3)]

    assert all(errors[20:] == [None] * 20 for errors in rounds)
    assert len(cloud.logins) == len(PROJECTS)


async def test_password_that_changed_in_the_cloud_is_tried_twice_by_all_who_had_a_token() -> None:
    cloud = Cloud()
    await cloud.look_at_all()
    cloud.dead = {f"token-{number + 1}-{one}" for number, one in enumerate(cloud.logins)}
    cloud.answer = refuses
    cloud.logins.clear()

    errors = await cloud.look_at_all()

    assert len(cloud.logins) == 2
    assert reasons(errors) == {Reason.CREDENTIALS_INVALID}


async def test_old_tokens_serve_on_while_their_renewal_is_refused() -> None:
    cloud = Cloud()
    await cloud.look_at_all()
    cloud.logins.clear()
    cloud.answer = refuses
    cloud.clock.pass_by(timedelta(hours=23, minutes=50))

    assert await cloud.look_at_all() == [None] * len(PROJECTS)
    cloud.clock.pass_by(timedelta(minutes=9))
    assert await cloud.look_at_all() == [None] * len(PROJECTS)
    assert len(cloud.logins) == 2
    cloud.clock.pass_by(timedelta(minutes=2))

    assert reasons(await cloud.look_at_all()) == {Reason.CREDENTIALS_INVALID}
    assert len(cloud.logins) == 2


async def test_login_that_hangs_is_waited_for_once_by_all() -> None:
    cloud = Cloud()
    loop = asyncio.get_running_loop()

    def unavailable(_: str) -> httpx.Response:
        return httpx.Response(503)

    cloud.answer = unavailable
    began = loop.time()
    errors = await cloud.look_at_all()

    assert all(isinstance(error, RetryableError) for error in errors)
    assert len(cloud.logins) == 1
    assert loop.time() - began < 1


@pytest.mark.parametrize("objects", [1, 60])
async def test_throttled_logins_grow_rare_however_many_ask(objects: int) -> None:
    """429 for ten minutes, without a word for how long."""
    cloud = Cloud()
    cloud.answer = throttles
    end = cloud.clock.at + timedelta(minutes=10)

    for project in itertools.cycle(PROJECTS):
        if cloud.clock.at >= end:
            break
        error = await cloud.look(cloud.identity(project))
        assert isinstance(error, ThrottledError)
        cloud.clock.pass_by(timedelta(seconds=60 / objects))

    assert len(cloud.logins) <= 7 + timedelta(minutes=10) / MAX_QUIET


async def test_throttled_logins_wait_as_long_as_they_are_told() -> None:
    cloud = Cloud()
    cloud.answer = lambda _: httpx.Response(429, headers={"Retry-After": "90"})
    await cloud.look_at_all()

    cloud.clock.pass_by(timedelta(seconds=89))
    await cloud.look_at_all()
    assert len(cloud.logins) == 1
    cloud.clock.pass_by(timedelta(seconds=1))
    cloud.answer = cloud.token

    assert await cloud.look_at_all() == [None] * len(PROJECTS)


async def test_crowd_of_other_identities_does_not_make_it_forget_a_refusal() -> None:
    cloud = Cloud(most=3)
    cloud.answer = refuses
    await cloud.look_at_all(PROJECTS[:2])
    cloud.answer = cloud.token

    for number in range(10):
        other = PasswordCredentials(user_id=f"u{number}", password="p")
        assert await cloud.look(cloud.identity(PROJECTS[0], other)) is None

    assert reasons(await cloud.look_at_all()) == {Reason.CREDENTIALS_INVALID}
    assert len(cloud.logins) == 12


TWO = RefusedLogin(locked=False, of_project=False, of_all=True)
ONE = RefusedLogin(locked=False, of_project=False, of_all=False)
OWN = RefusedLogin(locked=False, of_project=True, of_all=False)
LOCK = RefusedLogin(locked=True, of_project=False, of_all=True)


@pytest.mark.parametrize(
    ("refused_login", "reason"), [(TWO, Reason.CREDENTIALS_INVALID), (LOCK, Reason.ACCOUNT_LOCKED)]
)
async def test_what_an_earlier_process_found_out_is_not_tried_for_a_while(
    refused_login: RefusedLogin, reason: Reason
) -> None:
    cloud = Cloud()
    cloud.sessions.note_refused_login(cloud.identity(PROJECTS[0]), refused_login)

    assert reasons(await cloud.look_at_all()) == {reason}
    assert cloud.logins == []
    cloud.clock.pass_by(REFUSED_FOR)
    cloud.sessions.note_refused_login(cloud.identity(PROJECTS[0]), refused_login)

    assert await cloud.look_at_all() == [None] * len(PROJECTS)


async def test_one_refusal_of_an_earlier_process_leaves_one_try() -> None:
    cloud = Cloud()
    cloud.answer = refuses
    cloud.sessions.note_refused_login(cloud.identity(PROJECTS[0]), ONE)

    assert reasons(await cloud.look_at_all()) == {Reason.CREDENTIALS_INVALID}
    assert len(cloud.logins) == 1


async def test_project_that_an_earlier_process_was_refused_is_the_only_one_held() -> None:
    cloud = Cloud()
    cloud.sessions.note_refused_login(cloud.identity(PROJECTS[0]), OWN)

    errors = await cloud.look_at_all()

    assert reasons(errors[:1]) == {Reason.CREDENTIALS_INVALID}
    assert errors[1:] == [None] * (len(PROJECTS) - 1)


async def test_login_that_worked_is_not_doubted_afterwards() -> None:
    cloud = Cloud()
    await cloud.look(cloud.identity(PROJECTS[0]))

    cloud.sessions.note_refused_login(cloud.identity(PROJECTS[1]), TWO)

    assert await cloud.look_at_all() == [None] * len(PROJECTS)
