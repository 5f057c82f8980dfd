"""What is missing around the operator is told, also by way of an API server that is away."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from image_share_operator.api.errors import KubeRetryableError, ObjectGoneError
from image_share_operator.api.types import GROUP, PLURAL
from image_share_operator.kube.client import ApiServer
from image_share_operator.kube.preflight import EVERY, SETTLES, Preflight

pytestmark = pytest.mark.looptime

CRD = f"the CRD {PLURAL}.{GROUP} is not installed"
SECRETS = "the operator's ServiceAccount may not get secrets in all namespaces"
BACK = "what was missing is there now"


@dataclass
class Cluster:
    """Answers discovery and reviews of rights; ``fails`` are raised while there are any."""

    installed: bool = True
    denied: str | None = None
    fails: list[Exception] = field(default_factory=list)
    completed: int = 0

    async def call(
        self, verb: str, path: str, *, resource: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        del path, resource
        if self.fails:
            raise self.fails.pop(0)
        if verb == "create":
            assert body is not None
            asked = body["spec"]["resourceAttributes"]
            return {"status": {"allowed": f"{asked['verb']} {asked['resource']}" != self.denied}}
        if not self.installed:
            raise ObjectGoneError("HTTP 404")
        return {"resources": [{"name": PLURAL}]}

    def complete(self) -> None:
        self.completed += 1

    @contextlib.asynccontextmanager
    async def preflight(self) -> AsyncGenerator[asyncio.Task[None]]:
        made = Preflight(cast("ApiServer", self), (), complete=self.complete)
        looking = asyncio.create_task(made.run())
        await asyncio.sleep(0)
        yield looking
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def looks(number: int) -> None:
    await asyncio.sleep(number * EVERY.total_seconds() + 0.1)


async def test_nothing_is_told_where_nothing_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    async with cluster.preflight() as looking:
        await looking

    assert caplog.messages == []
    assert cluster.completed == 0


async def test_missing_crd_is_told_once_and_its_coming_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    cluster = Cluster(installed=False)
    async with cluster.preflight() as looking:
        await looks(3)
        assert [text[: len(CRD)] for text in caplog.messages] == [CRD]

        cluster.installed = True
        await looking

    assert caplog.messages[1:] == [BACK]
    assert cluster.completed == 1


@pytest.mark.parametrize(
    "failure",
    [KubeRetryableError("HTTP 503"), TypeError("an answer that nobody expects")],
    ids=lambda failure: type(failure).__name__,
)
async def test_look_that_fails_does_not_say_that_all_is_there(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cluster = Cluster(installed=False)
    async with cluster.preflight() as looking:
        cluster.fails = [failure] * 3
        await looks(4)

        assert not looking.done()
        assert BACK not in caplog.messages
        assert sum(text.startswith(CRD) for text in caplog.messages) == 1
        assert caplog.messages.count("no preflight") <= 1
        cluster.installed = True
        await looking

    assert cluster.completed == 1


async def test_missing_right_is_told_when_the_api_server_was_away_at_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Cluster(denied="get secrets", fails=[KubeRetryableError("no answer")] * 5)
    async with cluster.preflight() as looking:
        await looks(6)

        assert [text[: len(SECRETS)] for text in caplog.messages] == [SECRETS]
        assert not looking.done()


async def test_watch_starts_over_a_moment_after_discovery_knows_the_kind() -> None:
    cluster = Cluster(installed=False)
    async with cluster.preflight() as looking:
        cluster.installed = True
        await looks(1)
        assert cluster.completed == 0

        await asyncio.sleep(SETTLES.total_seconds())
        assert cluster.completed == 1
        assert looking.done()
