"""A refused token: which requests log in again, and which error they report."""

import asyncio
from datetime import timedelta

import pytest

from fakes import Clock
from image_share_operator.api.errors import RetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.iam.codec import Token
from image_share_operator.cloud.iam.tokens import TokenSource

pytestmark = pytest.mark.looptime
REFUSAL = TerminalError("token expired", reason=Reason.CREDENTIALS_INVALID)


class Iam:
    """Issues token-1, token-2 and so on; an outage lasts while ``is_down``."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.logins = 0
        self.is_down = False
        self.tokens = TokenSource(self._log_in, self.clock.now)

    async def _log_in(self) -> Token:
        await asyncio.sleep(0.1)
        if self.is_down:
            raise RetryableError("no response from IAM")
        self.logins += 1
        ends_at = self.clock.now() + timedelta(days=1)
        return Token(value=f"token-{self.logins}", expires_at=ends_at, issued_at=self.clock.now())


async def test_requests_with_one_refused_token_share_a_login() -> None:
    iam = Iam()
    refused = await iam.tokens.current()

    renewed = await asyncio.gather(*(iam.tokens.renew(refused, REFUSAL) for _ in range(3)))

    assert renewed == ["token-2"] * 3
    assert iam.logins == 2


async def test_all_requests_report_the_outage_when_the_login_fails() -> None:
    """The refusal of the old token says nothing about the credentials."""
    iam = Iam()
    refused = await iam.tokens.current()
    iam.is_down = True

    results = await asyncio.gather(
        *(iam.tokens.renew(refused, REFUSAL) for _ in range(3)), return_exceptions=True
    )

    assert [str(one) for one in results] == ["no response from IAM"] * 3


async def test_request_logs_in_when_the_login_of_another_failed() -> None:
    iam = Iam()
    refused = await iam.tokens.current()
    iam.is_down = True
    with pytest.raises(RetryableError):
        await iam.tokens.renew(refused, REFUSAL)
    iam.is_down = False

    assert await iam.tokens.renew(refused, REFUSAL) == "token-2"


async def test_new_token_that_is_refused_at_once_is_not_renewed() -> None:
    iam = Iam()
    second = await iam.tokens.renew(await iam.tokens.current(), REFUSAL)
    assert second is not None

    assert await iam.tokens.renew(second, REFUSAL) is None
