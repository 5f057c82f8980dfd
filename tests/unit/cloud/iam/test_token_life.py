"""How long a token is used, whatever the cloud's clock shows."""

from datetime import datetime, timedelta

import httpx
import pytest
from drive import PROJECT, Clock

from image_share_operator.api.credentials import Identity, PasswordCredentials
from image_share_operator.api.types import Endpoints
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.iam.tokens import LEAST_LIFE
from image_share_operator.cloud.sessions import BatchSettings, Sessions

pytestmark = pytest.mark.looptime
DAY = timedelta(days=1)


class Cloud:
    """Its clock is ``skew`` ahead of ours; tokens live for ``life``, and work for ever."""

    def __init__(self, skew: timedelta, life: timedelta, *, tells_issue: bool = True) -> None:
        self.clock = Clock()
        self.logins = 0
        self._skew = skew
        self._life = life
        self._tells_issue = tells_issue
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._serve))
        self.session = Sessions(
            CloudHttpClient(client=client, timeout=timedelta(seconds=1)),
            self.clock.now,
            BatchSettings(window=timedelta(), images=50),
        ).session(
            Identity(
                credentials=PasswordCredentials(user_id="u", password="p"),
                project_id=PROJECT,
                endpoints=Endpoints(iam="https://iam.test", ims="https://ims.test"),
            )
        )

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != "iam.test":
            return httpx.Response(200, json={"status": "pending"})
        self.logins += 1
        at = self.clock.at + self._skew
        token = {"expires_at": _text(at + self._life)}
        if self._tells_issue:
            token["issued_at"] = _text(at)
        headers = {"X-Subject-Token": f"token-{self.logins}"}
        return httpx.Response(201, headers=headers, json={"token": token})

    async def look_for(self, span: timedelta, every: timedelta) -> int:
        """Look again and again; return how many logins that cost."""
        before, end = self.logins, self.clock.at + span
        while self.clock.at < end:
            await self.session.members(("i",), timedelta())
            self.clock.pass_by(every)
        return self.logins - before


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


@pytest.mark.parametrize(
    "skew", [-3 * DAY, -DAY, timedelta(), 3 * DAY], ids=["3 days", "a day", "none", "ahead"]
)
async def test_token_is_used_for_its_life_whatever_the_clock_of_the_cloud_shows(
    skew: timedelta,
) -> None:
    cloud = Cloud(skew, DAY)

    assert await cloud.look_for(DAY - timedelta(minutes=16), timedelta(minutes=10)) == 1
    assert await cloud.look_for(timedelta(minutes=16), timedelta(minutes=1)) == 1


@pytest.mark.parametrize(
    ("life", "tells_issue"),
    [(DAY, False), (timedelta(), True), (-DAY, True), (timedelta(seconds=1), True)],
    ids=["issue is not told", "no life", "ends before it is issued", "a second"],
)
async def test_token_that_seems_to_have_ended_is_kept_for_a_while_all_the_same(
    life: timedelta, *, tells_issue: bool
) -> None:
    """IMS says soon enough if it does not work."""
    cloud = Cloud(-3 * DAY, life, tells_issue=tells_issue)

    logins = await cloud.look_for(timedelta(minutes=5), timedelta(seconds=1))

    assert logins == timedelta(minutes=5) / LEAST_LIFE


async def test_token_whose_issue_can_not_be_read_lives_until_it_says() -> None:
    cloud = Cloud(timedelta(), DAY, tells_issue=False)

    assert await cloud.look_for(timedelta(hours=23), timedelta(minutes=10)) == 1
