"""Ready only when the first list is in and the watch lives; on a virtual clock."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from image_share_operator.api.errors import KubeRetryableError
from image_share_operator.kube.client import ApiServer
from image_share_operator.kube.watch.sync_check import DEAF, LATER, SyncCheck

pytestmark = pytest.mark.looptime


class Cluster:
    """Some objects by namespace, and a watch that has brought some of them."""

    def __init__(self, **there: int) -> None:
        self.there = there
        self.known = 0
        self.alive = True
        self.lists = 1
        self.away = False
        self.recounts = 0
        self.is_part = False
        self.restarts = 0

    async def call(self, verb: str, path: str, *, resource: str, namespace: str) -> Any:
        assert (verb, resource) == ("list", "imageshareacceptances")
        assert "limit=1" in path
        if self.away:
            raise KubeRetryableError("list: no answer")
        count = self.there.get(namespace, sum(self.there.values()))
        metadata = {"remainingItemCount": count - 1} if count > 1 else {}
        return {"items": [{}] * min(count, 1), "metadata": metadata}

    @property
    def listed(self) -> int:
        return self.known

    def restart(self) -> None:
        self.restarts += 1

    async def recount(self) -> None:
        self.recounts += 1
        self.known = sum(self.there.values())

    @contextlib.asynccontextmanager
    async def readiness(self, *namespaces: str) -> AsyncGenerator[SyncCheck]:
        made = SyncCheck(
            cast("ApiServer", self),
            namespaces,
            known=lambda: self.known,
            watch=self,
            recount=None if self.is_part else self.recount,
        )
        looking = asyncio.create_task(made.run())
        await asyncio.sleep(0.1)
        yield made
        looking.cancel()


async def test_not_ready_until_all_that_is_there_is_known() -> None:
    cluster = Cluster(a=700, b=3)
    async with cluster.readiness() as readiness:
        assert readiness.why_not() == "the list is not in: 0 of 703"

        cluster.known = 703
        await asyncio.sleep(1)

        assert readiness.why_not() is None


async def test_ready_at_once_where_there_is_nothing() -> None:
    async with Cluster().readiness() as readiness:
        assert readiness.why_not() is None


async def test_only_watched_namespaces_count() -> None:
    cluster = Cluster(a=2, b=300)
    cluster.known = 2
    async with cluster.readiness("a") as readiness:
        assert readiness.why_not() is None


async def test_not_ready_while_the_watch_is_lost() -> None:
    cluster = Cluster()
    async with cluster.readiness() as readiness:
        cluster.alive = False
        assert readiness.why_not() == "the watch is lost"

        cluster.alive = True
        assert readiness.why_not() is None


async def test_list_of_another_run_does_not_count() -> None:
    """The watch has begun anew, and what changed meanwhile is not known yet."""
    cluster = Cluster(a=3)
    cluster.known = 3
    async with cluster.readiness() as readiness:
        cluster.lists, cluster.known = 2, 1
        assert readiness.why_not() == "the watch is lost"
        await asyncio.sleep(LATER.total_seconds())
        assert readiness.why_not() == "the list is not in: 1 of 3"

        cluster.known = 3
        await asyncio.sleep(1)
        assert readiness.why_not() is None


async def test_list_without_a_watch_after_it_is_not_enough() -> None:
    """As where the right to watch is missing, or nothing is there to be listed."""
    cluster = Cluster()
    cluster.alive = False
    async with cluster.readiness() as readiness:
        await asyncio.sleep(60)

        assert readiness.why_not() == "no watch is open"


async def test_not_ready_while_the_api_server_is_away() -> None:
    cluster = Cluster()
    async with cluster.readiness() as readiness:
        cluster.away = True
        await asyncio.sleep(LATER.total_seconds())
        assert readiness.why_not() == "list: no answer"

        cluster.away = False
        await asyncio.sleep(LATER.total_seconds())
        assert readiness.why_not() is None


async def test_new_objects_do_not_make_it_unready() -> None:
    """More may come than are known at any moment: that is no lost list."""
    cluster = Cluster(a=1)
    cluster.known = 1
    async with cluster.readiness() as readiness:
        cluster.there["a"] = 500
        await asyncio.sleep(LATER.total_seconds())

        assert readiness.why_not() is None


async def test_more_known_than_there_is_asks_for_a_recount() -> None:
    """Something was deleted while no watch looked."""
    cluster = Cluster(a=3)
    cluster.known = 3
    async with cluster.readiness():
        assert cluster.recounts == 0

        cluster.there["a"] = 2
        await asyncio.sleep(2 * LATER.total_seconds())

        assert cluster.recounts == 1


async def test_part_does_not_count_again_after_each_deletion() -> None:
    """What it knows is how many the first list has brought, which never falls."""
    cluster = Cluster(a=10_000)
    cluster.is_part = True
    cluster.known = 10_000
    async with cluster.readiness() as readiness:
        cluster.there["a"] = 9_999
        await asyncio.sleep(3600)

        assert cluster.recounts == 0
        assert readiness.why_not() is None


async def test_watch_that_is_not_open_although_all_is_well_begins_anew() -> None:
    """As where kopf looked for the kind a moment before its CRD came."""
    cluster = Cluster(a=1)
    cluster.alive = False
    async with cluster.readiness():
        await asyncio.sleep(DEAF.total_seconds() + 2)
        assert cluster.restarts == 1

        await asyncio.sleep(600)
        assert cluster.restarts == 6  # each wait is twice as long as the one before


async def test_watch_is_left_alone_while_it_lists() -> None:
    cluster = Cluster(a=60_000)
    cluster.alive = False
    async with cluster.readiness():
        for _ in range(60):
            cluster.known += 1_000
            await asyncio.sleep(1)

        assert cluster.restarts == 0


async def test_watch_is_left_alone_while_the_api_server_does_not_answer() -> None:
    cluster = Cluster()
    cluster.alive, cluster.away = False, True
    async with cluster.readiness():
        await asyncio.sleep(60)

        assert cluster.restarts == 0
