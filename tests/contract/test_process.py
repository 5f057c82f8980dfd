"""The process: its ready line, its end, its outages, what it keeps and what it never tells."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from contract.caller import Caller
from envtest import eventually
from otc_simulator.client import STOP_SECONDS, TESTS, Simulator, tls_arguments

SOON = httpx.Timeout(60, read=0.2)
"""For calls that get no answer, so that all other steps may be slow."""


@pytest.fixture
def own() -> Iterator[Simulator]:
    with Simulator("--job-seconds", "0.2") as simulator:
        yield simulator


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_even_with_calls_in_flight(number: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(
        [sys.executable, "-m", "otc_simulator"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        httpx.post(f"{ready['control_url']}/__sim/settings", json={"latency_seconds": 600})
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(ready["url"], timeout=SOON)
        process.send_signal(number)
        code = process.wait(60)

        assert (code, process.stdout.read()) == (0, "")


def test_it_ends_when_its_parent_is_gone() -> None:
    parent = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'otc_simulator'],"
        " stdout=subprocess.PIPE, text=True)\n"
        "print(child.stdout.readline(), flush=True)\n"
        "os._exit(0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    told = subprocess.run(
        [sys.executable, "-c", parent],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    ready = json.loads(told.stdout)

    # No process may reap it: its port tells, its pid does not.
    def refuses() -> bool | None:
        try:
            httpx.get(ready["url"], timeout=1)
        except httpx.TransportError:
            return True
        return None

    try:
        eventually(refuses)
    except TimeoutError:
        os.kill(ready["pid"], signal.SIGKILL)
        raise


def test_stopping_leaves_no_process_even_when_frozen() -> None:
    simulator = Simulator()
    simulator.start()
    simulator.freeze()
    start = time.monotonic()
    simulator.stop()

    assert not alive(simulator.pid)
    assert time.monotonic() - start < STOP_SECONDS  # then it would be killed


def test_paused_it_refuses_connections_and_keeps_its_state(sim: Simulator) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    with httpx.Client(base_url=sim.url, timeout=2) as client:
        client.get("/")
        sim.pause()
        # The kept connection is gone as well as the port.
        with pytest.raises(httpx.ConnectError):
            client.get("/")
        sim.resume()

        assert client.get("/").status_code == 300
    assert sim.membership(image, sim.project_id) == "pending"


def test_paused_for_a_time_it_comes_back_by_itself(sim: Simulator) -> None:
    def answers() -> bool | None:
        try:
            return httpx.get(sim.url, timeout=1).status_code == 300 or None
        except httpx.ConnectError:
            return None

    address = urlsplit(sim.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as kept:
        sim.pause(seconds=0.2)

        assert kept.recv(1) == b""  # it was away, also when it is back by now
    assert eventually(answers)


def test_frozen_it_takes_connections_but_never_answers(own: Simulator) -> None:
    own.freeze()
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(own.url, timeout=SOON)
    own.thaw()

    assert httpx.get(own.url, timeout=60).status_code == 300


def test_jobs_settle_in_real_time(own: Simulator) -> None:
    image = own.add_image(shared_with=[own.project_id])
    caller = Caller(own)
    path = f"/v2/images/{image}/members/{own.project_id}"
    before = caller.get(path).json()["status"]
    job_id = caller.submit([image])
    settled = eventually(lambda: caller.job(job_id).json()["status"] == "SUCCESS" or None)
    after = caller.get(path).json()["status"]
    caller.close()

    assert (before, settled, after) == ("pending", True, "accepted")


def test_the_command_line_sets_what_a_reset_goes_back_to() -> None:
    with Simulator("--job-seconds", "7", "--latency-seconds", "0.01") as simulator:
        simulator.settings(job_seconds=1)
        simulator.reset()
        settings = simulator.settings()

    assert (settings["job_seconds"], settings["latency_seconds"]) == (7.0, 0.01)


def test_it_serves_tls_with_a_certificate_given(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    context = httpx.create_ssl_context(verify=True)
    with Simulator(*tls_arguments(authority, tmp_path, "127.0.0.1")) as simulator:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(simulator.url, verify=context)
        context.load_verify_locations(ca)

        assert simulator.url.startswith("https://")
        assert httpx.get(simulator.url, verify=context).status_code == 300


def test_a_seed_file_replaces_the_default_accounts(tmp_path: Path) -> None:
    seed = {"accounts": [{"name": "mine", "users": [{"name": "u", "password": "p"}]}]}
    path = tmp_path / "seed.json"
    path.write_text(json.dumps(seed))
    with Simulator("--seed", str(path)) as simulator:
        unknown = Caller(simulator)
        status = unknown.login().status_code
        unknown.close()

    assert status == 401


def test_a_reset_forgets_everything_but_the_start(sim: Simulator, recipient: Caller) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    sim.settings(job_seconds=99)
    sim.fault("*", status=500)
    recipient.login()
    sim.reset()

    assert sim.membership(image, sim.project_id) is None
    assert sim.settings()["job_seconds"] == 1.0
    assert sim.counters()["calls"] == {}
    assert recipient.login().status_code == 201


def test_the_journal_tells_calls_in_order_without_secrets(
    sim: Simulator, recipient: Caller
) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    recipient.submit([image])
    recipient.get("/v2/cloudimages", member_status="pending")
    calls = sim.journal()

    assert [call["route"] for call in calls] == [
        "POST /v3/auth/tokens",
        "PUT /v1/cloudimages/members",
        "GET /v2/cloudimages",
    ]
    assert calls == sorted(calls, key=lambda call: call["at_monotonic_s"])
    assert calls[1] | {"at_monotonic_s": 0} == {
        "at_monotonic_s": 0,
        "route": "PUT /v1/cloudimages/members",
        "path": "/v1/cloudimages/members",
        "status": 200,
        "project": sim.project_id,
        "images": [image],
        "faulty": False,
    }
    assert recipient.token not in json.dumps(calls)
    assert sim.password not in json.dumps(calls)
    assert len(sim.journal("GET /v2/cloudimages")) == 1


def test_memberships_can_be_set_through_the_control_api(sim: Simulator) -> None:
    image = sim.add_image()
    sim.set_membership(image, sim.project_id, "rejected")

    expected = [{"image": image, "project": sim.project_id, "status": "rejected"}]
    assert sim.members() == expected
    sim.withdraw(image, sim.project_id)
    assert sim.members() == []


@pytest.mark.parametrize(
    "changes", [{"no_such": 1}, {"job_seconds": "soon"}, {"not_shared": "maybe"}, {"region": 1}]
)
def test_a_setting_with_a_mistake_is_refused(sim: Simulator, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        sim.settings(**changes)


def test_it_never_imports_the_operator() -> None:
    sources = (TESTS / "otc_simulator").glob("*.py")

    assert [path.name for path in sources if "image_share" in path.read_text("utf-8")] == []
