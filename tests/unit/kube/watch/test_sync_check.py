"""The sync check: ready only with a complete list and an open watch; on a virtual clock."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from image_share_operator.api.errors import KubeRetryableError
from image_share_operator.kube.client import ApiServer
from image_share_operator.kube.watch.sync_check import READY_INTERVAL, RESTART_AFTER, SyncCheck

pytestmark = pytest.mark.looptime


class FakeCluster:
    """Objects by namespace, and a watch that has received some of them."""

    def __init__(self, **existing: int) -> None:
        self.existing = existing
        self.received = 0
        self.is_open = True
        self.list_id = 1
        self.unavailable = False
        self.resyncs = 0
        self.is_sharded = False
        self.restarts = 0

    async def call(self, verb: str, path: str, *, resource: str, namespace: str) -> Any:
        assert (verb, resource) == ("list", "imageshareacceptances")
        assert "limit=1" in path
        if self.unavailable:
            raise KubeRetryableError("list: no response")
        count = self.existing.get(namespace, sum(self.existing.values()))
        metadata = {"remainingItemCount": count - 1} if count > 1 else {}
        return {"items": [{}] * min(count, 1), "metadata": metadata}

    @property
    def object_count(self) -> int:
        return self.received

    def restart(self) -> None:
        self.restarts += 1

    async def resync(self) -> None:
        self.resyncs += 1
        self.received = sum(self.existing.values())

    @contextlib.asynccontextmanager
    async def sync_check(self, *namespaces: str) -> AsyncGenerator[SyncCheck]:
        sync_check = SyncCheck(
            cast("ApiServer", self),
            namespaces,
            stored_count=lambda: self.received,
            watch=self,
            resync=None if self.is_sharded else self.resync,
        )
        running = asyncio.create_task(sync_check.run())
        await asyncio.sleep(0.1)
        yield sync_check
        running.cancel()


async def test_not_ready_until_all_objects_are_received() -> None:
    cluster = FakeCluster(a=700, b=3)
    async with cluster.sync_check() as sync_check:
        assert sync_check.why_not_ready() == "the list is not complete: 0 of 703 objects"

        cluster.received = 703
        await asyncio.sleep(1)

        assert sync_check.why_not_ready() is None


async def test_ready_at_once_without_objects() -> None:
    async with FakeCluster().sync_check() as sync_check:
        assert sync_check.why_not_ready() is None


async def test_only_watched_namespaces_count() -> None:
    cluster = FakeCluster(a=2, b=300)
    cluster.received = 2
    async with cluster.sync_check("a") as sync_check:
        assert sync_check.why_not_ready() is None


async def test_not_ready_while_the_watch_is_lost() -> None:
    cluster = FakeCluster()
    async with cluster.sync_check() as sync_check:
        cluster.is_open = False
        assert sync_check.why_not_ready() == "the watch is lost"

        cluster.is_open = True
        assert sync_check.why_not_ready() is None


async def test_not_ready_until_a_new_list_is_complete() -> None:
    """After a new list starts, changes since the last list are not known yet."""
    cluster = FakeCluster(a=3)
    cluster.received = 3
    async with cluster.sync_check() as sync_check:
        cluster.list_id, cluster.received = 2, 1
        assert sync_check.why_not_ready() == "the watch is lost"
        await asyncio.sleep(READY_INTERVAL.total_seconds())
        assert sync_check.why_not_ready() == "the list is not complete: 1 of 3 objects"

        cluster.received = 3
        await asyncio.sleep(1)
        assert sync_check.why_not_ready() is None


async def test_not_ready_when_no_watch_follows_the_list() -> None:
    """As without permission to watch, or without objects."""
    cluster = FakeCluster()
    cluster.is_open = False
    async with cluster.sync_check() as sync_check:
        await asyncio.sleep(60)

        assert sync_check.why_not_ready() == "no watch is open"


async def test_not_ready_while_the_api_server_is_unavailable() -> None:
    cluster = FakeCluster()
    async with cluster.sync_check() as sync_check:
        cluster.unavailable = True
        await asyncio.sleep(READY_INTERVAL.total_seconds())
        assert sync_check.why_not_ready() == "list: no response"

        cluster.unavailable = False
        await asyncio.sleep(READY_INTERVAL.total_seconds())
        assert sync_check.why_not_ready() is None


async def test_stays_ready_when_many_objects_are_created() -> None:
    """Objects that are created later do not make a complete list incomplete."""
    cluster = FakeCluster(a=1)
    cluster.received = 1
    async with cluster.sync_check() as sync_check:
        cluster.existing["a"] = 500
        await asyncio.sleep(READY_INTERVAL.total_seconds())

        assert sync_check.why_not_ready() is None


async def test_resync_is_called_when_the_store_has_more_objects() -> None:
    """An object was deleted while no watch was open."""
    cluster = FakeCluster(a=3)
    cluster.received = 3
    async with cluster.sync_check():
        assert cluster.resyncs == 0

        cluster.existing["a"] = 2
        await asyncio.sleep(2 * READY_INTERVAL.total_seconds())

        assert cluster.resyncs == 1


async def test_shard_does_not_resync_after_deletions() -> None:
    """It cannot compare the counts: it does not store the objects of other shards."""
    cluster = FakeCluster(a=10_000)
    cluster.is_sharded = True
    cluster.received = 10_000
    async with cluster.sync_check() as sync_check:
        cluster.existing["a"] = 9_999
        await asyncio.sleep(3600)

        assert cluster.resyncs == 0
        assert sync_check.why_not_ready() is None


async def test_kopf_is_restarted_when_no_watch_opens() -> None:
    """As when kopf searched for the kind just before the CRD was installed."""
    cluster = FakeCluster(a=1)
    cluster.is_open = False
    async with cluster.sync_check():
        await asyncio.sleep(RESTART_AFTER.total_seconds() + 2)
        assert cluster.restarts == 1

        await asyncio.sleep(600)
        assert cluster.restarts == 6  # each restart doubles the delay


async def test_kopf_is_not_restarted_while_it_lists() -> None:
    cluster = FakeCluster(a=60_000)
    cluster.is_open = False
    async with cluster.sync_check():
        for _ in range(60):
            cluster.received += 1_000
            await asyncio.sleep(1)

        assert cluster.restarts == 0


async def test_kopf_is_not_restarted_while_the_api_server_is_unavailable() -> None:
    cluster = FakeCluster()
    cluster.is_open, cluster.unavailable = False, True
    async with cluster.sync_check():
        await asyncio.sleep(60)

        assert cluster.restarts == 0
