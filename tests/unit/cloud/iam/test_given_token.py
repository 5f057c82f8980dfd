"""A token from a Secret: checked once, with IAM, before it is used."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from fakes import PROJECT, START, FakeHttpCloud
from image_share_operator.api.credentials import GivenTokenEnd, TokenCredentials
from image_share_operator.api.errors import TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http.no_response import Cause, NoResponseError
from image_share_operator.cloud.iam.login_guard import BLOCK_TIME

pytestmark = pytest.mark.looptime
TOKEN = "given-MARK"
DAY = timedelta(days=1)
OTHER = "f" * 32


class Iam(FakeHttpCloud):
    """Shows one token that ends ``left`` after `START`; an IMS where each image is pending.

    Attributes:
        left: a day, unless a test sets it.
        skew: how far its clock is ahead of ours.
    """

    def __init__(self, *, status: int = 200, project: str | None = PROJECT) -> None:
        super().__init__(lambda _: httpx.Response(200, json={"status": "pending"}))
        self.status = status
        self.project = project
        self.skew = timedelta()
        self.left = DAY
        self.lifetime: timedelta | None = DAY
        self.down = False
        self.asked: list[httpx.Request] = []
        self.shown = self._show
        self.used = replace(self.identity(TokenCredentials(token=TOKEN)), namespace="team")

    def _show(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.down:
            raise NoResponseError(Cause.CONNECT, "connection refused")
        ends_at = START + self.skew + self.left
        token: dict[str, object] = {"expires_at": ends_at.isoformat()}
        if self.lifetime is not None:
            token["issued_at"] = (ends_at - self.lifetime).isoformat()
        if self.project is not None:
            token["project"] = {"id": self.project}
        date = format_datetime(self.clock.at + self.skew, usegmt=True)
        body = {"token": token} if self.status == 200 else {"error": {"message": TOKEN}}
        return httpx.Response(self.status, json=body, headers={"Date": date})

    def end(self) -> GivenTokenEnd | None:
        return self.sessions.given_token_end(self.used)

    async def use(self) -> None:
        await self.sessions.session(self.used).members(("i",), timedelta())


async def test_given_token_is_checked_once() -> None:
    iam = Iam()

    for _ in range(3):
        await iam.use()
        iam.clock.pass_by(timedelta(hours=1))

    assert len(iam.asked) == 1
    assert iam.asked[0].method == "GET"
    assert iam.asked[0].url.path == "/v3/auth/tokens"
    assert iam.asked[0].url.query == b"nocatalog=true"
    assert iam.asked[0].headers["X-Subject-Token"] == TOKEN


@pytest.mark.parametrize(
    ("iam", "message"),
    [
        (lambda: Iam(project=OTHER), f"for project {OTHER}, not for spec.projectID {PROJECT}"),
        (lambda: Iam(project=None), "it has no project; request one with the scope"),
        (lambda: Iam(status=401), "HTTP 401: it is expired, revoked or not a token of this IAM"),
    ],
    ids=["another project", "no scope", "refused"],
)
async def test_unusable_given_token_is_named_and_not_used(iam: type[Iam], message: str) -> None:
    cloud = iam()

    for _ in range(3):
        with pytest.raises(TerminalError, match="token of the Secret can't be used") as caught:
            await cloud.use()

        assert caught.value.reason is Reason.CREDENTIALS_INVALID
        assert message in str(caught.value)
        assert TOKEN not in str(caught.value)
    assert len(cloud.asked) == 1


@pytest.mark.parametrize("skew", [-3 * DAY, timedelta(), 3 * DAY], ids=["late", "none", "ahead"])
async def test_given_token_is_reported_as_expired_after_its_end(
    skew: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    iam = Iam()
    iam.skew = skew

    iam.clock.pass_by(DAY - timedelta(hours=2))
    await iam.use()
    assert caplog.messages == []

    iam.clock.pass_by(timedelta(hours=1))
    await iam.use()
    await iam.use()
    (message,) = caplog.messages
    assert "token of a Secret in namespace team expires at 2026-02-01T12:00:00Z" in message

    iam.clock.pass_by(timedelta(hours=1))
    with pytest.raises(TerminalError, match="it expired at 2026-02-01T12:00:00Z"):
        await iam.use()
    assert len(iam.asked) == 1


@pytest.mark.parametrize("status", [403, 404])
async def test_given_token_is_used_when_iam_shows_no_tokens(status: int) -> None:
    iam = Iam(status=status)

    for _ in range(3):
        await iam.use()
        iam.clock.pass_by(DAY)

    assert len(iam.asked) == 1


@pytest.mark.parametrize("status", [200, 429, 503])
async def test_given_token_is_used_and_checked_later_when_iam_is_down(status: int) -> None:
    iam = Iam(status=status, project=OTHER)
    iam.down = status == 200

    await iam.use()
    await iam.use()
    assert len(iam.asked) == 1

    iam.down, iam.status = False, 200
    iam.clock.pass_by(timedelta(minutes=1))
    with pytest.raises(TerminalError, match=OTHER):
        await iam.use()


async def test_expired_given_token_stays_blocked_without_requests() -> None:
    iam = Iam()
    await iam.use()

    iam.clock.pass_by(DAY)
    for _ in range(3):
        with pytest.raises(TerminalError, match="it expired"):
            await iam.use()
        iam.clock.pass_by(BLOCK_TIME)

    assert len(iam.asked) == 1


@pytest.mark.parametrize(
    ("lifetime", "early"),
    [
        (DAY, timedelta(hours=1)),
        (timedelta(hours=2), timedelta(minutes=30)),
        (None, timedelta(minutes=15)),
    ],
    ids=["of a day", "of two hours", "not known, an hour is left"],
)
async def test_warning_begins_before_the_end_of_a_given_token(
    lifetime: timedelta | None, early: timedelta
) -> None:
    iam = Iam()
    iam.lifetime = lifetime
    iam.clock.pass_by(timedelta(hours=23))
    assert iam.end() is None

    await iam.use()

    at = START + DAY
    assert iam.end() == GivenTokenEnd(at=at, warn_at=at - early)


async def test_given_token_that_ends_with_the_calendar_is_used() -> None:
    iam = Iam()
    iam.skew = timedelta(seconds=-1)
    iam.left = datetime.max.replace(tzinfo=UTC) - (START + iam.skew)

    await iam.use()

    end = iam.end()
    assert end is not None
    assert end.at > START + 365 * DAY
