"""The API server misbehaves in each way it can: nothing is missed, nothing is sent twice."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from e2e.live.process import Operator, eventually
from e2e.live.world import LOGIN, MEMBER, PUT, World
from envtest import ControlPlane, proxy
from envtest.proxy import Call, Cut, Effect, FaultyProxy, Hang, Lose, Stream

RESOURCES = "*/imageshareacceptances"
STATUS = "*/imageshareacceptances/*/status"
OBJECT = "*/imageshareacceptances/web"
SECRET = "*/secrets/*"
REQUEST_TIMEOUT_S = 2.0
QUIET_S = 1.0
"""How long nothing must happen to be taken for nothing."""
INVALID = {"reason": "FieldValueInvalid", "message": "Invalid value", "field": "status.job"}
CONFLICT = proxy.refusal(409, "Conflict", "the object has been modified; please apply again")
FIRST_PAGE = "limit=500"
"""In the query of the watch's own list; the look whether all is known asks for one object."""
BURSTS = 5
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"


@pytest.fixture
def faulty(control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane.url, ca_file=control_plane.ca_file) as running:
        yield running
        running.clear()


@pytest.fixture
def operator(faulty: FaultyProxy, kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    """An operator of the test's own behind the proxy; each test starts it when it is ready."""
    process = Operator(
        faulty.kubeconfig(kubeconfig, tmp_path / "kubeconfig"),
        tmp_path / "log",
        ISA_REQUEST_TIMEOUT_S=f"{REQUEST_TIMEOUT_S:g}",
    )
    yield process
    process.kill()


def start(world: World, faulty: FaultyProxy) -> None:
    """Start the operator and wait until it watches."""
    world.operator.start()
    eventually(lambda: faulty.open_watches(RESOURCES) or None)


def gaps(calls: list[Call]) -> list[float]:
    """Seconds between two calls and the next."""
    return [later.at - earlier.at for earlier, later in pairwise(calls)]


# ---- watches and lists


@pytest.mark.parametrize(
    ("last", "reset", "again"),
    [
        ("", False, None),
        ("", True, None),
        ('{"type":"MODIFIED","object":{"apiVers', True, None),
        (proxy.gone_event(), False, None),
        (proxy.error_event(500, "InternalError", "etcd is away"), False, None),
        ("", True, proxy.gone()),
        ("", True, Stream(proxy.gone_event())),
        ("", True, proxy.refusal(401, "Unauthorized", "Unauthorized")),
        ("", True, proxy.refusal(503, "ServiceUnavailable", "apiserver is shutting down")),
        ("", True, proxy.too_many_requests(2)),
        ("", True, Cut()),
    ],
    ids=[
        "in order",
        "by a reset",
        "in the middle of an event",
        "with 410 Gone as an event",
        "with 500 as an event",
        "and is refused with HTTP 410",
        "and begins with 410 Gone as an event",
        "and is refused with 401",
        "and is refused with 503",
        "and is refused with 429",
        "and its next connection is cut",
    ],
)
def test_watch_that_ends_misses_nothing(
    world: World, faulty: FaultyProxy, last: str, reset: bool, again: Effect | None
) -> None:
    start(world, faulty)
    old, added, new = world.image(), world.image(), world.image()
    world.apply([old])
    world.wait_for("Accepted")

    faulty.silence_watches()
    world.edit(images=[old, added])
    world.apply([new], name="new")
    if again is not None:
        faulty.fault("watch", RESOURCES, again, count=1)
    assert faulty.end_watches(RESOURCES, last=last, reset=reset) == 1
    faulty.unsilence_watches()

    world.wait_for("Accepted")
    world.wait_for("Accepted", name="new")
    assert world.sent() == sorted([old, added, new])
    assert "Traceback" not in world.operator.log


def test_object_deleted_while_the_watch_was_gone_is_served_no_more(
    world: World, faulty: FaultyProxy
) -> None:
    """The next list does not name it, and no event tells of its end."""
    start(world, faulty)
    image = world.sim.add_image()
    world.apply([image])
    world.wait_for("NotShared")

    faulty.silence_watches()
    world.delete()
    faulty.end_watches(RESOURCES, last=proxy.gone_event())
    faulty.unsilence_watches()
    eventually(lambda: faulty.open_watches(RESOURCES) or None)
    world.sim.seed(shares=[(image, world.project, "pending")])
    looks = world.calls(MEMBER)
    time.sleep(12)

    assert world.calls(PUT) == 0
    assert world.calls(MEMBER) == looks


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_object_that_took_the_name_of_a_deleted_one_is_served_at_once(
    world: World, faulty: FaultyProxy, first: bool
) -> None:
    """A pass over the old one ends while the watch is silent: the answer to its write tells."""
    start(world, faulty)
    old, new = world.image(), world.image()
    if first:
        world.sim.fault(LOGIN, delay_seconds=1, count=1)
        world.apply([old])
        eventually(lambda: faulty.calls("get", SECRET) or None)
    else:
        world.sim.settings(job_seconds=3.0)
        world.apply([old])
        world.wait_for("JobRunning")

    faulty.silence_watches()
    world.delete()
    world.apply([new], decision="Reject")
    world.wait_for("Rejected")

    status = world.status()
    assert [row["id"] for row in status["images"]] == [new]
    assert status["job"]["decision"] == "Reject"
    assert world.sent() == sorted([old, new])
    assert world.membership(new) == "rejected"


@pytest.mark.timeout(150)
def test_watch_that_falls_silent_is_opened_anew(world: World, faulty: FaultyProxy) -> None:
    """As behind a dead router: 70 s without so much as a bookmark."""
    start(world, faulty)
    faulty.silence_watches()
    world.apply([world.image()])
    opened = len(faulty.calls("watch", RESOURCES))

    eventually(lambda: len(faulty.calls("watch", RESOURCES)) > opened or None, within_s=90)
    faulty.unsilence_watches()

    world.wait_for("Accepted")
    assert world.calls(PUT) == 1


@pytest.mark.parametrize(
    ("effect", "count"),
    [
        (proxy.gone(), 1),
        (proxy.refusal(500, "InternalError", "etcd is away"), 3),
        (Cut(), 2),
        (proxy.too_many_requests(1), 2),
    ],
    ids=["expired", "500", "cut", "429"],
)
def test_list_that_fails_on_its_second_page_misses_nothing(
    world: World, faulty: FaultyProxy, effect: Effect, count: int
) -> None:
    images = [world.image() for _ in range(5)]
    for number, image in enumerate(images):
        world.apply([image], name=f"web-{number}")
    faulty.limit_pages(2)
    faulty.fault("list", RESOURCES, effect, count=count, query="continue=")

    start(world, faulty)
    for number in range(5):
        world.wait_for("Accepted", name=f"web-{number}")

    assert world.sent() == sorted(images)
    assert "Traceback" not in world.operator.log


# ---- readiness


@pytest.fixture
def probed(operator: Operator, port: int) -> int:
    """The port of the probes of an operator that is not started yet."""
    operator.env["ISA_METRICS_PORT"] = str(port)
    return port


def readiness(port: int) -> str | None:
    """What a probe is told; ``None`` when nobody answers yet."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).text.strip()
    except httpx.TransportError:
        return None


def told(port: int, words: str, *, within_s: float = 20.0) -> None:
    """Wait until readiness is told in words that begin so."""
    eventually(lambda: (readiness(port) or "").startswith(words) or None, within_s=within_s)


@pytest.mark.parametrize(
    "effect",
    [
        Cut(),
        Hang(),
        proxy.refusal(503, "ServiceUnavailable", "apiserver is shutting down"),
        proxy.refusal(403, "Forbidden", "watch is forbidden"),
    ],
    ids=["connections are cut", "nobody answers", "503", "403"],
)
def test_replica_is_not_ready_while_the_watch_is_lost(
    world: World, faulty: FaultyProxy, probed: int, effect: Effect
) -> None:
    start(world, faulty)
    told(probed, "ok")

    faulty.fault("watch", RESOURCES, effect)
    faulty.end_watches(RESOURCES, reset=True)
    told(probed, "the watch is lost")
    for _ in range(30):  # nor is it ready for a moment, when it lists or begins anew
        assert readiness(probed) != "ok"
        time.sleep(0.1)
    world.apply([world.image()])
    faulty.clear()

    told(probed, "ok", within_s=40)
    world.wait_for("Accepted")


def test_replica_is_not_ready_before_the_list_of_its_watch_is_in(
    world: World, faulty: FaultyProxy, probed: int
) -> None:
    """Neither at the start nor when all must be listed again; counting them works meanwhile."""
    for number in range(3):
        world.apply([world.image()], name=f"web-{number}")
    faulty.fault("list", RESOURCES, Hang(), query=FIRST_PAGE)
    world.operator.start()
    told(probed, "the list is not in: 0 of ")
    faulty.clear()
    told(probed, "ok", within_s=40)

    faulty.fault("list", RESOURCES, Hang(), query=FIRST_PAGE)
    faulty.end_watches(RESOURCES, last=proxy.gone_event())
    told(probed, "the watch is lost")
    told(probed, "the list is not in: 0 of ")
    faulty.clear()

    told(probed, "ok", within_s=40)


# ---- priority and fairness


async def test_429_of_the_api_server_looks_as_the_proxy_makes_it(
    control_plane: ControlPlane,
) -> None:
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
    schema = {
        "matchingPrecedence": 2,
        "priorityLevelConfiguration": {"name": namespace},
        "rules": [{"subjects": [account], "resourceRules": [everything]}],
    }
    for kind, spec in (("prioritylevelconfigurations", level), ("flowschemas", schema)):
        body = {"metadata": {"name": namespace}, "spec": spec}
        http.post(f"{FLOW}/{kind}", json=body).raise_for_status()
    config = json.loads(control_plane.service_account_kubeconfig(namespace, "busy").read_text())
    token = config["users"][0]["user"]["token"]
    made = proxy.too_many_requests(1)

    real: httpx.Response | None = None
    for _ in range(BURSTS):
        real = real or await _burst(control_plane, namespace, token)

    assert real is not None
    assert real.text == made.body
    assert real.headers["Content-Type"] == made.content_type
    assert real.headers["Retry-After"] == made.headers["Retry-After"]
    assert set(map(str.lower, made.headers)) <= set(real.headers)


async def _burst(control_plane: ControlPlane, namespace: str, token: str) -> httpx.Response | None:
    """Send more at once than the priority level lets through; return one that was refused."""
    async with httpx.AsyncClient(
        base_url=control_plane.url,
        headers={"Authorization": f"Bearer {token}"},
        verify=ssl.create_default_context(cafile=control_plane.ca_file),
        trust_env=False,
    ) as client:
        path = f"/api/v1/namespaces/{namespace}/secrets/none"
        answers = await asyncio.gather(*(client.get(path) for _ in range(300)))
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

    world.apply([world.image()])
    world.wait_for("Accepted")

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
    time.sleep(2.5)

    assert len(faulty.calls("get", SECRET)) <= 2


@pytest.mark.parametrize("count", [3, 8], ids=["for a moment", "for longer than kopf is patient"])
def test_429_on_the_list_is_waited_out(world: World, faulty: FaultyProxy, count: int) -> None:
    faulty.fault("list", RESOURCES, proxy.too_many_requests(1), count=count, query=FIRST_PAGE)
    world.apply([world.image()])

    start(world, faulty)
    world.wait_for("Accepted", within_s=30)

    waits = gaps([c for c in faulty.calls("list", RESOURCES) if FIRST_PAGE in c.query])
    assert len(waits) == count
    # When its patience ends, kopf begins anew at once.
    assert sum(wait < 1.0 for wait in waits) <= count // 6


# ---- status writes


@pytest.mark.parametrize(
    ("effect", "count"),
    [
        (CONFLICT, 1),
        (CONFLICT, 3),
        (proxy.refusal(403, "Forbidden", "a policy denied the request"), 3),
        (proxy.refusal(422, "Invalid", "is invalid: status.job", causes=[INVALID]), 3),
        (proxy.refusal(401, "Unauthorized", "Unauthorized"), 2),
        (proxy.refusal(500, "InternalError", "etcd is away"), 3),
        (proxy.refusal(503, "ServiceUnavailable", "apiserver is shutting down"), 3),
        (proxy.refusal(504, "Timeout", "the request took too long"), 3),
        (Cut(), 3),
        (Lose(), 1),
        (Hang(), 1),
    ],
    ids=[
        "one conflict",
        "three conflicts",
        "403",
        "422",
        "401",
        "500",
        "503",
        "504",
        "cut",
        "answer lost",
        "no answer",
    ],
)
def test_status_write_that_fails_after_the_put_sends_nothing_twice(
    world: World, faulty: FaultyProxy, effect: Effect, count: int
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, effect, count=count)
    image = world.image()

    world.apply([image])
    world.wait_for("Accepted", within_s=30)

    assert world.sent() == [image]
    assert world.status()["job"]["status"] == "SUCCESS"
    assert "Traceback" not in world.operator.log


def test_status_write_that_fails_first_loses_no_event(world: World, faulty: FaultyProxy) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.refusal(500, "InternalError", "etcd is away"), count=1)

    world.apply([world.image()])
    world.wait_for("Accepted")

    eventually(lambda: "Accepted" in world.events() or None)
    assert world.events().count("Submitted") == 1


def test_refused_status_write_is_told_by_verb_and_resource(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.refusal(403, "Forbidden", "no"), count=1)

    world.apply([world.image()])
    world.wait_for("Accepted")

    told = f"patch imageshareacceptances/status in namespace {world.namespace}"
    assert told in world.operator.log


def test_status_that_is_refused_for_good_does_not_keep_a_new_spec_waiting(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.refusal(422, "Invalid", "is invalid: status.job"))
    first, second = world.image(), world.image()
    world.apply([first])
    eventually(lambda: faulty.calls("patch", STATUS) or None)

    world.edit(images=[first, second])

    eventually(lambda: second in world.sent() or None)
    faulty.clear()
    world.wait_for("Accepted", within_s=30)
    assert world.sent() == sorted([first, second])


def test_status_writes_refused_for_long_are_tried_ever_more_rarely(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.refusal(500, "InternalError", "etcd is away"))
    image = world.image()
    world.apply([image])
    eventually(lambda: faulty.calls("patch", STATUS) or None)

    time.sleep(12)

    assert len(faulty.calls("patch", STATUS)) <= 6
    assert world.sent() == [image]
    faulty.clear()
    world.wait_for("Accepted", within_s=30)
    assert world.sent() == [image]


def test_finalizer_that_can_not_be_put_on_keeps_the_batch_back(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", OBJECT, proxy.refusal(500, "InternalError", "etcd is away"), count=2)
    image = world.image()

    world.apply([image], deletionPolicy="Reject")
    eventually(lambda: faulty.calls("patch", OBJECT) or None)
    early = world.calls(PUT)
    world.wait_for("Accepted")

    assert early == 0
    assert world.sent() == [image]


@pytest.mark.parametrize(
    "effect",
    [
        CONFLICT,
        proxy.refusal(500, "InternalError", "etcd is away"),
        Lose(),
    ],
    ids=["conflict", "500", "answer lost"],
)
def test_finalizer_that_does_not_come_off_at_once_comes_off_later(
    world: World, faulty: FaultyProxy, effect: Effect
) -> None:
    start(world, faulty)
    image = world.image()
    world.apply([image], deletionPolicy="Reject")
    world.wait_for("Accepted")
    faulty.fault("patch", OBJECT, effect, count=1)

    world.delete()
    eventually(lambda: True if world.find() is None else None)

    assert world.membership(image) == "rejected"
    assert len(world.sent()) == 2


# ---- other calls


@pytest.mark.parametrize(
    "effect",
    [
        proxy.refusal(403, "Forbidden", "no"),
        proxy.refusal(500, "InternalError", "etcd is away"),
        Cut(),
        Hang(),
    ],
    ids=["403", "500", "cut", "no answer"],
)
def test_secret_that_can_not_be_read_for_a_while_is_read_later(
    world: World, faulty: FaultyProxy, effect: Effect
) -> None:
    start(world, faulty)
    faulty.fault("get", SECRET, effect, count=2)

    world.apply([world.image()])
    world.wait_for("Accepted")

    assert world.calls(PUT) == 1
    assert "Traceback" not in world.operator.log


def test_events_that_are_refused_delay_nothing(world: World, faulty: FaultyProxy) -> None:
    start(world, faulty)
    faulty.fault("create", "*/events", Hang())

    world.apply([world.image()])
    world.wait_for("Accepted", within_s=REQUEST_TIMEOUT_S)

    assert world.calls(PUT) == 1


def test_api_server_that_hangs_loses_nothing(world: World, faulty: FaultyProxy) -> None:
    """Every call hangs, those in flight too; longer than the operator's patience with one."""
    world.sim.settings(job_seconds=2.0)
    start(world, faulty)
    old, new = world.image(), world.image()
    world.apply([old])
    world.wait_for("JobRunning")

    faulty.silence_watches()
    faulty.fault("*", "*", Hang())
    world.apply([new], name="new")
    threading.Timer(3 * REQUEST_TIMEOUT_S, faulty.clear).start()

    world.wait_for("Accepted", within_s=40)
    world.wait_for("Accepted", name="new", within_s=40)
    assert world.sent() == sorted([old, new])
    assert "Traceback" not in world.operator.log
