"""The virtual environment is of the Python that is asked for."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_python_that_is_asked_for_is_the_only_one_that_is_tried(tmp_path: Path) -> None:
    call = subprocess.run(
        [ROOT / "hack/tools/venv.sh", tmp_path / "venv", ROOT / "hack/requirements-dev.lock"],
        env={**os.environ, "PYTHON": "python3.999"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert call.returncode == 1
    assert call.stderr == "error: Python 3.11 or newer is needed (tried python3.999)\n"
    assert not (tmp_path / "venv").exists()
