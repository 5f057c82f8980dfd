"""An agency: one base token for all projects of a login, and one agency token for each project."""

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from fakes import Clock
from image_share_operator.api.credentials import (
    Credentials,
    Identity,
    PasswordCredentials,
    RefusedLogin,
    TokenCredentials,
)
from image_share_operator.api.errors import CloudError, RetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Agency, Endpoints, Membership
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.iam.login_guard import BLOCK_TIME, LOGIN_GAP
from image_share_operator.cloud.sessions import BatchSettings, Sessions
from image_share_operator.flowcontrol.limiter import Limiters, Limits

pytestmark = pytest.mark.looptime
USER = PasswordCredentials(user_name="agent", password="MARK", domain_name="home")
AGENCY = Agency(name="image-sharing", domain_name="customer")
PROJECTS = tuple(f"{number:032x}" for number in range(1_000))
Answer = Callable[[], httpx.Response]


class Cloud:
    """IAM and IMS of an account ``home``, whose user may assume agencies.

    Attributes:
        field: the field for the name of an agency that this IAM knows.
        base_logins: the scope of each login of the user.
        assumed: when and with which base token each agency was assumed.
        dead: tokens that IAM and IMS refuse.
        base_answer: of each login of the user, instead of a token.
        agency_answer: of each request for an agency token, instead of a token.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.field = "agency_name"
        self.base_life = self.agency_life = timedelta(days=1)
        self.base_logins: list[Any] = []
        self.assumed: list[tuple[float, str]] = []
        self.fields: list[str] = []
        self.dead: set[str] = set()
        self.base_answer: Answer | None = None
        self.agency_answer: Answer | None = None
        self.scoped = True
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._serve))
        self.sessions = Sessions(
            CloudHttpClient(
                client=client,
                timeout=timedelta(seconds=60),
                limiters=Limiters(Limits(at_once=32, per_second=10_000)),
            ),
            self.clock.now,
            BatchSettings(window=timedelta(), images=50),
        )

    def _serve(self, request: httpx.Request) -> httpx.Response:
        token = request.headers.get("X-Auth-Token", "")
        if request.url.host == "ims.test":
            if token in self.dead:
                return httpx.Response(401, json={"error_code": "APIGW.0301"})
            assert request.url.path.rpartition("/")[2] == token.rpartition(" ")[2]
            return httpx.Response(200, json={"status": "pending"})
        auth = json.loads(request.content)["auth"]
        identity = auth["identity"]
        if identity["methods"] == ["password"]:
            self.base_logins.append(auth.get("scope"))
            return self.base_answer() if self.base_answer else self._base_token(auth)
        return self._assume(token, auth)

    def _base_token(self, auth: dict[str, Any]) -> httpx.Response:
        told: dict[str, Any] = {"user": {"domain": {"id": "home-id"}}}
        if "scope" in auth or self.scoped:
            told["domain"] = {"id": "home-id"}
        return self._token(f"base-{len(self.base_logins)}", self.base_life, told)

    def _assume(self, token: str, auth: dict[str, Any]) -> httpx.Response:
        role = auth["identity"]["assume_role"]
        self.fields += [name for name in role if "domain" not in name]
        self.assumed.append((asyncio.get_running_loop().time(), token))
        if token in self.dead:
            return httpx.Response(401, json={"error_code": "IAM.0067"})
        if self.agency_answer is not None:
            return self.agency_answer()
        if self.field not in role:
            return httpx.Response(400, json={"error_code": "IAM.0072"})
        assert role == {"domain_name": "customer", self.field: "image-sharing"}
        project = auth["scope"]["project"]["id"]
        return self._token(f"agency-{len(self.assumed)} {project}", self.agency_life, {})

    def _token(self, value: str, life: timedelta, told: dict[str, Any]) -> httpx.Response:
        body = {"token": {"expires_at": (self.clock.at + life).isoformat(), **told}}
        return httpx.Response(201, headers={"X-Subject-Token": value}, json=body)

    def identity(
        self,
        project: str = PROJECTS[0],
        credentials: Credentials = USER,
        agency: Agency | None = AGENCY,
    ) -> Identity:
        return Identity(
            credentials=credentials,
            project_id=project,
            endpoints=Endpoints(iam="https://iam.test", ims="https://ims.test"),
            agency=agency,
        )

    async def read(self, identity: Identity | None = None) -> CloudError | None:
        """Read a membership; return the error, if any."""
        session = self.sessions.session(identity or self.identity())
        try:
            found = await session.members(("i",), timedelta())
        except CloudError as exc:
            return exc
        assert found == {"i": Membership.PENDING}
        return None


async def test_thousand_projects_cost_one_base_login_at_20_requests_per_second() -> None:
    cloud = Cloud()

    errors = await asyncio.gather(*(cloud.read(cloud.identity(one)) for one in PROJECTS))

    assert set(errors) == {None}
    assert cloud.base_logins == [{"domain": {"name": "home"}}]
    assert len(cloud.assumed) == len(PROJECTS)
    times = [at for at, _ in cloud.assumed]
    gap = LOGIN_GAP.total_seconds()
    assert min(b - a for a, b in itertools.pairwise(times)) >= gap - 1e-6
    assert times[-1] - times[0] < 1.1 * gap * len(PROJECTS)


async def test_token_is_cached_and_renewed_with_the_base_token_first() -> None:
    cloud = Cloud()
    cloud.base_life = timedelta(hours=12)

    for _ in range(24):
        assert await cloud.read() is None
        cloud.clock.pass_by(timedelta(hours=1))

    # The agency token lasts 23 h 45 min. The base token is not renewed before it is needed.
    assert [token for _, token in cloud.assumed] == ["base-1"]
    assert await cloud.read() is None
    assert [token for _, token in cloud.assumed] == ["base-1", "base-2"]


@pytest.mark.parametrize("refusal", [401, 403])
async def test_refused_base_token_is_renewed_once(refusal: int) -> None:
    cloud = Cloud()
    assert await cloud.read() is None
    cloud.dead |= {"base-1", f"agency-1 {PROJECTS[0]}"}
    if refusal == 403:
        text = {"error": {"code": 403, "message": "X-Auth-Token is invalid in the request"}}
        answers = iter([httpx.Response(403, json=text)])
        cloud.dead -= {"base-1"}

        def answer() -> httpx.Response:
            cloud.agency_answer = None
            return next(answers)

        cloud.agency_answer = answer

    assert await cloud.read() is None

    assert [token for _, token in cloud.assumed] == ["base-1", "base-1", "base-2"]


async def test_base_token_that_is_refused_again_blocks_the_project() -> None:
    cloud = Cloud()
    cloud.dead |= {f"base-{number}" for number in range(1, 30)}

    first = await cloud.read()
    for _ in range(5):
        assert str(await cloud.read()) == str(first)

    assert isinstance(first, TerminalError)
    assert first.reason is Reason.CREDENTIALS_INVALID
    assert "user agent as agency image-sharing of account customer: HTTP 401" in str(first)
    assert len(cloud.base_logins) == 2
    assert len(cloud.assumed) == 2


async def test_other_field_is_tried_once_and_remembered_per_endpoint() -> None:
    cloud = Cloud()
    cloud.field = "xrole_name"

    errors = await asyncio.gather(*(cloud.read(cloud.identity(one)) for one in PROJECTS[:3]))

    assert set(errors) == {None}
    assert cloud.fields == ["agency_name", *["xrole_name"] * 3]


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (400, Reason.INVALID_REQUEST, "correct spec.agency or spec.projectID"),
        (403, Reason.PERMISSION_DENIED, "grant it the permission Agent Operator"),
        (404, Reason.INVALID_REQUEST, "correct spec.agency or spec.projectID"),
    ],
)
async def test_refused_agency_says_what_to_do_and_is_not_repeated(
    status: int, reason: Reason, words: str
) -> None:
    cloud = Cloud()
    cloud.agency_answer = lambda: httpx.Response(status, json={"error": {"message": "MARK no"}})

    error = await cloud.read()
    sent = len(cloud.assumed)
    await cloud.read()

    assert isinstance(error, TerminalError)
    assert error.reason is reason
    assert words in str(error)
    assert "MARK" not in str(error)
    assert len(cloud.assumed) == sent == (2 if status == 400 else 1)


async def test_refused_agency_does_not_block_other_projects() -> None:
    cloud = Cloud()
    cloud.agency_answer = lambda: httpx.Response(404, json={"error": {"message": "no"}})
    assert await cloud.read() is not None
    cloud.agency_answer = None

    assert await cloud.read(cloud.identity(PROJECTS[1])) is None


async def test_wrong_password_is_sent_once_for_all_projects_of_an_agency() -> None:
    cloud = Cloud()
    cloud.base_answer = lambda: httpx.Response(401, json={"error": {"code": 401}})

    found = await asyncio.gather(*(cloud.read(cloud.identity(one)) for one in PROJECTS[:40]))

    assert len(cloud.base_logins) == 1
    assert cloud.assumed == []
    assert all(isinstance(one, TerminalError) for one in found)
    cloud.clock.pass_by(BLOCK_TIME)
    await cloud.read()
    assert len(cloud.base_logins) == 2


async def test_outage_of_iam_is_reported_as_such() -> None:
    cloud = Cloud()
    cloud.agency_answer = lambda: httpx.Response(503)

    assert isinstance(await cloud.read(), RetryableError)


async def test_user_by_id_logs_in_for_its_account_after_iam_reported_it() -> None:
    cloud = Cloud()
    cloud.scoped = False
    cloud.base_life = timedelta(hours=1)
    by_id = PasswordCredentials(user_id="agent-id", password="p")

    for project in PROJECTS[:2]:
        assert await cloud.read(cloud.identity(project, by_id)) is None
        cloud.clock.pass_by(timedelta(hours=1))

    assert cloud.base_logins == [None, *[{"domain": {"id": "home-id"}}] * 2]
    assert [token for _, token in cloud.assumed] == ["base-2", "base-3"]


async def test_user_by_id_logs_in_once_where_a_token_without_scope_is_for_the_account() -> None:
    cloud = Cloud()

    assert (
        await cloud.read(cloud.identity(credentials=PasswordCredentials(user_id="a", password="p")))
        is None
    )

    assert cloud.base_logins == [None]


async def test_token_of_a_secret_assumes_no_agency() -> None:
    cloud = Cloud()

    error = await cloud.read(cloud.identity(credentials=TokenCredentials(token="MARK")))

    assert isinstance(error, TerminalError)
    assert error.reason is Reason.CREDENTIALS_INVALID
    assert "spec.agency needs credentials that log in" in str(error)
    assert "with a token; put a user and its password, or an access key, into" in str(error)
    assert "MARK" not in str(error)
    assert cloud.assumed == []


async def test_base_token_is_shared_by_agencies_and_by_no_other_login() -> None:
    cloud = Cloud()
    cloud.agency_answer = lambda: httpx.Response(404, json={"error": {"message": "no"}})
    other_agency = replace(AGENCY, name="backup")
    other_user = replace(USER, password="another")

    for credentials, agency in ((USER, AGENCY), (USER, other_agency), (other_user, AGENCY)):
        await cloud.read(cloud.identity(credentials=credentials, agency=agency))

    assert len(cloud.base_logins) == 2


async def test_login_that_an_earlier_process_saw_refused_causes_no_base_login() -> None:
    cloud = Cloud()
    refused = RefusedLogin(locked=False, of_project=True, of_all=False)
    cloud.sessions.note_refused_login(cloud.identity(), refused)

    assert isinstance(await cloud.read(), TerminalError)

    assert cloud.base_logins == []
