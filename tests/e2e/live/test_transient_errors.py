"""The cloud API fails or does not respond: the operator recovers without a second PUT."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.live.programs import SHORT_WAITS
from e2e.live.world import MEMBER, PUT, Operator, World


@pytest.fixture(scope="module")
def operator(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    process = Operator(kubeconfig, tmp_path_factory.mktemp("operator") / "log", program=SHORT_WAITS)
    process.start()
    yield process
    process.terminate()


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "handle": True},
        {"reset": True, "handle": True},
        {"truncate": "body"},
        {"truncate": "connection"},
        {"status": 200, "body": "html", "handle": True},
        {"drop": ["job_id"]},
        {"patch": {"job_id": None}},
    ],
    ids=[
        "503 afterwards",
        "reset afterwards",
        "half the JSON",
        "half the JSON and gone",
        "HTML instead of JSON",
        "no job id",
        "job id null",
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
        {"status": 429, "code": "APIGW.0308"},
        {"status": 429, "code": "APIGW.0308", "retry_after": 2},
        {"status": 429, "code": "APIGW.0308", "retry_after_date": 2},
        {"status": 400, "code": "IMG.0060"},
        {"status": 409, "code": "IMG.0035"},
        {"status": 500, "body": "empty"},
        {"status": 502, "code": "APIGW.0201"},
        {"reset": True},
        {"status": 503, "body": "xml"},
    ],
    ids=[
        "429",
        "429 with seconds",
        "429 with a date",
        "flow control",
        "conflict",
        "500 without a body",
        "502 of the gateway",
        "reset",
        "503 in XML",
    ],
)
def test_passing_trouble_heals_by_itself(world: World, fault: dict[str, Any]) -> None:
    world.sim.fault(MEMBER, count=1, **fault)
    world.sim.fault(PUT, count=1, **fault)

    world.apply([world.image()])

    # A PUT that was reset may have been accepted: the operator first waits for its effect.
    world.wait_for("Accepted")
