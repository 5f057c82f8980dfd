"""The event filter: which events and list items kopf receives."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, Mapping
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from served import Answer, served

from image_share_operator.api.types import Key
from image_share_operator.kube.watch.event_filter import EventFilter, response_class

KEY, UID = Key("demo", "web"), "6bfffb37-73b8-48a3-ae43-9f0b74505e17"


def is_known(key: Key, uid: str, version: int) -> bool:
    """The store has version 7 of this object; "foreign" is a namespace of another shard."""
    return key.namespace == "foreign" or (key == KEY and uid == UID and version <= 7)


def filter_page(page: Any) -> Any:
    """Remove the first item of lists of the kind "Numbered"."""
    match page:
        case {"kind": "Numbered", "items": [_, *rest]}:
            return {**page, "items": rest}
        case _:
            return page


def line(
    version: int = 7,
    kind: str = "MODIFIED",
    uid: str = UID,
    namespace: str = "demo",
    more: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:
    """Return a line in the form of the API server: keys sorted, no spaces."""
    metadata = {
        "name": "web",
        "namespace": namespace,
        "resourceVersion": str(version),
        "uid": uid,
        "managedFields": [{"fieldsV1": {"f:status": {}}, "manager": "bench"}],
        **more,
    }
    body = {"metadata": metadata, "spec": {"images": ["i"]}, "status": {"summary": "1/1"}}
    whole = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return f'{{"type":"{kind}","object":{whole}}}'.encode()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("version", [6, 7])
def test_event_of_a_known_version_is_removed(version: int) -> None:
    assert not EventFilter(is_known, Clock()).passes(line(version))


@pytest.mark.parametrize(
    "event",
    [
        line(8),
        line(uid="another"),
        line(namespace="other"),
        *(line(kind=kind) for kind in ("ADDED", "DELETED", "BOOKMARK", "ERROR")),
        b'{"type":"MODIFIED","object":{}}',
        b"",
        b"\xff\xfe",
    ],
)
def test_any_other_line_is_passed_on(event: bytes) -> None:
    assert EventFilter(is_known, Clock()).passes(event)


def test_change_in_another_shard_is_removed() -> None:
    assert not EventFilter(is_known, Clock()).passes(line(99, namespace="foreign"))


@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_label_or_annotation_is_not_mistaken_for_the_identity(where: str) -> None:
    """Users choose the keys and values of both, which come before the metadata fields."""
    fake = {"name": "web", "namespace": "demo", "resourceVersion": "1", "uid": UID}

    assert EventFilter(is_known, Clock()).passes(line(8, more={where: fake}))
    assert EventFilter(is_known, Clock()).passes(
        line(8, more={where: {"a": json.dumps(fake) + '},"spec":{'}})
    )
    assert not EventFilter(is_known, Clock()).passes(line(7, more={where: fake}))


def test_one_line_per_second_is_passed_on() -> None:
    clock = Clock()
    event_filter = EventFilter(is_known, clock)
    passed: list[float] = []
    while clock.now < 3.5:
        if event_filter.passes(line()):
            passed.append(clock.now)
        clock.now += 0.25

    assert passed == [1, 2, 3]


@contextlib.asynccontextmanager
async def session_for(answer: Answer) -> AsyncGenerator[aiohttp.ClientSession]:
    """Open a session with the filter, for a server with this handler."""
    async with (
        served(answer) as url,
        aiohttp.ClientSession(url, response_class=response_class(is_known, filter_page)) as session,
    ):
        yield session


@contextlib.asynccontextmanager
async def watch(
    chunks: list[bytes], query: str = "?watch=true", status: int = 200
) -> AsyncGenerator[aiohttp.ClientResponse]:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(status=status)
        await stream.prepare(request)
        for chunk in chunks:
            await stream.write(chunk)
            await asyncio.sleep(0)
        return stream

    async with session_for(answer) as session, session.get(f"/{query}") as response:
        yield response


async def read(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([chunk async for chunk in response.content.iter_chunked(2**20)])


STREAM = b"\n".join((line(kind="ADDED"), line(7), line(8), line(5), b""))
PASSED = b"\n".join((line(kind="ADDED"), line(8), b""))


async def test_known_events_are_removed_from_a_watch_response() -> None:
    async with watch([STREAM]) as response:
        assert await read(response) == PASSED


@pytest.mark.parametrize("query", ["?limit=500", ""])
async def test_response_that_is_no_watch_is_unchanged(query: str) -> None:
    async with watch([STREAM], query) as response:
        assert await read(response) == STREAM


async def test_filtered_items_are_removed_from_a_list_response() -> None:
    numbered = {"kind": "Numbered", "metadata": {"continue": "x"}, "items": [1, 2, 3]}

    async with watch([json.dumps(numbered).encode()], query="?limit=500") as response:
        assert await response.json(content_type=None) == {**numbered, "items": [2, 3]}


async def test_error_response_is_unchanged() -> None:
    async with watch([STREAM], status=410) as response:
        assert await response.read() == STREAM


async def test_incomplete_last_line_is_passed_on() -> None:
    async with watch([STREAM + line()[:40]]) as response:
        assert await read(response) == PASSED + line()[:40]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
async def test_lines_are_filtered_when_split_into_any_chunks(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places) if a < b]
    async with watch(pieces) as response:
        assert await read(response) == PASSED


@pytest.mark.parametrize("end", ["close", "release"])
async def test_connection_of_an_incomplete_response_is_aborted(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await left.wait()
        return stream

    async with session_for(answer) as session:
        response = await session.get("/?watch=true")
        assert response.connection is not None
        transport = response.connection.transport
        monkeypatch.setattr(transport, "abort", left.set)
        getattr(response, end)()

        assert left.is_set()


async def test_connection_of_a_complete_response_is_reused() -> None:
    ports: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.Response(body=STREAM)

    async with session_for(answer) as session:
        for _ in range(2):
            async with session.get("/") as response:
                await response.read()

    assert ports == [ports[0]] * 2


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", "7"),
        ("Mon, 04 May 2026 03:02:31 GMT", "30"),
        ("Mon, 04 May 2026 03:02:01 GMT", "1"),
        ("Mon, 04 May 2026 03:02:31", None),
        ("soon", None),
        ("1" * 400, None),
    ],
    ids=["seconds", "date", "now", "date without a zone", "text", "too large"],
)
async def test_retry_after_is_in_seconds_or_absent(given: str, seconds: str | None) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        date = {"Date": "Mon, 04 May 2026 03:02:01 GMT"}
        return web.Response(status=429, headers={"Retry-After": given, "X-Other": "7", **date})

    async with session_for(answer) as session, session.get("/") as response:
        assert response.headers.get("Retry-After") == seconds
        assert response.headers["X-Other"] == "7"


@pytest.mark.parametrize("query", ["?watch=true", "?limit=500"])
async def test_response_of_a_closed_session_raises_what_kopf_handles(query: str) -> None:
    """At a 401, kopf closes its session, which other tasks of kopf may have begun to use."""
    left = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await left.wait()
        return stream

    async with session_for(answer) as session:
        response = await session.get(f"/{query}")
        await session.close()
        left.set()

        with pytest.raises(aiohttp.ClientConnectionError):
            await (read(response) if "watch" in query else response.json())
        response.close()
