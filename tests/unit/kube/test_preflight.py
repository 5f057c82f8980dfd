"""Preflight: logs a missing CRD or permission, also after the API server was unavailable."""

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
from image_share_operator.kube.preflight import CHECK_INTERVAL, DISCOVERY_DELAY, Preflight

pytestmark = pytest.mark.looptime

CRD = f"the CRD {PLURAL}.{GROUP} is not installed"
SECRETS = "the operator's ServiceAccount cannot get secrets in all namespaces"
PASSED = "preflight passed: the CRD is installed and no permission is missing"


@dataclass
class FakeApiServer:
    """Serves discovery and access reviews. Each call raises the next error, if there is one."""

    installed: bool = True
    denied: str | None = None
    errors: list[Exception] = field(default_factory=list)
    completed: int = 0

    async def call(
        self, verb: str, path: str, *, resource: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        del path, resource
        if self.errors:
            raise self.errors.pop(0)
        if verb == "create":
            assert body is not None
            attributes = body["spec"]["resourceAttributes"]
            return {
                "status": {
                    "allowed": f"{attributes['verb']} {attributes['resource']}" != self.denied
                }
            }
        if not self.installed:
            raise ObjectGoneError("HTTP 404")
        return {"resources": [{"name": PLURAL}]}

    def on_complete(self) -> None:
        self.completed += 1

    @contextlib.asynccontextmanager
    async def preflight(self) -> AsyncGenerator[asyncio.Task[None]]:
        preflight = Preflight(cast("ApiServer", self), (), on_complete=self.on_complete)
        running = asyncio.create_task(preflight.run())
        await asyncio.sleep(0)
        yield running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def checks(number: int) -> None:
    await asyncio.sleep(number * CHECK_INTERVAL.total_seconds() + 0.1)


async def test_nothing_is_logged_when_nothing_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApiServer()
    async with api.preflight() as running:
        await running

    assert caplog.messages == []
    assert api.completed == 0


async def test_missing_crd_is_logged_once_and_its_installation_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    api = FakeApiServer(installed=False)
    async with api.preflight() as running:
        await checks(3)
        assert [text[: len(CRD)] for text in caplog.messages] == [CRD]

        api.installed = True
        await running

    assert caplog.messages[1:] == [PASSED]
    assert api.completed == 1


@pytest.mark.parametrize(
    "failure",
    [KubeRetryableError("HTTP 503"), TypeError("unexpected response")],
    ids=lambda failure: type(failure).__name__,
)
async def test_failed_check_does_not_pass(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api = FakeApiServer(installed=False)
    async with api.preflight() as running:
        api.errors = [failure] * 3
        await checks(4)

        assert not running.done()
        assert PASSED not in caplog.messages
        assert sum(text.startswith(CRD) for text in caplog.messages) == 1
        assert caplog.messages.count("preflight failed") <= 1
        api.installed = True
        await running

    assert api.completed == 1


async def test_missing_permission_is_logged_after_an_unavailable_api_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = FakeApiServer(denied="get secrets", errors=[KubeRetryableError("no response")] * 5)
    async with api.preflight() as running:
        await checks(6)

        assert [text[: len(SECRETS)] for text in caplog.messages] == [SECRETS]
        assert not running.done()


async def test_on_complete_is_called_after_the_discovery_delay() -> None:
    api = FakeApiServer(installed=False)
    async with api.preflight() as running:
        api.installed = True
        await checks(1)
        assert api.completed == 0

        await asyncio.sleep(DISCOVERY_DELAY.total_seconds())
        assert api.completed == 1
        assert running.done()
