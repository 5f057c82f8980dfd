"""The cloud API fails or does not respond: the operator recovers without a second PUT."""

from typing import Any

import pytest

from e2e.live.programs import SHORT_WAITS, operator_fixture
from e2e.live.world import MEMBER, PUT, World

operator = operator_fixture(program=SHORT_WAITS)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 503, "handle": True}, id="503 afterwards"),
        pytest.param({"reset": True, "handle": True}, id="reset afterwards"),
        pytest.param({"truncate": "body"}, id="half the JSON"),
        pytest.param({"truncate": "connection"}, id="half the JSON and gone"),
        pytest.param({"status": 200, "body": "html", "handle": True}, id="HTML instead of JSON"),
        pytest.param({"drop": ["job_id"]}, id="no job id"),
        pytest.param({"patch": {"job_id": None}}, id="job id null"),
    ],
)
def test_put_whose_answer_is_lost_is_looked_for_and_not_repeated(
    world: World, fault: dict[str, Any]
) -> None:
    world.sim.fault(PUT, count=1, **fault)
    image = world.image()

    world.apply([image])
    world.wait_for("Accepted")

    assert world.calls(PUT) == 1
    assert world.membership(image) == "accepted"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 429, "code": "APIGW.0308"}, id="429"),
        pytest.param(
            {"status": 429, "code": "APIGW.0308", "retry_after": 2}, id="429 with seconds"
        ),
        pytest.param(
            {"status": 429, "code": "APIGW.0308", "retry_after_date": 2}, id="429 with a date"
        ),
        pytest.param({"status": 400, "code": "IMG.0060"}, id="flow control"),
        pytest.param({"status": 409, "code": "IMG.0035"}, id="conflict"),
        pytest.param({"status": 500, "body": "empty"}, id="500 without a body"),
        pytest.param({"status": 502, "code": "APIGW.0201"}, id="502 of the gateway"),
        pytest.param({"reset": True}, id="reset"),
        pytest.param({"status": 503, "body": "xml"}, id="503 in XML"),
    ],
)
def test_passing_trouble_heals_by_itself(world: World, fault: dict[str, Any]) -> None:
    world.sim.fault(MEMBER, count=1, **fault)
    world.sim.fault(PUT, count=1, **fault)

    world.apply([world.image()])

    # A PUT that was reset may have been accepted: the operator first waits for its effect.
    world.wait_for("Accepted")
