"""Calls to the API server: responses and errors."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from kubernetes.aio import client, config

from image_share_operator.api.errors import KubeForbiddenError, KubeRetryableError, ObjectGoneError
from image_share_operator.kube.client import MAX_BODY, ApiServer

SECRET = "hunter2-marked"


@contextlib.asynccontextmanager
async def serving(body: bytes, status: str = "200 OK") -> AsyncIterator[ApiServer]:
    """Serve one response to all requests."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    settings: Any = client.Configuration(host=f"http://127.0.0.1:{port_of(server)}")
    async with server, client.ApiClient(settings) as api:
        yield ApiServer(api, timedelta(seconds=5))


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def read(api: ApiServer) -> Any:
    return await api.call("get", "/x", resource="leases", namespace="demo")


async def test_response_is_returned_as_json() -> None:
    async with serving(json.dumps({"a": "b" * 100_000}).encode()) as api:
        assert await read(api) == {"a": "b" * 100_000}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        f"<html>{SECRET}</html>".encode(),
        f'{{"a": "{SECRET}'.encode(),
        b"\xff\xfe\xfa",
        b"[" * 100_000,
        f'["{SECRET}"]'.encode(),
        b"null",
    ],
    ids=["empty", "HTML", "truncated", "binary", "deeply nested", "list", "null"],
)
async def test_response_without_json_object_is_retryable(body: bytes) -> None:
    """A proxy may return 200 for any request. A renewal of the Lease must survive it."""
    async with serving(body) as api:
        with pytest.raises(KubeRetryableError) as raised:
            await read(api)

    assert str(raised.value) == "get leases in namespace demo: HTTP 200 without a JSON object"
    assert raised.value.__cause__ is None


async def test_response_over_the_size_limit_is_not_read_to_its_end() -> None:
    async with serving(b" " * MAX_BODY + b"{}") as api:
        with pytest.raises(KubeRetryableError, match="the response is over 10 MiB"):
            await read(api)


async def test_error_message_has_the_status_and_not_the_body() -> None:
    async with serving(SECRET.encode(), "404 Not Found") as api:
        with pytest.raises(ObjectGoneError) as raised:
            await read(api)

    assert str(raised.value) == "get leases in namespace demo: HTTP 404"


async def test_denial_names_its_cause_and_not_the_rest_of_the_body() -> None:
    policy = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: name a region"
    body = {"kind": "Status", "message": f'web "{SECRET}" is forbidden: {policy}', "x": SECRET}
    async with serving(json.dumps(body).encode(), "403 Forbidden") as api:
        with pytest.raises(KubeForbiddenError) as raised:
            await read(api)

    assert str(raised.value).startswith(f"get leases in namespace demo: HTTP 403: {policy}; ")
    assert SECRET not in str(raised.value)


class EmptyTokenClient:
    """A client whose token file is empty. It is its own configuration."""

    host = "https://cluster.test"

    @property
    def configuration(self) -> "EmptyTokenClient":
        return self

    async def auth_settings(self) -> Any:
        raise config.ConfigException("Token file exists but empty.")


async def test_unreadable_token_file_is_retryable() -> None:
    broken: Any = EmptyTokenClient()
    api = ApiServer(broken, timedelta(seconds=1))

    with pytest.raises(KubeRetryableError, match="in namespace a: failed to read the token"):
        await api.call("get", "/", resource="secrets", namespace="a")
