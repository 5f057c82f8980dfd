"""Tokens and requests of a session: when it logs in, and how often a request is sent."""

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import trustme
from served import raw_server

from fakes import PROJECT, FakeHttpCloud
from image_share_operator.api.credentials import Credentials, PasswordCredentials, TokenCredentials
from image_share_operator.api.errors import (
    JobUnknownError,
    OutcomeUnknownError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Decision, Membership
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.circuit_breaker import THRESHOLD, CircuitOpenError
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.http.size_limit import MAX_BODY_BYTES
from image_share_operator.cloud.http.transport import HttpClients
from image_share_operator.cloud.iam.login_guard import BLOCK_TIME
from image_share_operator.cloud.sessions import CloudSession

pytestmark = pytest.mark.looptime
PASSWORD = PasswordCredentials(user_name="u", password="hunter2-marked", domain_name="d")
FRESH = timedelta()
MEMBER = {"status": "pending"}


class Cloud(FakeHttpCloud):
    """Each login is answered with ``login_status``."""

    login_status = 201

    def token(self, project: str) -> httpx.Response:
        if self.login_status == 201:
            return super().token(project)
        return httpx.Response(self.login_status, json={"error": {"code": 401}})

    def session(self, credentials: Credentials = PASSWORD) -> CloudSession:
        session = self.sessions.session(self.identity(credentials))
        assert isinstance(session, CloudSession)
        return session


def pending(request: httpx.Request) -> httpx.Response:
    lists = request.url.path == "/v2/cloudimages"
    return httpx.Response(200, json={"images": []} if lists else MEMBER)


def refused(_: httpx.Request) -> httpx.Response:
    return httpx.Response(401, json={"error_code": "APIGW.0301", "error_msg": "no"})


async def test_concurrent_requests_share_one_login() -> None:
    cloud = Cloud(pending)
    session = cloud.session()

    await asyncio.gather(*(session.members((f"i{n}",), FRESH) for n in range(50)))

    assert len(cloud.logins) == 1


@pytest.mark.parametrize(
    ("life", "used", "more"),
    [
        pytest.param({}, {"hours": 23, "minutes": 40}, {"minutes": 6}, id="shortly before its end"),
        pytest.param(
            {"minutes": 1}, {"seconds": 44}, {"seconds": 2}, id="after 3/4 of a short life"
        ),
    ],
)
async def test_token_is_renewed_before_it_expires(
    life: dict[str, int], used: dict[str, int], more: dict[str, int]
) -> None:
    cloud = Cloud(pending)
    cloud.life = timedelta(**life) or cloud.life
    session = cloud.session()
    await session.members(("i",), FRESH)

    cloud.clock.pass_by(timedelta(**used))
    await session.members(("i",), FRESH)
    assert len(cloud.logins) == 1
    cloud.clock.pass_by(timedelta(**more))
    await session.members(("i",), FRESH)

    assert len(cloud.logins) == 2


async def test_old_token_is_used_when_its_early_renewal_fails() -> None:
    cloud = Cloud(pending)
    clock = cloud.clock
    session = cloud.session()
    await session.members(("i",), FRESH)
    cloud.login_status = 503

    clock.pass_by(timedelta(hours=23, minutes=50))
    members = await session.members(("i",), FRESH)

    assert members == {"i": Membership.PENDING}
    assert cloud.calls[-1].headers["X-Auth-Token"] == f"token-1-{PROJECT}"


async def test_refused_token_is_renewed_and_the_request_sent_again() -> None:
    answers = [refused, pending]

    def in_turn(request: httpx.Request) -> httpx.Response:
        return answers.pop(0)(request)

    cloud = Cloud(in_turn)

    members = await cloud.session().members(("i",), FRESH)

    assert members == {"i": Membership.PENDING}
    assert [call.headers["X-Auth-Token"] for call in cloud.calls] == [
        f"token-1-{PROJECT}",
        f"token-2-{PROJECT}",
    ]


async def test_permanent_refusal_causes_two_logins_for_all_requests() -> None:
    """IMS returns 401 for a missing permission, too: retries would not end."""
    cloud = Cloud(refused)
    session = cloud.session()

    for _ in range(20):
        with pytest.raises(TerminalError, match="a token that IAM has just issued") as caught:
            await session.members(("i",), FRESH)
        assert caught.value.reason is Reason.CREDENTIALS_INVALID

    assert len(cloud.logins) == 2


async def test_token_that_is_partly_refused_is_renewed_up_to_five_times() -> None:
    def refuses_writes(request: httpx.Request) -> httpx.Response:
        return pending(request) if request.method == "GET" else refused(request)

    cloud = Cloud(refuses_writes)
    session = cloud.session()

    for _ in range(20):
        await session.members(("i",), FRESH)
        with pytest.raises(TerminalError):
            await session.submit(Decision.ACCEPT, None, ("i",), None)

    assert len(cloud.logins) == 6


async def test_refused_login_is_sent_again_only_after_the_block_time() -> None:
    cloud = Cloud(pending)
    clock = cloud.clock
    cloud.login_status = 401
    session = cloud.session()

    messages = set[str]()
    for _ in range(20):
        with pytest.raises(TerminalError) as caught:
            await session.members(("i",), FRESH)
        messages.add(str(caught.value))
        clock.pass_by(timedelta(seconds=50))
    assert len(cloud.logins) == 1
    clock.pass_by(BLOCK_TIME)
    cloud.login_status = 201
    await session.members(("i",), FRESH)

    assert len(cloud.logins) == 2
    assert len(messages) == 1
    assert "hunter2" not in messages.pop()


async def test_failed_login_is_shared_by_waiting_requests_only() -> None:
    cloud = Cloud(pending)
    clock = cloud.clock
    cloud.login_status = 503
    session = cloud.session()

    results = await asyncio.gather(
        *(session.members(("i",), FRESH) for _ in range(20)), return_exceptions=True
    )
    clock.pass_by(timedelta(seconds=2))
    cloud.login_status = 201
    await session.members(("i",), FRESH)

    assert all(isinstance(result, RetryableError) for result in results)
    assert len(cloud.logins) == 2


async def test_token_of_a_secret_is_not_used_again_when_refused() -> None:
    cloud = Cloud(refused)
    session = cloud.session(TokenCredentials(token="given"))

    for _ in range(5):
        with pytest.raises(TerminalError, match="fresh token"):
            await session.members(("i",), FRESH)

    assert len(cloud.logins) == 0
    assert len(cloud.calls) == 1


def refusal(code: str) -> httpx.Response:
    return httpx.Response(400, json={"error": {"code": code, "message": "no"}})


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param(
            [httpx.Response(404, json={"error_code": "APIGW.0101"})],
            None,
            id="uses the other endpoint",
        ),
        pytest.param([httpx.Response(404)] * 2, JobUnknownError, id="unknown at both"),
        pytest.param([refusal("IMG.0023")], None, id="query failed"),
        pytest.param([refusal("IMG.0023")] * 2, JobUnknownError, id="query failed at both"),
        pytest.param([refusal("IMG.0030")] * 4, JobUnknownError, id="of another project"),
        pytest.param([refusal("IMG.0031")], None, id="not found"),
        pytest.param([refusal("IMG.0031")] * 2, JobUnknownError, id="not found at both"),
        pytest.param([refusal("IMG.9999")] * 2, JobUnknownError, id="unknown code"),
        pytest.param([httpx.Response(400, text="<html>")] * 2, JobUnknownError, id="no code"),
        pytest.param([httpx.Response(500)], RetryableError, id="server error"),
        pytest.param([refusal("IMG.0014")], RetryableError, id="busy"),
        pytest.param([refusal("IMG.0060")], ThrottledError, id="throttled"),
        pytest.param([refusal("IMG.0026")], TerminalError, id="denied"),
    ],
)
async def test_job_is_unknown_only_when_both_endpoints_refuse_it(
    answers: list[httpx.Response], expected: type[Exception] | None
) -> None:
    left = list(answers)
    good = httpx.Response(200, json={"status": "SUCCESS"})
    cloud = Cloud(lambda _: left.pop(0) if left else good)

    with contextlib.nullcontext() if expected is None else pytest.raises(expected):
        await cloud.session().job("j")

    assert cloud.calls[0].url.path == f"/v1/{PROJECT}/jobs/j"


async def test_missing_member_is_not_shared() -> None:
    cloud = Cloud(lambda _: httpx.Response(404))

    assert await cloud.session().members(("i",), FRESH) == {"i": Membership.NOT_SHARED}


async def test_members_has_an_error_for_the_image_that_fails() -> None:
    def fails_for_bad(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500) if "/bad/" in request.url.path else pending(request)

    cloud = Cloud(fails_for_bad)

    members = await cloud.session().members(("good", "bad", "better"), FRESH)

    assert isinstance(members["bad"], RetryableError)
    assert (members["good"], members["better"]) == (Membership.PENDING, Membership.PENDING)


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_put_with_a_server_error_has_an_unknown_outcome(status: int) -> None:
    cloud = Cloud(lambda _: httpx.Response(status))

    with pytest.raises(OutcomeUnknownError):
        await cloud.session().submit(Decision.ACCEPT, None, ("i",), None)


@pytest.mark.parametrize("status", [200, 201, 202, 203])
async def test_any_success_with_a_job_id_is_an_accepted_batch(status: int) -> None:
    cloud = Cloud(lambda _: httpx.Response(status, json={"job_id": "j"}))

    assert await cloud.session().submit(Decision.ACCEPT, None, ("i",), None) == "j"


@pytest.mark.parametrize("response", [httpx.Response(202), httpx.Response(204)])
async def test_success_without_a_job_id_has_an_unknown_outcome(response: httpx.Response) -> None:
    cloud = Cloud(lambda _: response)

    with pytest.raises(OutcomeUnknownError, match="no job ID"):
        await cloud.session().submit(Decision.ACCEPT, None, ("i",), None)


async def test_throttled_identity_sends_nothing_before_retry_after() -> None:
    busy = httpx.Response(429, headers={"Retry-After": "9"})
    cloud = Cloud(lambda _: busy)
    clock = cloud.clock
    session = cloud.session()

    for _ in range(5):
        with pytest.raises(ThrottledError):
            await session.members(("i",), FRESH)

    assert len(cloud.calls) == 1
    clock.pass_by(timedelta(seconds=9))
    with pytest.raises(ThrottledError):
        await session.members(("i",), FRESH)
    assert len(cloud.calls) == 2


async def test_identities_with_different_passwords_share_no_token() -> None:
    cloud = Cloud(pending)

    for password in ("one", "two"):
        session = cloud.session(PasswordCredentials(user_id="u", password=password))
        await session.members(("i",), FRESH)

    assert len(cloud.logins) == 2


@contextlib.asynccontextmanager
async def serving(
    response: bytes, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes], CloudHttpClient]]:
    """A server with one response: its URL, the requests that it received, and a client."""
    second = timedelta(seconds=5)
    clients = HttpClients.with_timeouts(connect=second, read=second)
    async with raw_server(response, tls) as (url, seen), clients:
        yield url, seen, CloudHttpClient(client=clients.get(), timeout=second, clients=clients.get)


async def fetch(client: CloudHttpClient, url: str, method: str = "GET", **more: Any) -> object:
    return await client.send(client.client.build_request(method, url, **more))


@pytest.mark.parametrize("method", ["PUT", "GET"])
async def test_request_is_sent_once_when_the_connection_is_lost(method: str) -> None:
    async with serving(b"") as (url, seen, client):
        with pytest.raises(RetryableError, match="connection lost"):
            await fetch(client, url, method, json={"a": 1})

    assert len(seen) == 1


@pytest.mark.parametrize(
    ("route", "most"),
    [
        *((route, MAX_BODY_BYTES) for route in ("other", *sorted({*routes.ALL} - routes.LISTS))),
        (routes.LIST, 4 << 20),
        (routes.GLANCE_LIST, 4 << 20),
    ],
)
async def test_body_larger_than_the_limit_of_its_route_is_refused(route: str, most: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    route_of: dict[str, Any] = {"extensions": {"route": route}}
    async with serving(head + b"x" * most) as (url, _, client):
        response = await fetch(client, url, **route_of)
    async with serving(head + b"x" * (most + 1)) as (url, _, client):
        with pytest.raises(RetryableError, match="the response is larger than"):
            await fetch(client, url, **route_of)

    assert isinstance(response, httpx.Response)
    assert len(response.content) == most


async def test_compressed_body_is_refused() -> None:
    """The request does not accept it: ten megabytes can expand to ten gigabytes."""
    body = gzip.compress(b'{"status": "pending"}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    async with serving(head.encode() + body) as (url, _, client):
        with pytest.raises(RetryableError):
            await fetch(client, url)


async def test_redirect_is_not_followed_and_no_cookie_is_stored() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n"
    async with serving(answer) as (url, seen, client):
        responses = [await fetch(client, url) for _ in range(2)]

    assert [isinstance(one, Refusal) and one.status for one in responses] == [302, 302]
    assert len(seen) == 2
    assert b"a=b" not in seen[1]


async def test_untrusted_certificate_opens_no_circuit_of_other_tenants() -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with serving(answer, tls) as (url, _, untrusting):
        trusting = untrusting.with_ca(authority.cert_pem.bytes().decode())
        for _ in range(THRESHOLD):
            with pytest.raises(RetryableError, match=r"ca\.crt"):
                await fetch(untrusting, url)
        with pytest.raises(CircuitOpenError):
            await fetch(untrusting, url)

        assert isinstance(await fetch(trusting, url), httpx.Response)
