"""kopf in this process: a store that the watches of namespaces fill, with no reconciler."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from image_share_operator import handlers
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.watch.watcher import Watcher
from image_share_operator.sharding import Shard


@contextlib.asynccontextmanager
async def watch_of(
    *namespaces: str, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[tuple[Watcher, ObjectStore]]:
    """Run the watch until left; it may not have begun yet."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    store = ObjectStore()
    watcher = Watcher(
        store,
        WorkQueue(),
        functools.partial(handlers.registry, login_interval=timedelta()),
        namespaces=namespaces,
        shard=Shard.parse("0/1"),
        request_timeout_s=30,
        silence_s=70,
    )
    thread = Thread(target=watcher.run, args=(asyncio.get_running_loop(),), daemon=True)
    thread.start()
    try:
        yield watcher, store
    finally:
        watcher.stop()
        await asyncio.to_thread(thread.join, 10)
