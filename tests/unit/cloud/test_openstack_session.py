"""The session of a cloud with Keystone and Glance: requests, results for each image, tokens."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from fakes import IMAGES, PROJECT, Clock
from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    ApplicationCredentials,
    Credentials,
    Identity,
    PasswordCredentials,
    TokenCredentials,
)
from image_share_operator.api.errors import (
    CloudError,
    JobUnknownError,
    LoginBlockedError,
    RefusedForNowError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Decision, Membership, OpenStack
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.no_response import Cause, NoResponseError
from image_share_operator.cloud.iam.tokens import MAX_RENEWALS
from image_share_operator.cloud.openstack_session import MAX_CONCURRENT_WRITES, OpenStackSession
from image_share_operator.cloud.sessions import BatchSettings, Sessions

pytestmark = pytest.mark.looptime
USER = PasswordCredentials(user_id="u", password="s3cret")
AUTH_URL = "https://cloud.test/identity"
IMAGE_URL = "https://cloud.test/image"
CLOUD = OpenStack(auth_url=AUTH_URL)
Json = dict[str, Any]


class OpenStackCloud:
    """Keystone and Glance behind httpx, and a session with them.

    Attributes:
        shares: the memberships of the project.
        answers: what Glance returns instead, by image.
        project: of each token.
        access_rules: of each token.
        catalog_url: of the image endpoint.
        withdrawn_markers: images that Glance refuses as a marker, once each.
        logins: the requests to Keystone.
        calls: the requests to Glance.
    """

    def __init__(
        self,
        credentials: Credentials = USER,
        *,
        cloud: OpenStack = CLOUD,
        insecure: bool = False,
    ) -> None:
        self.clock = Clock()
        self.shares = dict.fromkeys(IMAGES, "pending")
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.project: str | None = PROJECT
        self.access_rules: list[Json] = []
        self.catalog_url = IMAGE_URL
        self.login: Callable[[], httpx.Response] | None = None
        self.logins: list[httpx.Request] = []
        self.calls: list[httpx.Request] = []
        self.most_at_once = self._at_once = 0
        self.revoked: set[str] = set()
        self.withdrawn_markers: set[str] = set()
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._serve))
        sessions = Sessions(
            CloudHttpClient(client=client, timeout=timedelta(seconds=60)),
            self.clock.now,
            BatchSettings(window=timedelta(), images=50),
            insecure=insecure,
        )
        session = sessions.session(
            Identity(credentials=credentials, project_id=PROJECT, endpoints=cloud)
        )
        assert isinstance(session, OpenStackSession)
        self.session = session

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/identity/v3/auth/tokens":
            self.logins.append(request)
            return self.login() if self.login else self._token(request)
        self.calls.append(request)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(0.1)
        self._at_once -= 1
        if request.headers["X-Auth-Token"] in self.revoked:
            return httpx.Response(401, json={"message": "Unauthorized", "code": "401"})
        if request.url.path == "/image/v2/images":
            return self._list(request)
        _, image, _, project = request.url.path.removeprefix("/image/v2/").split("/")
        assert project == PROJECT
        answer = self.answers.get(image)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        if image not in self.shares:
            return refusal(404, f"Image {image} not found.<br /><br />")
        if request.method == "PUT":
            self.shares[image] = json.loads(request.content)["status"]
        return httpx.Response(
            200, json={"image_id": image, "member_id": project, "status": self.shares[image]}
        )

    def _token(self, request: httpx.Request) -> httpx.Response:
        endpoint = {"region_id": "one", "interface": "public", "url": f"{self.catalog_url}/v2"}
        token: Json = {
            "expires_at": (self.clock.at + timedelta(hours=1)).isoformat(),
            "catalog": [{"type": "image", "endpoints": [endpoint]}],
        }
        if self.access_rules:
            token["application_credential"] = {"id": "a", "access_rules": self.access_rules}
        if self.project is not None:
            token["project"] = {"id": self.project}
        status = 200 if request.method == "GET" else 201
        value = request.headers.get("X-Subject-Token", f"token-{len(self.logins)}")
        return httpx.Response(status, headers={"X-Subject-Token": value}, json={"token": token})

    def _list(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        assert query["visibility"] == "shared"
        if (marker := query.get("marker", "")) and marker in self.withdrawn_markers:
            self.withdrawn_markers.remove(marker)
            return refusal(403, f"Forbidding request, image {marker} not visible")
        rows = sorted(i for i, one in self.shares.items() if one == query["member_status"])
        rows = [row for row in rows if row > query.get("marker", "")][:100]
        images = [{"id": row, "owner": "o", "name": f"name-{row[:8]}"} for row in rows]
        more = {"next": f"/v2/images?marker={rows[-1]}"} if len(rows) == 100 else {}
        return httpx.Response(200, json={"images": images, **more})

    async def accept(self, *images: str) -> dict[str, Membership | CloudError]:
        return dict(await self.session.submit(Decision.ACCEPT, None, images, None))


class AllTokens(set[str]):
    """Has each token."""

    def __contains__(self, token: object) -> bool:
        return True


def refusal(status: int, message: str) -> httpx.Response:
    """An error as Glance returns it."""
    return httpx.Response(status, json={"message": message, "code": f"{status} X", "title": "X"})


async def test_each_image_is_set_by_its_own_request() -> None:
    cloud = OpenStackCloud()
    results = await cloud.accept(*IMAGES[:2])

    assert results == dict.fromkeys(IMAGES[:2], Membership.ACCEPTED)
    assert [(call.method, str(call.url)) for call in cloud.calls] == [
        ("PUT", f"{IMAGE_URL}/v2/images/{image}/members/{PROJECT}") for image in IMAGES[:2]
    ]
    assert json.loads(cloud.calls[0].content) == {"status": "accepted"}
    assert cloud.calls[0].headers["X-Auth-Token"] == "token-1"
    assert len(cloud.logins) == 1


async def test_number_of_writes_at_once_is_limited() -> None:
    cloud = OpenStackCloud()
    await asyncio.gather(cloud.accept(*IMAGES[:20]), cloud.accept(*IMAGES[20:40]))

    assert cloud.most_at_once == MAX_CONCURRENT_WRITES


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            refusal(403, "Not allowed to update members for image x."),
            TerminalError,
            "a public or community image needs no decision; remove it from spec.images",
        ),
        (
            refusal(403, "You are not authorized to complete modify_member action."),
            TerminalError,
            "the user needs the role member in the project; grant it",
        ),
        (refusal(409, "Conflict"), RefusedForNowError, "HTTP 409"),
        (refusal(500, "database is locked"), RefusedForNowError, "cloud.test:443: PUT"),
        (refusal(429, "slow down"), ThrottledError, "HTTP 429"),
        (httpx.Response(404, html="<h1>nginx</h1>"), TerminalError, "not from Glance; check"),
        (NoResponseError(Cause.BROKEN, "connection lost"), RetryableError, "connection lost"),
        (httpx.Response(200, json={"status": "maybe"}), RetryableError, "unknown member status"),
        (httpx.Response(200, json={}), RetryableError, "check spec.openstack and any proxy"),
    ],
)
async def test_image_that_could_not_be_set_has_its_error(
    answer: httpx.Response | Exception, kind: type[CloudError], text: str
) -> None:
    cloud = OpenStackCloud()
    cloud.answers[IMAGES[0]] = answer
    results = await cloud.accept(*IMAGES[:2])

    assert type(results[IMAGES[0]]) is kind
    assert text in str(results[IMAGES[0]])
    assert results[IMAGES[1]] is Membership.ACCEPTED


async def test_image_that_is_not_shared_is_no_error() -> None:
    cloud = OpenStackCloud()
    del cloud.shares[IMAGES[0]]

    assert await cloud.accept(*IMAGES[:2]) == {
        IMAGES[0]: Membership.NOT_SHARED,
        IMAGES[1]: Membership.ACCEPTED,
    }


async def test_error_of_all_images_is_raised() -> None:
    cloud = OpenStackCloud()
    cloud.answers = dict.fromkeys(IMAGES[:3], refusal(503, "down"))

    with pytest.raises(RefusedForNowError, match="HTTP 503 down"):
        await cloud.accept(*IMAGES[:3])


async def test_memberships_of_many_images_are_read_from_lists() -> None:
    cloud = OpenStackCloud()
    del cloud.shares[IMAGES[0]]
    results = await cloud.session.members(IMAGES, timedelta())

    assert results[IMAGES[0]] is Membership.NOT_SHARED
    assert {results[image] for image in IMAGES[1:]} == {Membership.PENDING}
    assert cloud.session.details(IMAGES)[IMAGES[1]].name == "name-00000002"
    assert len(cloud.calls) <= 8  # three lists, of which one has two pages, and the missing image


async def test_list_is_read_again_when_its_marker_was_withdrawn() -> None:
    cloud = OpenStackCloud()
    cloud.withdrawn_markers = {IMAGES[99]}
    results = await cloud.session.members(IMAGES, timedelta())

    assert set(results.values()) == {Membership.PENDING}
    assert not cloud.withdrawn_markers
    assert len(cloud.calls) <= 8


async def test_job_of_an_earlier_spec_is_unknown() -> None:
    with pytest.raises(JobUnknownError):
        await OpenStackCloud().session.job("ff80")


async def test_revoked_token_is_renewed_once_for_all_requests() -> None:
    cloud = OpenStackCloud()
    await cloud.accept(IMAGES[0])
    cloud.revoked = {"token-1"}
    results = await cloud.accept(*IMAGES[1:6])

    assert set(results.values()) == {Membership.ACCEPTED}
    assert len(cloud.logins) == 2


async def test_new_tokens_that_glance_refuses_are_no_wrong_credentials() -> None:
    """As when Glance can't reach Keystone: it refuses each token."""
    cloud = OpenStackCloud()
    cloud.revoked = AllTokens()
    ends_at = cloud.clock.at + timedelta(minutes=10)
    while cloud.clock.at < ends_at:
        with pytest.raises(RetryableError, match="a token that Keystone has just issued") as caught:
            await cloud.accept(*IMAGES[:3])
        assert caught.value.cause == "cloud.test:443: HTTP 401"
        cloud.clock.pass_by(timedelta(seconds=2))

    # The first one, its renewal, and one for each minute after it.
    assert len(cloud.logins) == 11

    cloud.revoked = set()

    assert await cloud.accept(IMAGES[0]) == {IMAGES[0]: Membership.ACCEPTED}
    assert len(cloud.logins) == 11


async def test_token_that_glance_refuses_again_and_again_causes_few_logins() -> None:
    """As when one of several servers can't reach Keystone: others accept the token."""
    cloud = OpenStackCloud()
    cloud.answers[IMAGES[1]] = refusal(401, "Unauthorized")
    for _ in range(30):
        found = (await cloud.accept(*IMAGES[:2]))[IMAGES[1]]
        assert "a token that Keystone has just issued" in str(found)

    assert len(cloud.logins) == 1 + MAX_RENEWALS


async def test_token_of_a_secret_that_glance_refuses_is_not_valid() -> None:
    cloud = OpenStackCloud(TokenCredentials(token="given"))
    cloud.revoked = AllTokens()
    for _ in range(30):
        with pytest.raises(TerminalError, match="Glance refused the token; correct the") as caught:
            await cloud.accept(IMAGES[0])
        assert caught.value.reason is Reason.CREDENTIALS_INVALID

    assert len(cloud.logins) == 2


async def test_refused_application_credential_with_access_rules_is_named() -> None:
    cloud = OpenStackCloud(ApplicationCredentials(id="a", secret="s"))
    cloud.access_rules = [{"service": "image", "method": "GET", "path": "/v2/images"}]
    await cloud.accept(IMAGES[0])
    cloud.revoked = AllTokens()

    with pytest.raises(TerminalError, match="access rules of the application credential") as caught:
        await cloud.accept(IMAGES[0])
    assert caught.value.reason is Reason.PERMISSION_DENIED


async def test_application_credential_logs_in_without_a_scope() -> None:
    cloud = OpenStackCloud(ApplicationCredentials(id="a", secret="s"))
    await cloud.accept(IMAGES[0])

    assert "scope" not in json.loads(cloud.logins[0].content)["auth"]


async def test_token_of_a_secret_is_checked_and_its_catalog_used() -> None:
    cloud = OpenStackCloud(TokenCredentials(token="given"))
    await cloud.accept(IMAGES[0])

    assert [call.method for call in cloud.logins] == ["GET"]
    assert cloud.logins[0].headers["X-Subject-Token"] == "given"
    assert cloud.calls[0].headers["X-Auth-Token"] == "given"


@pytest.mark.parametrize(
    ("credentials", "project", "message"),
    [
        (ApplicationCredentials(id="a", secret="s"), "other", "application credential a is for"),
        (TokenCredentials(token="given"), None, "the token of the Secret has no project"),
    ],
)
async def test_credentials_of_another_project_are_refused(
    credentials: Credentials, project: str | None, message: str
) -> None:
    cloud = OpenStackCloud(credentials)
    cloud.project = project

    with pytest.raises(TerminalError, match=message) as caught:
        await cloud.accept(IMAGES[0])
    assert caught.value.reason is Reason.CREDENTIALS_INVALID
    assert cloud.calls == []


async def test_image_endpoint_of_the_spec_wins_over_the_catalog() -> None:
    cloud = OpenStackCloud(cloud=OpenStack(auth_url=AUTH_URL, image_endpoint=IMAGE_URL))
    cloud.catalog_url = "https://other.test"
    await cloud.accept(IMAGES[0])

    assert cloud.calls[0].url.host == "cloud.test"


@pytest.mark.parametrize("insecure", [False, True])
async def test_http_endpoint_of_the_catalog_is_refused_unless_allowed(insecure: bool) -> None:
    cloud = OpenStackCloud(insecure=insecure)
    cloud.catalog_url = "http://cloud.test/image"
    if insecure:
        await cloud.accept(IMAGES[0])
        return
    with pytest.raises(TerminalError, match=r"is not https://.*set spec\.openstack\.imageEndpoint"):
        await cloud.accept(IMAGES[0])
    assert cloud.calls == []


async def test_wrong_catalog_is_read_again_at_the_next_attempt() -> None:
    cloud = OpenStackCloud(cloud=OpenStack(auth_url=AUTH_URL, region="two"))
    for _ in range(2):
        with pytest.raises(TerminalError, match="no image endpoint for region two"):
            await cloud.accept(IMAGES[0])

    assert len(cloud.logins) == 2  # no failed logins: Keystone accepted them


async def test_refused_login_is_not_repeated() -> None:
    cloud = OpenStackCloud()
    cloud.login = lambda: httpx.Response(401, json={"error": {"code": 401, "message": "no"}})
    for _ in range(5):
        with pytest.raises(LoginBlockedError, match="Keystone login of user u: HTTP 401"):
            await cloud.accept(IMAGES[0])

    assert len(cloud.logins) == 1


async def test_access_key_is_refused_without_a_request() -> None:
    cloud = OpenStackCloud(AccessKeyCredentials(access_key="AK", secret_key="SK"))

    with pytest.raises(TerminalError, match="an access key can't log in at Keystone"):
        await cloud.accept(IMAGES[0])
    assert cloud.logins == []
