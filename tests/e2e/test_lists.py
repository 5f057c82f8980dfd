"""What kopf carries of the lists of a real API server; kopf runs in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import apply_status, create, full_status, patch_spec, path_of
from e2e.watching import watch_of
from envtest import ControlPlane, eventually, install_rights, proxy
from envtest.proxy import FaultyProxy
from image_share_operator.api import status_json
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.kube.watch.ingest import Ingest
from image_share_operator.kube.watch.watcher import Watcher

RESOURCES = "*/imageshareacceptances"


@dataclass
class Watching:
    """A store that a watch fills, page by page of two objects.

    Attributes:
        carried: type and name of each event that came through kopf.
    """

    watcher: Watcher
    store: ObjectStore
    carried: list[tuple[str | None, str]]

    async def until(self, done: Callable[[], bool]) -> None:
        await asyncio.to_thread(eventually, lambda: done() or None)

    @property
    def known(self) -> set[str]:
        return {entry.key.name for entry in self.store}


@pytest.fixture
def faulty(control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane.url, ca_file=control_plane.ca_file) as running:
        running.limit_pages(2)
        yield running


@pytest.fixture
def objects(control_plane: ControlPlane, namespace: str) -> list[Any]:
    """Three settled objects and one that is not."""
    made = [create(control_plane, namespace) for _ in range(4)]
    said = full_status()
    settled = replace(said, job=None, unanswered=None, conditions=said.conditions[:1])
    for one in made[:3]:
        apply_status(control_plane, one, status_json.write(settled)).raise_for_status()
    return made


@pytest.fixture
async def watching(
    control_plane: ControlPlane,
    namespace: str,
    faulty: FaultyProxy,
    objects: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Watching]:
    """A watch that begins when the objects are there."""
    carried: list[tuple[str | None, str]] = []
    handle = Ingest.handle_event

    def record(ingest: Ingest, event: Any) -> None:
        carried.append((event["type"], event["object"]["metadata"]["name"]))
        handle(ingest, event)

    monkeypatch.setattr(Ingest, "handle_event", record)
    kubeconfig = faulty.kubeconfig(install_rights(control_plane), tmp_path / "kubeconfig")
    async with watch_of(namespace, kubeconfig=kubeconfig, monkeypatch=monkeypatch) as (
        watcher,
        store,
    ):
        world = Watching(watcher, store, carried)
        await world.until(lambda: watcher.is_open and watcher.object_count == len(objects))
        yield world


def names(objects: list[Any]) -> list[str]:
    return [one["metadata"]["name"] for one in objects]


async def test_list_goes_through_kopf_where_there_is_something_to_do(
    watching: Watching, control_plane: ControlPlane, objects: list[Any]
) -> None:
    *_, changed, new = names(objects)
    await watching.until(lambda: watching.known == set(names(objects)))
    assert watching.carried == [(None, new)]

    patch_spec(control_plane, objects[2], interval="2h").raise_for_status()
    control_plane.http.delete(path_of(objects[0])).raise_for_status()
    await watching.until(lambda: watching.known == set(names(objects[1:])))

    assert watching.carried[1:] == [("MODIFIED", changed), ("DELETED", names(objects)[0])]
    assert watching.watcher.object_count == 3


async def test_list_that_is_read_again_goes_through_kopf_where_it_is_news(
    watching: Watching, control_plane: ControlPlane, faulty: FaultyProxy, objects: list[Any]
) -> None:
    await watching.until(lambda: watching.known == set(names(objects)))
    before, watching.carried[:] = watching.watcher.list_id, []

    faulty.silence_watches()
    patch_spec(control_plane, objects[2], interval="2h").raise_for_status()
    control_plane.http.delete(path_of(objects[0])).raise_for_status()
    faulty.end_watches(RESOURCES, last=proxy.gone_event())
    faulty.unsilence_watches()
    await watching.until(
        lambda: watching.watcher.list_id != before and watching.watcher.object_count == 3
    )
    await watching.until(lambda: watching.carried != [])

    assert watching.carried == [(None, names(objects)[2])]
