"""The watch state, from requests to a local server."""

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
async def session_for(
    watch_state: WatchState, status: int = 200
) -> AsyncGenerator[aiohttp.ClientSession]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with (
        served(answer) as url,
        aiohttp.ClientSession(url, trace_configs=[watch_state.trace_config()]) as session,
    ):
        yield session


async def test_stream_is_open_from_its_response_to_the_next_request() -> None:
    watch_state = WatchState(())
    async with session_for(watch_state) as session:
        await session.get(ALL + "?limit=500")
        assert not watch_state.all_open
        await session.get(ALL + WATCH)
        assert watch_state.all_open

        await session.get(ALL + "?limit=500")
        assert not watch_state.all_open


@pytest.mark.parametrize("status", [401, 403, 410, 429, 500])
async def test_stream_is_not_open_after_an_error_response(status: int) -> None:
    watch_state = WatchState(())
    async with session_for(watch_state, status) as session:
        await session.get(ALL + WATCH)

        assert not watch_state.all_open


async def test_stream_is_not_open_when_the_connection_fails() -> None:
    watch_state = WatchState(())
    async with session_for(watch_state) as session:
        await session.get(ALL + WATCH)
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get("http://127.0.0.1:1" + ALL + WATCH)

        assert not watch_state.all_open


async def test_all_open_needs_a_stream_for_each_namespace() -> None:
    watch_state = WatchState(("a", "b"))
    async with session_for(watch_state) as session:
        await session.get(ONE + WATCH)
        await session.get("/apis/other" + WATCH)
        assert not watch_state.all_open

        await session.get(ONE.replace("/a/", "/b/") + WATCH)
        assert watch_state.all_open


async def test_object_count_has_the_latest_list_and_later_events() -> None:
    watch_state = WatchState(())
    async with session_for(watch_state) as session:
        await session.get(ALL + "?limit=500")
        for number in range(3):
            watch_state.count(event(None, f"u{number}"))
        await session.get(ALL + "?limit=500&continue=x")
        watch_state.count(event("ADDED", "u3", "b"))
        watch_state.count(event("MODIFIED", "u3", "b"))
        watch_state.count(event("DELETED", "u0"))
        assert (watch_state.list_count, watch_state.object_count) == (1, 3)

        await session.get(ALL + "?limit=500")
        assert (watch_state.list_count, watch_state.object_count) == (2, 0)


async def test_new_list_of_a_namespace_resets_only_its_own_count() -> None:
    watch_state = WatchState(("a", "b"))
    async with session_for(watch_state) as session:
        watch_state.count(event(None, "u1", "a"))
        watch_state.count(event(None, "u2", "b"))
        watch_state.count(event(None, "u3", "c"))
        await session.get(ONE)

        assert watch_state.object_count == 1
