"""What is news in a watch, and what kopf does not get to see."""

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


def known(key: Key, uid: str, version: int) -> bool:
    """All is known of this object up to version 7; the namespace "foreign" is of others."""
    return key.namespace == "foreign" or (key == KEY and uid == UID and version <= 7)


def page(found: Any) -> Any:
    """Whoever takes objects in takes the first of these lists."""
    match found:
        case {"kind": "Numbered", "items": [_, *left]}:
            return {**found, "items": left}
        case _:
            return found


def line(
    version: int = 7,
    kind: str = "MODIFIED",
    uid: str = UID,
    namespace: str = "demo",
    more: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:
    """A line as the API server writes it: keys sorted, no spaces."""
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
def test_what_is_known_is_no_news(version: int) -> None:
    assert not EventFilter(known, Clock()).of(line(version))


@pytest.mark.parametrize(
    "news",
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
def test_anything_else_is_passed_on(news: bytes) -> None:
    assert EventFilter(known, Clock()).of(news)


def test_others_change_their_objects_without_us() -> None:
    assert not EventFilter(known, Clock()).of(line(99, namespace="foreign"))


@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_no_label_passes_for_the_metadata(where: str) -> None:
    """They come before it, and users choose their names."""
    looks = {"name": "web", "namespace": "demo", "resourceVersion": "1", "uid": UID}

    assert EventFilter(known, Clock()).of(line(8, more={where: looks}))
    assert EventFilter(known, Clock()).of(
        line(8, more={where: {"a": json.dumps(looks) + '},"spec":{'}})
    )
    assert not EventFilter(known, Clock()).of(line(7, more={where: looks}))


def test_now_and_then_a_line_is_passed_on_for_its_version() -> None:
    clock = Clock()
    news = EventFilter(known, clock)
    passed: list[float] = []
    while clock.now < 3.5:
        if news.of(line()):
            passed.append(clock.now)
        clock.now += 0.25

    assert passed == [1, 2, 3]


@contextlib.asynccontextmanager
async def asking(answer: Answer) -> AsyncGenerator[aiohttp.ClientSession]:
    """A session as kopf gets it, of a server that answers so."""
    async with (
        served(answer) as url,
        aiohttp.ClientSession(url, response_class=response_class(known, page)) as session,
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

    async with asking(answer) as session, session.get(f"/{query}") as response:
        yield response


async def read(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([chunk async for chunk in response.content.iter_chunked(2**20)])


STREAM = b"\n".join((line(kind="ADDED"), line(7), line(8), line(5), b""))
NEWS = b"\n".join((line(kind="ADDED"), line(8), b""))


async def test_watch_comes_without_what_is_no_news() -> None:
    async with watch([STREAM]) as response:
        assert await read(response) == NEWS


@pytest.mark.parametrize("query", ["?limit=500", ""])
async def test_answer_that_is_no_watch_stays_whole(query: str) -> None:
    async with watch([STREAM], query) as response:
        assert await read(response) == STREAM


async def test_objects_that_are_taken_from_a_list_are_left_out() -> None:
    numbered = {"kind": "Numbered", "metadata": {"continue": "x"}, "items": [1, 2, 3]}

    async with watch([json.dumps(numbered).encode()], query="?limit=500") as response:
        assert await response.json(content_type=None) == {**numbered, "items": [2, 3]}


async def test_refusal_stays_whole() -> None:
    async with watch([STREAM], status=410) as response:
        assert await response.read() == STREAM


async def test_stream_that_breaks_off_in_a_line_is_passed_on_so() -> None:
    async with watch([STREAM + line()[:40]]) as response:
        assert await read(response) == NEWS + line()[:40]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
async def test_lines_arrive_in_any_pieces(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places) if a < b]
    async with watch(pieces) as response:
        assert await read(response) == NEWS


@pytest.mark.parametrize("end", ["close", "release"])
async def test_stream_that_is_left_is_cut_off(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await left.wait()
        return stream

    async with asking(answer) as session:
        response = await session.get("/?watch=true")
        assert response.connection is not None
        transport = response.connection.transport
        monkeypatch.setattr(transport, "abort", left.set)
        getattr(response, end)()

        assert left.is_set()


async def test_connection_of_an_answer_that_is_whole_serves_the_next() -> None:
    ports: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.Response(body=STREAM)

    async with asking(answer) as session:
        for _ in range(2):
            async with session.get("/") as response:
                await response.read()

    assert ports == [ports[0]] * 2
