"""Chaos with every kind of fault; then all is as the specs say. ``CHAOS_SEED=7`` repeats a run."""

import os
from pathlib import Path

import pytest

from chaos.__main__ import told
from chaos.kinds import EVERY
from chaos.model import SHORTEST_S, Parameters
from chaos.run import SETTLE_WITHIN_S, run

SEED = 20_260_504
START_AND_END_S = 180.0
"""For two programs of the control plane, the cloud and the operator on a busy machine."""
PARAMETERS = Parameters(seconds=SHORTEST_S, objects=120)


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("CHAOS_SEED", SEED))


@pytest.mark.starts_first
@pytest.mark.timeout(PARAMETERS.seconds * 2 + SETTLE_WITHIN_S + START_AND_END_S)
def test_chaos_settles_and_leaves_nothing_wrong(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        verdict = run(seed, PARAMETERS, tmp_path, lambda _line: None)

    print(told(verdict))  # noqa: T201 - pytest shows it when the test fails
    again = f"CHAOS_SEED={seed} .venv/bin/python -m pytest tests/chaos/test_chaos.py"
    assert verdict.holds, f"{told(verdict)}\nAgain: {again}\nThe operator's log: {tmp_path}"
    assert verdict.kinds.keys() == EVERY
