"""An agency that an access key assumes: its check, its refusals, and how often it is sent."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from fakes import START, Answer, FakeHttpCloud, says
from image_share_operator.api.credentials import AccessKeyCredentials, Identity, RefusedLogin
from image_share_operator.api.errors import (
    CloudError,
    LoginBlockedError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Agency
from image_share_operator.cloud.iam.login_guard import BLOCK_TIME, LOGIN_GAP
from image_share_operator.cloud.iam.signing import SigningForm

pytestmark = pytest.mark.looptime
KEY = AccessKeyCredentials(access_key="AK-marked-1", secret_key="sk-marked-2")
TEMPORARY = replace(KEY, security_token="st-marked-3")
AGENCY = Agency(name="image-sharing", domain_name="customer")
PROJECTS = tuple(f"{number:032x}" for number in range(100))
HOME = "0f0e0d0c0b0a09080706050403020100"
CHECK = "GET /v3/auth/domains"
ASSUME = "POST /v3/auth/tokens"
LOCK_AFTER = 5
"""The cloud locks a key after more refused requests."""


def refuses(request: httpx.Request) -> httpx.Response:
    """As the API gateway does: its text has the access key."""
    text = f"verify aksk signature fail, {request.headers['Authorization']}"
    return says(401, "APIGW.0301", text)(request)


class Cloud(FakeHttpCloud):
    """IAM and IMS, for the projects of another account.

    Attributes:
        check, assume: answer the check of the key, and the requests for an agency token.
    """

    def __init__(self, *, latency_s: float = 0.0, form: SigningForm = SigningForm.SCOPED) -> None:
        super().__init__(self.shows_a_share, signing_form=form)
        self.latency_s = latency_s
        self.check: Answer = self.reports_the_account
        self.assume: Answer = self.issues_a_token

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        await asyncio.sleep(self.latency_s)
        answers = {"/v3/auth/domains": self.check, "/v3/auth/tokens": self.assume}
        return answers.get(request.url.path, self.ims)(request)

    @staticmethod
    def shows_a_share(request: httpx.Request) -> httpx.Response:
        assert request.headers["X-Auth-Token"] == f"token {request.url.path.rpartition('/')[2]}"
        assert "Authorization" not in request.headers
        return httpx.Response(200, json={"status": "pending"})

    @staticmethod
    def reports_the_account(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"domains": [{"id": HOME, "name": "home"}]})

    def issues_a_token(self, request: httpx.Request) -> httpx.Response:
        auth = json.loads(request.content)["auth"]
        assert auth["identity"]["assume_role"] == {
            "domain_name": "customer",
            "agency_name": "image-sharing",
        }
        value = f"token {auth['scope']['project']['id']}"
        body = {"token": {"expires_at": (self.clock.at + timedelta(days=1)).isoformat()}}
        return httpx.Response(201, headers={"X-Subject-Token": value}, json=body)

    def of(self, project: str = PROJECTS[0], key: AccessKeyCredentials = KEY) -> Identity:
        return replace(self.identity(key, project), agency=AGENCY)

    async def read(self, identity: Identity | None = None) -> CloudError | None:
        """Read a membership; return the error, if any."""
        return await self.read_as(identity or self.of())

    async def read_all(self, projects: tuple[str, ...] = PROJECTS) -> list[CloudError | None]:
        return await asyncio.gather(*(self.read(self.of(project)) for project in projects))

    @property
    def signed(self) -> list[str]:
        """The requests with a signature, in their order."""
        return [
            f"{call.method} {call.url.path}"
            for call in self.calls
            if "Authorization" in call.headers
        ]


async def test_all_projects_share_one_check_at_20_requests_per_second() -> None:
    cloud = Cloud()
    loop = asyncio.get_running_loop()
    started = loop.time()

    assert set(await cloud.read_all()) == {None}

    assert cloud.signed.count(CHECK) == 1
    assert cloud.signed.count(ASSUME) == len(PROJECTS)
    assert loop.time() - started >= LOGIN_GAP.total_seconds() * len(PROJECTS)


@pytest.mark.parametrize("form", SigningForm)
async def test_exchange_is_signed_for_the_account_of_the_key(form: SigningForm) -> None:
    cloud = Cloud(form=form)

    assert await cloud.read(cloud.of(key=TEMPORARY)) is None

    check, exchange = (call for call in cloud.calls if "Authorization" in call.headers)
    assert "X-Domain-Id" not in check.headers
    assert exchange.headers["X-Domain-Id"] == HOME
    assert exchange.headers["X-Security-Token"] == "st-marked-3"
    assert "X-Auth-Token" not in exchange.headers
    plain = form is SigningForm.PLAIN
    assert ("x-domain-id" in exchange.headers["Authorization"]) is plain


async def test_wrong_key_is_sent_once_for_many_projects() -> None:
    cloud = Cloud(latency_s=0.3)
    cloud.check = refuses

    errors = await cloud.read_all()
    errors += await cloud.read_all()

    assert cloud.signed == [CHECK]
    assert {type(error) for error in errors} == {LoginBlockedError}
    assert all("accessKey or secretKey is wrong; correct the Secret" in str(e) for e in errors)
    assert "marked" not in "".join(map(str, errors))
    cloud.clock.pass_by(BLOCK_TIME)
    cloud.check = cloud.reports_the_account
    assert await cloud.read() is None


async def test_wrong_key_of_an_earlier_process_is_not_sent() -> None:
    cloud = Cloud()
    known = RefusedLogin(locked=False, of_project=True, of_all=True)

    for project in PROJECTS[:10]:
        cloud.sessions.note_refused_login(cloud.of(project), known)
        assert "login skipped: the cloud refused these" in str(await cloud.read(cloud.of(project)))

    assert cloud.calls == []


async def test_wrong_key_with_and_without_an_agency_is_sent_twice() -> None:
    """The cloud counts all refused requests of a key, those to IAM and those to IMS."""
    cloud = Cloud()
    cloud.check = cloud.ims = refuses

    for project in PROJECTS[:20]:
        await cloud.read(cloud.of(project))
        await cloud.read(replace(cloud.of(project), agency=None))

    assert cloud.signed == [CHECK, "GET /v2/cloudimages"]


@pytest.mark.parametrize("accepted_before", [False, True], ids=["from the start", "later"])
async def test_key_that_ends_is_refused_less_often_than_locks_it(*, accepted_before: bool) -> None:
    """All tokens of the projects are renewed at the same time."""
    cloud = Cloud(latency_s=0.1)
    if accepted_before:
        assert set(await cloud.read_all()) == {None}
        cloud.clock.pass_by(timedelta(days=1))
        cloud.calls.clear()
    cloud.check = cloud.assume = refuses

    for _ in range(3):
        assert None not in await cloud.read_all()
        cloud.clock.pass_by(timedelta(minutes=1))

    assert len(cloud.signed) == (2 if accepted_before else 1) < LOCK_AFTER


@pytest.mark.parametrize(
    ("answer", "key", "reason", "message"),
    [
        (refuses, KEY, "CredentialsInvalid", "accessKey or secretKey is wrong; correct the Secret"),
        (
            says(401, "APIGW.0301", "AK access failed to reach the limit,forbidden."),
            KEY,
            "AccountLocked",
            "the access key is locked after refused requests",
        ),
        (says(401, "IAM.0061"), KEY, "AccountLocked", "the access key is locked"),
        (says(400, "IAM.1108"), TEMPORARY, "CredentialsInvalid", "temporary access key has expir"),
        (says(400, "IAM.1107"), KEY, "CredentialsInvalid", "the access key is inactive; enable it"),
        (says(403, "IAM.0002"), KEY, "PermissionDenied", "its user has no access to the API"),
        (says(404, "APIGW.0101"), KEY, "InvalidRequest", "check spec.endpoints.iam"),
    ],
    ids=["wrong", "locked", "account locked", "ended", "inactive", "denied", "no such route"],
)
async def test_refused_check_is_reported_with_its_cause(
    answer: Answer, key: AccessKeyCredentials, reason: str, message: str
) -> None:
    cloud = Cloud()
    cloud.check = answer

    error = await cloud.read(cloud.of(key=key))

    assert isinstance(error, TerminalError)
    assert error.reason == reason
    assert message in str(error)
    assert "marked" not in str(error)


@pytest.mark.parametrize(
    "body",
    [{}, {"domains": []}, {"domains": [{"id": HOME}, {"id": "b"}]}, {"domains": [{"id": "a b"}]}],
)
async def test_check_without_one_account_is_reported(body: object) -> None:
    cloud = Cloud()
    cloud.check = lambda _: httpx.Response(200, json=body)

    error = await cloud.read()

    assert isinstance(error, RetryableError)
    assert "accounts for the access key; one is expected" in str(error)
    assert ASSUME not in cloud.signed


async def test_clock_skew_is_reported_and_sent_three_times_in_15_minutes() -> None:
    cloud = Cloud(latency_s=0.1)
    cloud.check = says(401, "APIGW.0301", "no", START + timedelta(hours=1))

    for _ in range(15):
        errors = await cloud.read_all(PROJECTS[:10])
        assert all("the clock of the operator is about" in str(error) for error in errors)
        cloud.clock.pass_by(timedelta(minutes=1))

    assert cloud.signed == [CHECK] * 3


async def test_exchange_that_is_refused_once_is_sent_again_after_a_check() -> None:
    cloud = Cloud()
    assert await cloud.read() is None
    cloud.calls.clear()

    def refuses_once(request: httpx.Request) -> httpx.Response:
        cloud.assume = cloud.issues_a_token
        return refuses(request)

    cloud.assume = refuses_once

    assert set(await cloud.read_all(PROJECTS[1:50])) == {None}
    assert cloud.signed == [ASSUME, CHECK, *[ASSUME] * 49]


async def test_agency_that_refuses_a_valid_key_blocks_its_project_only() -> None:
    """Some installations return 401 for a project that does not exist."""
    cloud = Cloud()

    def refuses_a_project(request: httpx.Request) -> httpx.Response:
        unknown = PROJECTS[0] in request.content.decode()
        return says(401, "IAM.0001")(request) if unknown else cloud.issues_a_token(request)

    cloud.assume = refuses_a_project

    first, *others = await cloud.read_all(PROJECTS[:30])
    assert await cloud.read() is not None

    assert set(others) == {None}
    assert isinstance(first, TerminalError)
    assert "user of the access key as agency image-sharing of account customer" in str(first)
    assert "although the key is valid; check spec.agency and spec.projectID" in str(first)
    assert cloud.signed.count(CHECK) == 3  # at first, and after each of the two refusals
    assert cloud.signed.count(ASSUME) == 29 + 2


@pytest.mark.parametrize(
    ("status", "code", "reason", "words"),
    [
        (403, "IAM.0003", Reason.PERMISSION_DENIED, "grant it the permission Agent Operator"),
        (404, "IAM.0004", Reason.INVALID_REQUEST, "correct spec.agency or spec.projectID"),
    ],
)
async def test_refused_agency_says_what_to_do_and_checks_no_key(
    status: int, code: str, reason: Reason, words: str
) -> None:
    cloud = Cloud()
    cloud.assume = says(status, code, "AK-marked-1")

    error = await cloud.read()
    await cloud.read()

    assert isinstance(error, TerminalError)
    assert error.reason is reason
    assert words in str(error)
    assert "marked" not in str(error)
    assert cloud.signed == [CHECK, ASSUME]


async def test_other_field_is_tried_once_and_signed() -> None:
    cloud = Cloud()
    fields: list[str] = []

    def knows_xrole_name(request: httpx.Request) -> httpx.Response:
        role = json.loads(request.content)["auth"]["identity"]["assume_role"]
        fields.extend(set(role) - {"domain_name"})
        if "agency_name" in role:
            return says(400, "IAM.0072")(request)
        content = request.content.replace(b"xrole_name", b"agency_name")
        return cloud.issues_a_token(httpx.Request("POST", request.url, content=content))

    cloud.assume = knows_xrole_name

    assert set(await cloud.read_all(PROJECTS[:3])) == {None}

    assert fields == ["agency_name", *["xrole_name"] * 3]
    signatures = {
        call.headers["Authorization"] for call in cloud.calls if "Authorization" in call.headers
    }
    assert len(signatures) == 5


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(says(503, "IAM.0006"), RetryableError), (says(429, "IAM.0012"), ThrottledError)],
)
async def test_outage_of_iam_is_reported_as_such(answer: Answer, kind: type[CloudError]) -> None:
    cloud = Cloud()
    cloud.check = answer
    assert type(await cloud.read()) is kind
    cloud.check, cloud.assume = cloud.reports_the_account, answer
    cloud.clock.pass_by(timedelta(minutes=10))

    assert type(await cloud.read()) is kind
