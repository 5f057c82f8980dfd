"""One call to the API server: what it may answer, and what becomes of it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from kubernetes.aio import client, config

from image_share_operator.api.errors import KubeRetryableError, ObjectGoneError
from image_share_operator.kube.client import MAX_BODY, ApiServer

SECRET = "hunter2-marked"


@contextlib.asynccontextmanager
async def answering(body: bytes, status: str = "200 OK") -> AsyncIterator[ApiServer]:
    """An API server that has one answer."""
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


async def test_answer_is_read_as_json() -> None:
    async with answering(json.dumps({"a": "b" * 100_000}).encode()) as api:
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
    ids=["empty", "html", "half", "binary", "deep", "a list", "null"],
)
async def test_answer_that_is_no_object_is_asked_for_again(body: bytes) -> None:
    """A proxy on the way may say 200 to anything. It ended the process in the Lease's renewal."""
    async with answering(body) as api:
        with pytest.raises(KubeRetryableError) as told:
            await read(api)

    assert str(told.value) == "get leases in namespace demo: HTTP 200 without a JSON object"
    assert told.value.__cause__ is None


async def test_answer_over_the_bound_is_not_read_to_its_end() -> None:
    async with answering(b" " * MAX_BODY + b"{}") as api:
        with pytest.raises(KubeRetryableError, match="the answer is over 10 MiB"):
            await read(api)


async def test_refusal_is_told_by_its_status_not_by_its_body() -> None:
    async with answering(SECRET.encode(), "404 Not Found") as api:
        with pytest.raises(ObjectGoneError) as told:
            await read(api)

    assert str(told.value) == "get leases in namespace demo: HTTP 404"


class Unreadable:
    """A client whose token file is empty just now; it is its own configuration."""

    host = "https://cluster.test"

    @property
    def configuration(self) -> "Unreadable":
        return self

    async def auth_settings(self) -> Any:
        raise config.ConfigException("Token file exists but empty.")


async def test_token_that_can_not_be_read_is_no_fault_of_the_operator() -> None:
    unreadable: Any = Unreadable()
    api = ApiServer(unreadable, timedelta(seconds=1))

    with pytest.raises(KubeRetryableError, match="get secrets in namespace a: the own token"):
        await api.call("get", "/", resource="secrets", namespace="a")
