"""kopf ends for a reason of its own, in this process; the watch is open again without help."""

import asyncio
from pathlib import Path

import pytest

from e2e.conftest import create, empty
from e2e.watching import watch_of
from envtest import ControlPlane, eventually, install_rights
from envtest.proxy import FaultyProxy, Hang, refusal

WATCHED = "*/namespaces/{}/imageshareacceptances"
NOT_FOUND = refusal(404, "NotFound", "the server could not find the requested resource")
OTHERS = 6
"""Without a limit, kopf waits for each of the other watches in about half of the runs."""


async def test_watch_opens_again_when_one_fails_beside_others_without_answer(
    control_plane: ControlPlane,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when the CRD is deleted while the API server is busy."""
    others = [control_plane.create_namespace("other") for _ in range(OTHERS)]
    with FaultyProxy(control_plane.url, ca_file=control_plane.ca_file) as faulty:
        kubeconfig = faulty.kubeconfig(install_rights(control_plane), tmp_path / "kubeconfig")
        faulty.fault("watch", WATCHED.format(namespace), NOT_FOUND, count=1)
        faulty.fault("watch", WATCHED.format("other-*"), Hang(), count=OTHERS)
        watched = (namespace, *others)

        async with watch_of(*watched, kubeconfig=kubeconfig, monkeypatch=monkeypatch) as (
            watcher,
            store,
        ):
            await asyncio.to_thread(eventually, lambda: watcher.is_open or None)
            made = [create(control_plane, where)["metadata"]["name"] for where in watched]
            await asyncio.to_thread(
                eventually, lambda: {entry.key.name for entry in store} == set(made) or None
            )

    for other in others:  # a later operator would serve them
        empty(control_plane, other)
    assert "kopf did not end within 10 s; cancelling its tasks" in caplog.messages
    assert "watch ended (TimeoutError); restarting in 1 s" in caplog.messages
    assert "asyncio" not in {record.name for record in caplog.records}
