"""What the requests of a watch tell, against a server of its own."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from served import served

from image_share_operator.kube.watch.watch_state import WatchState

ALL = "/apis/ims.otc.dev/v1alpha1/imageshareacceptances"
ONE = "/apis/ims.otc.dev/v1alpha1/namespaces/a/imageshareacceptances"
WATCH = "?watch=true"


def event(kind: str | None, uid: str, namespace: str = "a") -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"uid": uid, "namespace": namespace}}}


@contextlib.asynccontextmanager
async def asking(
    watch_state: WatchState, status: int = 200
) -> AsyncGenerator[aiohttp.ClientSession]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with (
        served(answer) as url,
        aiohttp.ClientSession(url, trace_configs=[watch_state.trace()]) as session,
    ):
        yield session


async def test_stream_is_open_from_its_answer_to_the_next_request() -> None:
    watch_state = WatchState(())
    async with asking(watch_state) as session:
        await session.get(ALL + "?limit=500")
        assert not watch_state.are_open
        await session.get(ALL + WATCH)
        assert watch_state.are_open

        await session.get(ALL + "?limit=500")
        assert not watch_state.are_open


@pytest.mark.parametrize("status", [401, 403, 410, 429, 500])
async def test_refused_stream_is_not_open(status: int) -> None:
    watch_state = WatchState(())
    async with asking(watch_state, status) as session:
        await session.get(ALL + WATCH)

        assert not watch_state.are_open


async def test_stream_that_nobody_answers_is_not_open() -> None:
    watch_state = WatchState(())
    async with asking(watch_state) as session:
        await session.get(ALL + WATCH)
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get("http://127.0.0.1:1" + ALL + WATCH)

        assert not watch_state.are_open


async def test_all_namespaces_must_be_watched() -> None:
    watch_state = WatchState(("a", "b"))
    async with asking(watch_state) as session:
        await session.get(ONE + WATCH)
        await session.get("/apis/other" + WATCH)
        assert not watch_state.are_open

        await session.get(ONE.replace("/a/", "/b/") + WATCH)
        assert watch_state.are_open


async def test_objects_of_the_latest_list_count_and_what_came_after_it() -> None:
    watch_state = WatchState(())
    async with asking(watch_state) as session:
        await session.get(ALL + "?limit=500")
        for number in range(3):
            watch_state.brought(event(None, f"u{number}"))
        await session.get(ALL + "?limit=500&continue=x")
        watch_state.brought(event("ADDED", "u3", "b"))
        watch_state.brought(event("MODIFIED", "u3", "b"))
        watch_state.brought(event("DELETED", "u0"))
        assert (watch_state.lists, watch_state.objects) == (1, 3)

        await session.get(ALL + "?limit=500")
        assert (watch_state.lists, watch_state.objects) == (2, 0)


async def test_lists_of_namespaces_are_their_own() -> None:
    watch_state = WatchState(("a", "b"))
    async with asking(watch_state) as session:
        watch_state.brought(event(None, "u1", "a"))
        watch_state.brought(event(None, "u2", "b"))
        watch_state.brought(event(None, "u3", "c"))
        await session.get(ONE)

        assert watch_state.objects == 1
