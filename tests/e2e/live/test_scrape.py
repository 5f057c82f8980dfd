"""What a scrape tells of a real run, and what the probes say."""

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from e2e.live.programs import operator_fixture
from e2e.live.world import World
from envtest import ControlPlane, Operator, eventually
from image_share_operator import __version__
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import SelectionVerdict
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.no_response import Cause
from otc_simulator.client import Simulator

PREFIX = "image_share_operator_"
MANY = 30


operator = operator_fixture("function", has_port=True)


def get(port: int, path: str) -> httpx.Response | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False)
    except httpx.TransportError:
        return None


def scrape(port: int) -> dict[str, float]:
    answer = get(port, "/metrics")
    assert answer is not None
    return {
        sample.name.removeprefix(PREFIX)
        + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_scrape_tells_what_happened(world: World, port: int) -> None:
    world.apply([world.image()])
    world.apply(["0a1b2c3d-0000-4000-8000-000000000000"], name="absent")
    world.wait_for("Accepted")
    world.wait_for("NotShared", name="absent")

    told = scrape(port)

    assert told["objects,ready=True,reason=Accepted"] == 1
    assert told["objects,ready=False,reason=NotShared"] == 1
    assert told["batches_total,result=accepted"] == 1
    assert told["batch_images_sum"] == 1
    assert told["logins_total,result=ok"] == 1
    assert told["job_duration_seconds_count"] == 1
    assert told["change_to_ready_seconds_count"] == 1
    assert told["status_writes_total,result=ok"] == 3
    route = "PUT /v1/cloudimages/members"
    assert told[f"cloud_request_duration_seconds_count,code=2xx,route={route}"] == 1
    assert told["leader"] == 1
    assert told["token_age_seconds"] > 0


def label_values(port: int) -> dict[str, set[str]]:
    """What each label of the operator's own series has been."""
    found: dict[str, set[str]] = {}
    for series in scrape(port):
        for label in series.split(",")[1:]:
            name, _, value = label.partition("=")
            found.setdefault(name, set()).add(value)
    return found


def test_series_do_not_grow_with_the_objects(world: World, port: int) -> None:
    """Their names, namespaces, projects and images are no label's value, nor is any id."""
    world.apply([world.image()])
    world.apply(["0a1b2c3d-0000-4000-8000-000000000000"], name="absent")
    for number in range(MANY):
        world.apply([world.image()], name=f"web-{number}")
    for number in range(MANY):
        world.wait_for("Accepted", name=f"web-{number}")
    world.wait_for("NotShared", name="absent")

    told = label_values(port)

    assert told["ready"] <= {"True", "False", "Unknown"}
    assert told["reason"] <= set(Reason)
    assert told["route"] <= {*routes.ALL, "other"}
    assert told["code"] <= {"2xx", "3xx", "4xx", "5xx", "none"}
    assert told["error"] <= {*(kind.name.lower() for kind in RefusalKind), *Cause}
    assert told["result"] <= {"ok", "accepted", "refused", "failed", "gone"}
    assert told["version"] == {__version__}
    assert told["selection"] == set(SelectionVerdict)
    assert set(told) == {
        *("ready", "reason", "route", "code", "error", "result", "version", "selection", "le"),
    }


def test_replica_is_ready_when_it_has_seen_all_there_is(world: World, port: int) -> None:
    eventually(lambda: ((answer := get(port, "/readyz")) and answer.status_code == 200) or None)

    assert get(port, "/healthz") is not None
    world.operator.terminate()
    assert get(port, "/healthz") is None


def test_replica_of_some_namespaces_is_ready_when_it_watches_all_of_them(
    control_plane: ControlPlane,
    simulator: Simulator,
    kubeconfig: Path,
    namespace: str,
    tmp_path: Path,
    port: int,
) -> None:
    empty = control_plane.create_namespace("e2e")
    some = Operator(
        kubeconfig,
        tmp_path / "some",
        ISA_METRICS_PORT=str(port),
        ISA_NAMESPACES=f"{namespace},{empty}",
    )
    world = World(control_plane, simulator, some, namespace)
    world.secret()
    world.apply([world.image()])
    some.start()
    try:
        eventually(lambda: ((answer := get(port, "/readyz")) and answer.status_code == 200) or None)
        world.wait_for("Accepted")
    finally:
        some.kill()
