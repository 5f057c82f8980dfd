"""The command as a user runs it, against the simulated cloud."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli.command import Ended, Json, run_process
from image_share_operator.__main__ import main
from otc_simulator.client import Simulator

ROOT = Path(__file__).parents[2]
NAME = "otc-credentials"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of the command: nothing of this machine's."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT / "operator"),
    }


@pytest.fixture
def run(
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Ended]:
    """Run the command in this process, in a directory of its own.

    A process of its own needs a second for its imports. Tests of pipes and imports use `start`.
    """

    def run(*words: str, stdin: str = "", **env: str) -> Ended:
        capfd.readouterr()
        with monkeypatch.context() as own:
            own.chdir(tmp_path)
            own.setattr(os, "environ", {**environment, **env})
            own.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            code = _exit_code(words)
        out, err = capfd.readouterr()
        return Ended(code=code, out=out, err=err)

    return run


def _exit_code(words: tuple[str, ...]) -> int:
    """Return what the shell would see; argparse exits by itself."""
    try:
        return main(words)
    except SystemExit as exc:
        return int(exc.code or 0)


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Callable[..., Ended]:
    """Run the command as a process of its own, in a directory of its own."""

    def start(*words: str, stdin: str = "", **env: str) -> Ended:
        return run_process(*words, cwd=tmp_path, env={**environment, **env}, stdin=stdin)

    return start


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str]) -> Callable[..., str]:
    """Run the command in a terminal with this many columns; return what it shows."""

    def terminal(columns: int, *words: str, **env: str) -> str:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "image_share_operator", *words],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=tmp_path,
            env={**environment, "TERM": "xterm", "COLUMNS": str(columns), **env},
        )
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
        os.close(ours)
        process.wait()
        return shown.decode().replace("\r\n", "\n")

    return terminal


def _read(terminal: int) -> bytes:
    """Read from a terminal; its end is an error on Linux."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


@pytest.fixture
def secret(sim: Simulator) -> Json:
    data = {"username": sim.user, "password": sim.password, "domainName": sim.domain}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME},
        "stringData": data,
    }


@pytest.fixture
def write(tmp_path: Path, sim: Simulator, secret: Json) -> Callable[..., str]:
    """Write a resource, by default with the right Secret, to a file; return its name."""

    def write(*images: str, with_secret: Json | None = secret, **changes: object) -> str:
        spec = {
            "endpoints": {"iam": sim.url, "ims": sim.url},
            "projectID": sim.project_id,
            "images": list(images),
            "credentialsSecretRef": {"name": NAME},
            **changes,
        }
        resource = {
            "apiVersion": "ims.otc.dev/v1alpha1",
            "kind": "ImageShareAcceptance",
            "metadata": {"name": "web", "namespace": "team-a"},
            "spec": {field: value for field, value in spec.items() if value is not None},
        }
        documents = [resource, *([with_secret] if with_secret else [])]
        (tmp_path / "web.yaml").write_text(yaml.safe_dump_all(documents))
        return "web.yaml"

    return write
