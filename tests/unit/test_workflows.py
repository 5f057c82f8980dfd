"""The workflows call what exists, with no more rights than they need."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


def jobs(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    assert document["permissions"] == {"contents": "read"}, "each job asks for more by itself"
    found: dict[str, Any] = document["jobs"]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_job_has_an_end(path: Path) -> None:
    assert [name for name, job in jobs(path).items() if "timeout-minutes" not in job] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_make_targets_that_are_called_exist(path: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    runs = [step.get("run", "") for job in jobs(path).values() for step in job["steps"]]
    called = {name for run in runs for name in re.findall(r"\bmake ([a-z-]+)", run)}

    assert called
    assert called <= known


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_have_a_version(path: Path) -> None:
    used = [step["uses"] for job in jobs(path).values() for step in job["steps"] if "uses" in step]

    assert [name for name in used if not re.search(r"@v?\d", name)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_comes_from_outside_is_never_part_of_a_script(path: Path) -> None:
    """A branch's name may hold commands; in the environment it is only text."""
    runs = [step.get("run", "") for job in jobs(path).values() for step in job["steps"]]

    assert [run for run in runs if "${{" in run] == []


def test_release_is_tested_before_it_is_published() -> None:
    assert jobs(ROOT / ".github/workflows/release.yaml")["publish"]["needs"] == "test"


def test_only_what_publishes_may_write() -> None:
    for path in WORKFLOWS:
        writers = {
            name
            for name, job in jobs(path).items()
            if "write" in job.get("permissions", {}).values()
        }

        assert writers <= {"publish"}
