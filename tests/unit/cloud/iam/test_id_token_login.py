"""Tokens of ServiceAccounts are exchanged at IAM, and used up to the earlier end."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from fakes import PROJECT, Clock
from image_share_operator.api.credentials import Identity, ServiceAccountCredentials
from image_share_operator.api.errors import (
    CloudError,
    KubeRetryableError,
    RetryableError,
    TerminalError,
)
from image_share_operator.api.id_token import IdToken
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import REGIONS, Agency
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.sessions import BatchSettings, Sessions

pytestmark = pytest.mark.looptime
ACCOUNT = ServiceAccountCredentials(
    namespace="team", name="web", identity_provider="my-cluster", audience="otc"
)
HOUR = timedelta(hours=1)


class Cloud:
    """IAM of eu-de. ``answer`` is sent instead of a token.

    Attributes:
        exchanges: scope of each exchange.
        refused: key ID of the token that is not wanted again, for each request of a token.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.life = timedelta(days=1)
        self.jwt_life = HOUR
        self.key_id: str | None = "key-7"
        self.error: Exception | None = None
        self.answer: httpx.Response | None = None
        self.exchanges: list[Any] = []
        self.refused: list[str | None] = []
        self.assumed = 0
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._serve))
        self.sessions = Sessions(
            CloudHttpClient(client=client, timeout=timedelta(seconds=60)),
            self.clock.now,
            BatchSettings(window=timedelta(), images=50),
            id_tokens=self._id_token,
        )

    async def _id_token(
        self, credentials: ServiceAccountCredentials, refused: IdToken | None
    ) -> tuple[IdToken, datetime]:
        assert credentials == ACCOUNT
        self.refused.append(refused.key_id if refused else None)
        if self.error is not None:
            raise self.error
        token = IdToken(value="MARK.jwt", lifetime=self.jwt_life, key_id=self.key_id)
        return token, self.clock.at + self.jwt_life

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "ims.eu-de.otc.t-systems.com":
            return httpx.Response(200, json={"status": "pending"})
        assert request.url.host == "iam.eu-de.otc.t-systems.com"
        auth = json.loads(request.content)["auth"]
        if request.url.path == "/v3/auth/tokens":
            self.assumed += 1
            return self._token("agency")
        assert str(request.url.raw_path, "ascii") == "/v3.0/OS-AUTH/id-token/tokens"
        assert request.headers["X-Idp-Id"] == "my-cluster"
        assert auth["id_token"] == {"id": "MARK.jwt"}
        self.exchanges.append(auth.get("scope"))
        return self.answer or self._token("iam")

    def _token(self, value: str) -> httpx.Response:
        token = {
            "expires_at": (self.clock.at + self.life).isoformat(),
            "issued_at": self.clock.at.isoformat(),
            "user": {"domain": {"id": "home"}},
        }
        return httpx.Response(201, headers={"X-Subject-Token": value}, json={"token": token})

    async def read(self, agency: Agency | None = None) -> CloudError | None:
        identity = Identity(
            credentials=ACCOUNT, project_id=PROJECT, endpoints=REGIONS["eu-de"], agency=agency
        )
        try:
            await self.sessions.session(identity).members(("i",), timedelta())
        except CloudError as exc:
            return exc
        return None


@pytest.mark.parametrize(
    ("life", "jwt_life"),
    [(timedelta(days=1), HOUR), (HOUR, timedelta(days=1))],
    ids=["the ID token ends first", "the IAM token ends first"],
)
async def test_token_is_used_up_to_the_earlier_end(life: timedelta, jwt_life: timedelta) -> None:
    cloud = Cloud()
    cloud.life, cloud.jwt_life = life, jwt_life

    for _ in range(60):
        assert await cloud.read() is None
        cloud.clock.pass_by(timedelta(minutes=1))

    assert cloud.exchanges == [{"project": {"id": PROJECT}}] * 2


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (401, Reason.CREDENTIALS_INVALID, "token key ID key-7 is not known to the identity prov"),
        (401, Reason.CREDENTIALS_INVALID, "kubectl get --raw /openid/v1/jwks"),
        (403, Reason.PERMISSION_DENIED, "correct the mapping"),
        (404, Reason.INVALID_REQUEST, "correct spec.serviceAccount.identityProvider"),
    ],
)
async def test_refused_id_token_says_what_to_do(status: int, reason: Reason, words: str) -> None:
    cloud = Cloud()
    cloud.answer = httpx.Response(status, json={"error": {"message": "no MARK.jwt"}})

    error = await cloud.read()
    await cloud.read()

    assert isinstance(error, TerminalError)
    assert error.reason is reason
    assert "ServiceAccount team/web" in str(error)
    assert words in str(error)
    assert "MARK" not in str(error)
    assert len(cloud.exchanges) == 1


async def test_refused_id_token_is_sent_again_after_two_minutes() -> None:
    cloud = Cloud()
    cloud.answer = httpx.Response(401, json={"error": {"message": "no"}})

    await cloud.read()
    cloud.clock.pass_by(timedelta(seconds=119))
    await cloud.read()
    cloud.answer = None
    cloud.clock.pass_by(timedelta(seconds=1))

    assert await cloud.read() is None
    assert len(cloud.exchanges) == 2


async def test_another_token_is_exchanged_after_a_refusal() -> None:
    cloud = Cloud()
    cloud.answer = httpx.Response(401, json={"error": {"message": "no"}})

    for key_id in ("key-7", "key-8", "key-9"):
        cloud.key_id = key_id
        await cloud.read()
        cloud.clock.pass_by(timedelta(minutes=2))

    assert cloud.refused == [None, "key-7", "key-8"]


async def test_missing_key_id_is_reported_as_unknown() -> None:
    cloud = Cloud()
    cloud.key_id = None
    cloud.answer = httpx.Response(401, json={"error": {"message": "no"}})

    assert "token key ID (unknown) is not known" in str(await cloud.read())


async def test_token_that_can_not_be_requested_is_retried() -> None:
    cloud = Cloud()
    cloud.error = KubeRetryableError("create serviceaccounts/token: HTTP 500")

    error = await cloud.read()

    assert isinstance(error, RetryableError)
    assert "serviceaccounts/token" in str(error)
    assert cloud.exchanges == []


async def test_agency_is_assumed_with_a_token_for_the_own_account() -> None:
    cloud = Cloud()

    assert await cloud.read(Agency(name="g", domain_name="customer")) is None

    assert cloud.exchanges == [None, {"domain": {"id": "home"}}]
    assert cloud.assumed == 1
