"""Runs a command as a process; what it left behind."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
INSECURE = "--allow-insecure-endpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Json:
        told: Json = json.loads(self.out)
        return told


def run_process(*words: str, cwd: Path, env: Mapping[str, str], stdin: str = "") -> Ended:
    """Run the command with exactly this environment."""
    ended = subprocess.run(
        [sys.executable, "-m", "image_share_operator", *words],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        check=False,
    )
    return Ended(code=ended.returncode, out=ended.stdout, err=ended.stderr)
