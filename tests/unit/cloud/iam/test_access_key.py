"""An access key: its check, its refusals, and how often it is sent after one."""

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from fakes import IMAGES, PROJECT, START, Answer, FakeHttpCloud, says
from image_share_operator.api.credentials import AccessKeyCredentials, Identity, RefusedLogin
from image_share_operator.api.errors import (
    CloudError,
    LoginBlockedError,
    OutcomeUnknownError,
    RetryableError,
    TerminalError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Decision, Endpoints
from image_share_operator.cloud.http.no_response import Cause, NoResponseError
from image_share_operator.cloud.iam.login_guard import BLOCK_TIME
from image_share_operator.cloud.iam.signing import SigningForm

pytestmark = pytest.mark.looptime
KEY = AccessKeyCredentials(access_key="AK-marked-1", secret_key="sk-marked-2")
TEMPORARY = replace(KEY, security_token="st-marked-3")
PROJECTS = tuple(f"{number:032x}" for number in range(100))
CHECK = "/v2/cloudimages"
LOCK_AFTER = 5
"""The cloud locks a key after more refused requests."""


def accepts(request: httpx.Request) -> httpx.Response:
    if request.method == "PUT":
        return httpx.Response(200, json={"job_id": "0" * 32})
    lists = request.url.path == CHECK
    return httpx.Response(200, json={"images": []} if lists else {"status": "pending"})


def refuses(request: httpx.Request) -> httpx.Response:
    """As the API gateway does: its text has the access key."""
    key = request.headers["Authorization"]
    text = f"Incorrect IAM authentication information: verify aksk signature fail, {key}"
    return httpx.Response(401, json={"error_code": "APIGW.0301", "error_msg": text})


class Cloud(FakeHttpCloud):
    """Many projects of one access key."""

    def of(self, project: str = PROJECT, key: AccessKeyCredentials = KEY) -> Identity:
        return self.identity(key, project)

    async def read(self, identity: Identity | None = None) -> CloudError | None:
        """Read a membership; return the error, if any."""
        return await self.read_as(identity or self.of())

    @property
    def paths(self) -> list[str]:
        return [f"{call.method} {call.url.path}" for call in self.calls]


async def test_key_is_checked_once_and_then_signs_all_requests() -> None:
    cloud = Cloud(accepts, latency_s=0.1)
    session = cloud.sessions.session(cloud.of())

    await asyncio.gather(*(session.members((image,), timedelta()) for image in IMAGES[:50]))

    assert cloud.logins == []
    assert [call.url.params.get("limit") for call in cloud.calls].count("1") == 1
    assert all(call.headers["Authorization"].startswith("SDK-HMAC") for call in cloud.calls)
    assert {call.headers["X-Project-Id"] for call in cloud.calls} == {PROJECT}
    assert not any("X-Auth-Token" in call.headers for call in cloud.calls)


async def test_wrong_key_is_sent_twice_for_many_projects_at_once() -> None:
    cloud = Cloud(refuses, latency_s=0.3)

    errors = await asyncio.gather(*(cloud.read(cloud.of(project)) for project in PROJECTS))

    assert cloud.paths == [f"GET {CHECK}"] * 2
    assert {type(error) for error in errors} == {LoginBlockedError}
    assert all("accessKey or secretKey is wrong; correct the Secret" in str(e) for e in errors)
    assert "marked" not in "".join(map(str, errors))


async def test_wrong_key_is_checked_once_in_the_block_time_for_one_project() -> None:
    cloud = Cloud(refuses)

    for _ in range(10):
        error = await cloud.read()
        assert isinstance(error, LoginBlockedError)
        assert error.reason is Reason.CREDENTIALS_INVALID
        cloud.clock.pass_by(timedelta(minutes=1))
    assert cloud.paths == [f"GET {CHECK}"]
    cloud.clock.pass_by(BLOCK_TIME)
    cloud.ims = accepts

    assert await cloud.read() is None


async def test_wrong_key_of_an_earlier_process_is_not_sent() -> None:
    cloud = Cloud(refuses)
    known = RefusedLogin(locked=False, of_project=True, of_all=True)

    for project in PROJECTS[:10]:
        cloud.sessions.note_refused_login(cloud.of(project), known)
        error = await cloud.read(cloud.of(project))
        assert "login skipped: the cloud refused these credentials before" in str(error)

    assert cloud.calls == []


async def test_other_key_and_other_endpoint_are_not_blocked() -> None:
    cloud = Cloud(refuses)
    for project in PROJECTS[:2]:
        await cloud.read(cloud.of(project))
    cloud.ims = accepts

    assert await cloud.read(cloud.of(key=replace(KEY, secret_key="right"))) is None
    endpoints = cloud.of().endpoints
    assert isinstance(endpoints, Endpoints)
    elsewhere = replace(endpoints, ims="https://ims.other")
    assert await cloud.read(replace(cloud.of(), endpoints=elsewhere)) is None
    spelled = replace(endpoints, ims="https://IMS.test:443", iam="https://iam.other")
    assert await cloud.read(replace(cloud.of(), endpoints=spelled)) is not None


@pytest.mark.parametrize(
    ("answer", "key", "reason", "message"),
    [
        (refuses, KEY, "CredentialsInvalid", "accessKey or secretKey is wrong; correct the Secret"),
        (
            says(401, "APIGW.0301", "Get secretKey failed,ak:AK-marked-1,err:ak not exist"),
            KEY,
            "CredentialsInvalid",
            "correct the Secret (a temporary key also needs securityToken)",
        ),
        (
            says(401, "APIGW.0301", "AK access failed to reach the limit,forbidden."),
            KEY,
            "AccountLocked",
            "the access key is locked after refused requests",
        ),
        (says(401, "IAM.0061"), KEY, "AccountLocked", "the access key is locked"),
        (refuses, TEMPORARY, "CredentialsInvalid", "access key is wrong or has expired; put a new"),
        (
            says(400, "IAM.1108"),
            TEMPORARY,
            "CredentialsInvalid",
            "temporary access key has expired",
        ),
        (says(400, "IAM.1104"), KEY, "CredentialsInvalid", "IAM blocks the access key"),
        (says(400, "IAM.1105"), KEY, "CredentialsInvalid", "the access key has expired"),
        (says(400, "IAM.1106"), KEY, "CredentialsInvalid", "user of the access key does not exist"),
        (says(400, "IAM.1107"), KEY, "CredentialsInvalid", "the access key is inactive; enable it"),
        (
            lambda _: httpx.Response(401, text="<html>proxy</html>"),
            KEY,
            "CredentialsInvalid",
            "or check whether a proxy rejects the request",
        ),
    ],
    ids=[
        "wrong",
        "unknown",
        "locked",
        "account locked",
        "temporary",
        "temporary and expired",
        "blocked",
        "expired",
        "no user",
        "inactive",
        "proxy",
    ],
)
async def test_refused_key_is_reported_with_its_cause(
    answer: Answer, key: AccessKeyCredentials, reason: str, message: str
) -> None:
    cloud = Cloud(answer)

    error = await cloud.read(cloud.of(key=key))

    assert isinstance(error, TerminalError)
    assert error.reason == reason
    assert message in str(error)
    assert str(error).startswith("ims.test:443 refused the signature of a request: HTTP 40")
    assert "marked" not in str(error)


@pytest.mark.parametrize(
    ("minutes", "message"),
    [
        (16, "the clock of the operator is about 16 minutes behind that of the cloud"),
        (-200, "the clock of the operator is about 200 minutes ahead of that of the cloud"),
        (14, "accessKey or secretKey is wrong"),
        (-14, "accessKey or secretKey is wrong"),
    ],
)
async def test_clock_skew_is_reported_by_the_date_of_the_refusal(
    minutes: int, message: str
) -> None:
    skewed = says(401, "APIGW.0301", "no", START + timedelta(minutes=minutes))
    cloud = Cloud(skewed)

    error = await cloud.read()

    assert message in str(error)
    assert isinstance(error, RetryableError) is ("clock" in message)


async def test_requests_stop_for_five_minutes_while_the_clocks_differ() -> None:
    cloud = Cloud(says(401, "APIGW.0301", "no", START + timedelta(days=1)), latency_s=0.1)

    messages = set[str]()
    for _ in range(15):
        errors = await asyncio.gather(*(cloud.read(cloud.of(one)) for one in PROJECTS[:20]))
        messages |= {str(error) for error in errors}
        cloud.clock.pass_by(timedelta(minutes=1))

    assert len(cloud.calls) == 3
    assert len(messages) == 3  # the clock of the fake cloud does not move
    cloud.clock.pass_by(timedelta(minutes=5))
    cloud.ims = accepts
    assert await cloud.read() is None


async def test_key_that_is_refused_once_is_checked_and_the_request_sent_again() -> None:
    cloud = Cloud(accepts)
    await cloud.read()
    cloud.calls.clear()

    def refuses_once(request: httpx.Request) -> httpx.Response:
        cloud.ims = accepts
        return refuses(request)

    cloud.ims = refuses_once
    cloud.clock.pass_by(timedelta(hours=1))
    session = cloud.sessions.session(cloud.of())
    assert await session.submit(Decision.ACCEPT, None, IMAGES[:1], None) == "0" * 32

    put = "PUT /v1/cloudimages/members"
    assert cloud.paths == [put, f"GET {CHECK}", put]
    assert {call.headers["X-Sdk-Date"] for call in cloud.calls} == {"20260131T130000Z"}


async def test_request_has_the_date_at_which_it_is_sent_again() -> None:
    cloud = Cloud(accepts)
    await cloud.read()
    cloud.calls.clear()

    def refuses_after_an_hour(request: httpx.Request) -> httpx.Response:
        cloud.clock.pass_by(timedelta(hours=1))
        cloud.ims = accepts
        return refuses(request)

    cloud.ims = refuses_after_an_hour
    await cloud.read()

    dates = [call.headers["X-Sdk-Date"] for call in cloud.calls]
    assert dates == ["20260131T120000Z", "20260131T130000Z", "20260131T130000Z"]
    assert len({call.headers["Authorization"] for call in cloud.calls}) == 3


async def test_request_has_the_date_after_its_wait_for_a_seat() -> None:
    """One namespace has 24 of the 32 seats of an endpoint."""
    cloud = Cloud(accepts, latency_s=1)
    await cloud.read()
    cloud.calls.clear()

    def accepts_after_an_hour(request: httpx.Request) -> httpx.Response:
        cloud.clock.at = START + timedelta(hours=1)
        return accepts(request)

    cloud.ims = accepts_after_an_hour
    session = cloud.sessions.session(cloud.of())
    vaults = [f"vault-{number}" for number in range(40)]
    await asyncio.gather(
        *(session.submit(Decision.ACCEPT, vault, IMAGES[:1], None) for vault in vaults)
    )

    dates = [call.headers["X-Sdk-Date"] for call in cloud.calls]
    assert dates == ["20260131T120000Z"] * 24 + ["20260131T130000Z"] * 16


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (KEY, "the access key was deleted or disabled; put another one into the Secret"),
        (TEMPORARY, "the temporary access key has expired; put a new one into the Secret"),
    ],
    ids=["deleted", "ended"],
)
async def test_key_that_was_accepted_before_has_another_message(
    key: AccessKeyCredentials, message: str
) -> None:
    cloud = Cloud(accepts)
    assert await cloud.read(cloud.of(key=key)) is None
    cloud.ims = refuses

    error = await cloud.read(cloud.of(key=key))

    assert message in str(error)
    assert isinstance(error, LoginBlockedError)


async def test_key_that_ends_is_refused_at_most_four_times() -> None:
    """All projects were read before; each is read again and again, one after another."""
    cloud = Cloud(accepts)
    for project in PROJECTS:
        assert await cloud.read(cloud.of(project)) is None
    cloud.ims = refuses
    cloud.calls.clear()

    for project in PROJECTS * 3:
        assert await cloud.read(cloud.of(project)) is not None
        cloud.clock.pass_by(timedelta(seconds=1))

    assert len(cloud.calls) == 4 < LOCK_AFTER


async def test_waiting_requests_are_not_sent_after_a_refusal() -> None:
    cloud = Cloud(accepts, latency_s=1)
    await cloud.read()
    cloud.ims = refuses
    cloud.calls.clear()
    session = cloud.sessions.session(cloud.of())

    await asyncio.gather(
        *(session.submit(Decision.ACCEPT, None, (f"i{n}",), None) for n in range(400)),
        return_exceptions=True,
    )

    # 400 images are eight batches, which are sent at once, and the check.
    assert len(cloud.calls) == 9


async def test_request_that_alone_is_refused_blocks_the_key() -> None:
    """The check is accepted, so a check could not find out when the request will be, too."""

    def refuses_writes(request: httpx.Request) -> httpx.Response:
        return accepts(request) if request.method == "GET" else refuses(request)

    cloud = Cloud(refuses_writes)
    await cloud.read()
    session = cloud.sessions.session(cloud.of())

    for _ in range(5):
        with pytest.raises(TerminalError) as caught:
            await session.submit(Decision.ACCEPT, None, IMAGES[:1], None)
        assert caught.value.reason is Reason.CREDENTIALS_INVALID

    assert cloud.paths.count("PUT /v1/cloudimages/members") == 2


async def test_other_refusal_shows_no_key_and_no_signature() -> None:
    def denies(request: httpx.Request) -> httpx.Response:
        *_, signature = request.headers["Authorization"].partition("Signature=")
        echo = f"denied: ak:AK-marked-1 {signature} st-marked-3"
        return httpx.Response(403, json={"error_code": "IMG.0026", "error_msg": echo})

    cloud = Cloud(denies)

    error = await cloud.read(cloud.of(key=TEMPORARY))

    assert isinstance(error, TerminalError)
    assert error.reason is Reason.PERMISSION_DENIED
    assert "denied: ak:(token) (token) (token): the user lacks a permission" in str(error)


@pytest.mark.parametrize("before", range(150, 205, 5))
async def test_text_that_is_cut_shows_no_part_of_a_secret(before: int) -> None:
    def denies(_: httpx.Request) -> httpx.Response:
        echo = f"{'x ' * (before // 2)}st-marked-3 ak:AK-marked-1"
        return httpx.Response(403, json={"error_code": "IMG.0026", "error_msg": echo})

    error = await Cloud(denies).read(FakeHttpCloud.identity(TEMPORARY))

    assert "x x x" in str(error)
    assert not re.search("st-|AK-", str(error))


async def test_wrong_project_is_not_a_wrong_key() -> None:
    cloud = Cloud(says(400, "IMG.0030", "The project id and token do not match."))

    error = await cloud.read()

    assert isinstance(error, TerminalError)
    assert error.reason is Reason.INVALID_REQUEST
    assert "the credentials are not for spec.projectID; correct it or the Secret" in str(error)
    cloud.ims = accepts
    assert await cloud.read() is None


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (503, "APIGW.0613", Reason.CLOUD_UNAVAILABLE),
        (429, "APIGW.0308", Reason.THROTTLED),
    ],
)
async def test_check_without_a_result_is_repeated(status: int, code: str, reason: Reason) -> None:
    cloud = Cloud(says(status, code))

    error = await cloud.read()

    assert isinstance(error, RetryableError)
    assert error.reason is reason
    cloud.ims = accepts
    cloud.clock.pass_by(timedelta(minutes=2))
    assert await cloud.read() is None


async def test_lost_response_of_a_check_leaves_no_write_unknown() -> None:
    def breaks(_: httpx.Request) -> httpx.Response:
        raise NoResponseError(Cause.BROKEN, "connection lost")

    cloud = Cloud(breaks)
    session = cloud.sessions.session(cloud.of())

    with pytest.raises(RetryableError) as caught:
        await session.submit(Decision.ACCEPT, None, IMAGES[:1], None)

    assert not isinstance(caught.value, OutcomeUnknownError)
    assert cloud.paths == [f"GET {CHECK}"]


async def test_plain_form_is_used_when_it_is_set() -> None:
    cloud = Cloud(accepts, signing_form=SigningForm.PLAIN)

    await cloud.read()

    assert all(
        re.match("SDK-HMAC-SHA256 Access=AK-marked-1, ", call.headers["Authorization"])
        for call in cloud.calls
    )
