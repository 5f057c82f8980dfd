"""429 by API Priority and Fairness: the operator waits as long as the response asks for."""

import asyncio
import json
import ssl
from typing import Any

import httpx
import pytest

from e2e.live.api_faults.proxied import RESOURCES, SECRET, STATUS, gaps, start
from e2e.live.world import PUT, REQUEST_S, World
from envtest import ControlPlane, eventually, proxy
from envtest.proxy import Answer, FaultyProxy

NOW = "Mon, 04 May 2026 03:02:01 GMT"
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
FLOW_MINOR = 29


def test_429_of_the_api_server_looks_as_the_proxy_makes_it(control_plane: ControlPlane) -> None:
    if control_plane.minor < FLOW_MINOR:
        pytest.skip("a priority level with no shares needs flowcontrol v1 of Kubernetes 1.29")
    http, namespace = control_plane.http, control_plane.create_namespace("flow")
    level = {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 0, "limitResponse": {"type": "Reject"}},
    }
    everything = {
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
        "clusterScope": True,
        "namespaces": ["*"],
    }
    account = {"kind": "ServiceAccount", "serviceAccount": {"name": "busy", "namespace": namespace}}
    schema: dict[str, Any] = {
        "matchingPrecedence": 2,
        "priorityLevelConfiguration": {"name": namespace},
        "rules": [{"subjects": [account], "resourceRules": [everything]}],
    }
    for kind, spec in (("prioritylevelconfigurations", level), ("flowschemas", schema)):
        body = {"metadata": {"name": namespace}, "spec": spec}
        http.post(f"{FLOW}/{kind}", json=body).raise_for_status()
    config = json.loads(control_plane.service_account_kubeconfig(namespace, "busy").read_text())
    made = proxy.too_many_requests(1)

    token = config["users"][0]["user"]["token"]
    real = eventually(lambda: asyncio.run(burst(control_plane, namespace, token)))

    assert real.text == made.body
    assert real.headers["Content-Type"] == made.content_type
    assert real.headers["Retry-After"] == made.headers["Retry-After"]
    assert set(map(str.lower, made.headers)) <= set(real.headers)


async def burst(control_plane: ControlPlane, namespace: str, token: str) -> httpx.Response | None:
    """Send more at once than the priority level lets through; return one that was refused."""
    async with httpx.AsyncClient(
        base_url=control_plane.url,
        headers={"Authorization": f"Bearer {token}"},
        verify=ssl.create_default_context(cafile=control_plane.ca_file),
        trust_env=False,
        timeout=REQUEST_S,
    ) as client:
        path = f"/api/v1/namespaces/{namespace}/secrets/none"
        answers = await asyncio.gather(*(client.get(path) for _ in range(100)))
    return next((a for a in answers if a.status_code == httpx.codes.TOO_MANY_REQUESTS), None)


def test_429_on_status_writes_is_waited_out_and_nothing_is_sent_twice(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.too_many_requests(2), count=6)
    images = [world.image() for _ in range(3)]

    for number, image in enumerate(images):
        world.apply([image], name=f"web-{number}")
    for number in range(3):
        world.wait_for("Accepted", name=f"web-{number}")

    assert world.sent() == sorted(images)
    for number in range(3):
        writes = faulty.calls("patch", f"*/web-{number}/status")
        refused = [gap for call, gap in zip(writes, gaps(writes), strict=False) if call.spoiled]
        assert min(refused, default=2.0) >= 2.0
    assert len(faulty.calls("patch", STATUS)) == 6 + 2 * 3


def test_429_on_secret_reads_is_waited_out(world: World, faulty: FaultyProxy) -> None:
    start(world, faulty)
    faulty.fault("get", SECRET, proxy.too_many_requests(3), count=2)

    world.accept()

    reads = faulty.calls("get", SECRET)
    assert len(reads) == 3
    assert min(gaps(reads)) >= 3.0
    assert world.calls(PUT) == 1


def test_429_on_the_read_of_a_shared_secret_is_not_asked_for_by_each_object(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("get", SECRET, proxy.too_many_requests(3))
    for number in range(10):
        world.apply([world.image()], name=f"web-{number}")

    eventually(lambda: faulty.calls("get", SECRET) or None)
    first = faulty.calls("get", SECRET)[0].at
    eventually(lambda: faulty.calls("get", SECRET)[-1].at > first + 2.5 or None)

    assert len([call for call in faulty.calls("get", SECRET) if call.at <= first + 2.5]) <= 2


@pytest.mark.parametrize(
    ("refusal", "least_s"),
    [
        (proxy.too_many_requests(2), 2.0),
        (proxy.too_many_requests("Mon, 04 May 2026 03:02:03 GMT", date=NOW), 2.0),
        (proxy.too_many_requests(None), 0.4),
    ],
    ids=["seconds", "date", "none"],
)
def test_429_on_a_watch_that_opens_is_waited_out(
    world: World, faulty: FaultyProxy, refusal: Answer, least_s: float
) -> None:
    """The API server sends seconds. A load balancer before it may send the other forms."""
    start(world, faulty)
    faulty.fault("watch", RESOURCES, refusal, count=2)
    faulty.end_watches(RESOURCES, reset=True)

    world.accept()

    *_, first, second, third = faulty.calls("watch", RESOURCES)
    assert [call.spoiled for call in (first, second, third)] == [True, True, False]
    assert min(gaps([first, second, third])) >= least_s
    assert "watch ended" not in world.operator.log
