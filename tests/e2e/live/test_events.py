"""Events of many failing resources: counted and not repeated, and they delay no other."""

from collections import Counter
from collections.abc import Iterator

import pytest

from e2e.conftest import Json
from e2e.live.crowd import apply_crowd, stopped
from e2e.live.world import PUT, World
from envtest import ControlPlane, Operator, eventually
from otc_simulator.client import Simulator

CROWD = 30
"""Three Events each; the operator writes 25 at once, then two a second."""
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


def test_crowd_that_fails_again_and_again_has_an_event_for_each_reason_and_object(
    world: World, neighbour: World
) -> None:
    world.sim.fault(
        PUT,
        projects=[world.project],
        job={"fail": ["*"], "partial": "C", "apply": "nothing", "error_code": "IMG.0113"},
    )
    with stopped(world):
        names = apply_crowd(CROWD, world)
        neighbour.apply([neighbour.image()], "alone")
    neighbour.wait_for("Accepted", "alone")
    eventually(lambda: neighbour.events("alone") == ["Submitted", "Accepted"] or None)
    written = {row["metadata"]["name"] for row in events(world)}
    (accepted,) = (row for row in events(neighbour) if row["reason"] == "Accepted")

    rows = eventually(lambda: counted(world))
    eventually(lambda: has_failed_often(world))

    overtaken = [
        row
        for row in rows
        if row["eventTime"] < accepted["eventTime"] and row["metadata"]["name"] not in written
    ]
    assert overtaken, "namespaces did not take turns"
    told = Counter((row["regarding"]["name"], row["reason"]) for row in rows)
    assert {name for name, _ in told} == set(names)
    assert {reason for _, reason in told} == {"Submitted", "CloudUnavailable"}
    assert set(told.values()) == {1}
    described = world.control_plane.kubectl("describe", "isa/web-0", "-n", world.namespace)
    (line,) = (row for row in described.splitlines() if "Warning  CloudUnavailable" in row)
    assert "(x" in line
