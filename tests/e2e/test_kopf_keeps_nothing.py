"""That kopf keeps nothing of an object once its event is handed over; kopf runs in this process."""

import asyncio
import gc
from threading import Thread

import pytest
from kopf._core.reactor.inventory import ResourceMemory

from e2e.conftest import create
from e2e.live.process import eventually, install_rights
from envtest import ControlPlane
from image_share_operator.handlers import Watcher
from image_share_operator.queue import WorkQueue
from image_share_operator.shard import Shard
from image_share_operator.store import Store

OBJECTS = 5


async def test_an_object_that_is_known_takes_no_memory_in_kopf(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(install_rights(control_plane)))
    store, queue = Store(), WorkQueue()
    watcher = Watcher(
        store, queue, namespaces=(namespace,), shard=Shard.parse("0/1"), request_timeout_s=30
    )
    watching = Thread(target=watcher.run, args=(asyncio.get_running_loop(),), daemon=True)
    watching.start()
    try:
        for _ in range(OBJECTS):
            create(control_plane, namespace)
        await asyncio.to_thread(eventually, lambda: len(store) == OBJECTS or None)
        await asyncio.sleep(0.5)  # the last event is being put away
        gc.collect()
        kept = [one for one in gc.get_objects() if isinstance(one, ResourceMemory)]
    finally:
        watcher.stop()
        await asyncio.to_thread(watching.join, 10)

    assert kept == []
