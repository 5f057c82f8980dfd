"""How long a token is used, for any difference between the clocks."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from fakes import FakeHttpCloud
from image_share_operator.api.credentials import PasswordCredentials
from image_share_operator.cloud.iam.tokens import MIN_LIFETIME

pytestmark = pytest.mark.looptime
DAY = timedelta(days=1)


class Cloud(FakeHttpCloud):
    """Its clock is ``skew`` ahead of ours. Tokens report ``lifetime`` and are accepted for ever."""

    def __init__(
        self, skew: timedelta, lifetime: timedelta, *, has_issue_time: bool = True
    ) -> None:
        super().__init__(lambda _: httpx.Response(200, json={"status": "pending"}))
        self.skew, self.life, self.has_issue_time = skew, lifetime, has_issue_time
        self.session = self.sessions.session(
            self.identity(PasswordCredentials(user_id="u", password="p"))
        )

    def token(self, project: str) -> httpx.Response:
        at = self.clock.at + self.skew
        token = {"expires_at": _text(at + self.life)}
        if self.has_issue_time:
            token["issued_at"] = _text(at)
        headers = {"X-Subject-Token": f"token-of-{project}"}
        return httpx.Response(201, headers=headers, json={"token": token})

    async def logins_during(self, span: timedelta, every: timedelta) -> int:
        """Read a membership repeatedly; return the number of logins."""
        before, end = len(self.logins), self.clock.at + span
        while self.clock.at < end:
            await self.session.members(("i",), timedelta())
            self.clock.pass_by(every)
        return len(self.logins) - before


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


@pytest.mark.parametrize(
    "skew",
    [-3 * DAY, -DAY, timedelta(), 3 * DAY],
    ids=["3 days late", "a day late", "none", "3 days ahead"],
)
async def test_token_is_used_for_its_lifetime_with_any_clock_skew(
    skew: timedelta,
) -> None:
    cloud = Cloud(skew, DAY)

    assert await cloud.logins_during(DAY - timedelta(minutes=16), timedelta(minutes=10)) == 1
    assert await cloud.logins_during(timedelta(minutes=16), timedelta(minutes=1)) == 1


@pytest.mark.parametrize(
    ("lifetime", "has_issue_time"),
    [(DAY, False), (timedelta(), True), (-DAY, True), (timedelta(seconds=1), True)],
    ids=["no issue time", "no lifetime", "expires before its issue", "one second"],
)
async def test_token_that_seems_expired_is_used_for_the_minimum_lifetime(
    lifetime: timedelta, *, has_issue_time: bool
) -> None:
    """IMS refuses it if it is really expired."""
    cloud = Cloud(-3 * DAY, lifetime, has_issue_time=has_issue_time)

    logins = await cloud.logins_during(timedelta(minutes=5), timedelta(seconds=1))

    assert logins == timedelta(minutes=5) / MIN_LIFETIME


async def test_token_without_issue_time_is_used_until_its_expiry_time() -> None:
    cloud = Cloud(timedelta(), DAY, has_issue_time=False)

    assert await cloud.logins_during(timedelta(hours=23), timedelta(minutes=10)) == 1


async def test_token_that_ends_with_the_calendar_is_used_with_any_clock_skew() -> None:
    cloud = Cloud(timedelta(seconds=-1), DAY)
    cloud.life = datetime.max.replace(tzinfo=UTC) - (cloud.clock.at + cloud.skew)

    assert await cloud.logins_during(timedelta(hours=1), timedelta(minutes=10)) == 1
