"""Events of a crowd that fails: counted and not repeated, and in nobody's way."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.conftest import Json
from e2e.live.process import Operator, eventually
from e2e.live.world import PUT, World
from envtest import ControlPlane
from otc_simulator.client import Simulator

CROWD = 200
TRIES = 3


@pytest.fixture
def neighbour(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator
) -> Iterator[World]:
    """Another tenant of the same operator."""
    made = World(control_plane, simulator, operator, control_plane.create_namespace("neighbour"))
    made.secret()
    yield made
    control_plane.http.delete(made.resources).raise_for_status()


def apply_crowd(world: World) -> list[str]:
    images = [world.image() for _ in range(CROWD)]
    with ThreadPoolExecutor(8) as pool:
        return list(
            pool.map(lambda number: world.apply([images[number]], f"web-{number}"), range(CROWD))
        )


def events(world: World) -> list[Json]:
    path = f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    rows: list[Json] = world.control_plane.http.get(path).raise_for_status().json()["items"]
    return rows


def has_failed_often(world: World) -> bool | None:
    sent = Counter(world.sent())
    return True if len(sent) == CROWD and min(sent.values()) >= TRIES else None


def counted(world: World) -> list[Json] | None:
    """All Events, when each failure has one that tells of repeats."""
    rows = events(world)
    repeated = [row for row in rows if row["reason"] == "CloudUnavailable" and row.get("series")]
    return rows if len(repeated) == CROWD else None


@pytest.mark.timeout(240)
def test_crowd_that_fails_again_and_again_has_an_event_for_each_reason_and_object(
    world: World, neighbour: World
) -> None:
    world.sim.fault(
        PUT,
        projects=[world.project],
        job={"fail": ["*"], "partial": "C", "apply": "nothing", "error_code": "IMG.0113"},
    )
    names = apply_crowd(world)
    eventually(lambda: has_failed_often(world), within_s=90)

    neighbour.apply([neighbour.image()], "alone")
    neighbour.wait_for("Accepted", "alone")
    eventually(lambda: neighbour.events("alone") == ["Submitted", "Accepted"] or None, within_s=5)

    rows = eventually(lambda: counted(world), within_s=120)
    told = Counter((row["regarding"]["name"], row["reason"]) for row in rows)
    assert {name for name, _ in told} == set(names)
    assert {reason for _, reason in told} == {"Submitted", "CloudUnavailable"}
    assert set(told.values()) == {1}
    described = world.control_plane.kubectl("describe", "isa/web-0", "-n", world.namespace)
    (line,) = (row for row in described.splitlines() if "Warning  CloudUnavailable" in row)
    assert "(x" in line
