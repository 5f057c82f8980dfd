"""The Dockerfile as it is written; the image itself is tested by `make image-test`."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
TEXT = DOCKERFILE.read_text()


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(ROOT / ".venv/bin"))
    if hadolint is None:
        assert platform.machine() != "x86_64", "hadolint is in the lock file: make venv"
        pytest.skip("there is no hadolint for this kind of machine")

    call = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)

    assert (call.returncode, call.stdout) == (0, "")


def test_both_stages_have_the_base_that_is_asked_for() -> None:
    """The virtualenv links to the base's Python."""
    assert re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert len(re.findall(r"^ARG BASE=\S+$", TEXT, re.MULTILINE)) == 1


def test_dependencies_are_those_of_the_lock_files_with_their_hashes() -> None:
    installs = re.findall(r"pip .*?install(.*?)(?=&&|\nCOPY)", TEXT, re.DOTALL)

    assert len(installs) == 3
    for options in installs:
        assert "--require-hashes" in options or "--no-index" in options


def test_user_is_a_number_so_that_kubelet_can_tell_that_it_is_not_root() -> None:
    assert re.findall(r"^USER (\S+)", TEXT, re.MULTILINE) == ["65532:65532"]


def test_only_what_is_named_is_sent_to_the_builder() -> None:
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert lines[0] == "*"
    for line in lines[1:-1]:
        assert (ROOT / line.removeprefix("!").removesuffix("/**")).exists(), line


def test_builder_is_locked() -> None:
    lock = (ROOT / "hack/image/requirements-build.lock").read_text()

    assert re.search(r"^hatchling==", lock, re.MULTILINE)
    assert "--hash=sha256:" in lock
