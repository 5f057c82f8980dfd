"""The workflows call what exists, with no more rights than they need."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PINNED = r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
CI, RELEASE = (ROOT / ".github/workflows" / name for name in ("ci.yaml", "release.yaml"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


def jobs(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    assert document["permissions"] == {"contents": "read"}, "each job asks for more by itself"
    found: dict[str, Any] = document["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    """All steps of all jobs; a job that calls another workflow has none."""
    return [step for job in jobs(path).values() for step in job.get("steps", ())]


def used(path: Path) -> list[str]:
    """Actions and workflows that are called."""
    calls = [*steps(path), *jobs(path).values()]
    return [call["uses"] for call in calls if "uses" in call]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_job_has_an_end(path: Path) -> None:
    endless = [name for name, job in jobs(path).items() if "timeout-minutes" not in job]

    assert [name for name in endless if "uses" not in jobs(path)[name]] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_is_called_exists(path: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    runs = "\n".join(step.get("run", "") for step in steps(path))
    called = set(re.findall(r"\bmake ([a-z-]+)", runs))
    scripts = set(re.findall(r"\bpython3 (\S+\.py)", runs))

    assert called or scripts
    assert called <= known
    assert [name for name in scripts if not (ROOT / name).exists()] == []
    assert [name for name in used(path) if name[0] == "." and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_with_the_version_beside_it(path: Path) -> None:
    """A tag can be moved to other code: in 2026 it happened to a scanner that many pinned so."""
    lines = re.findall(r"^ *(?:- )?uses: (.*)$", path.read_text(), re.MULTILINE)
    foreign = [line for line in lines if not line.startswith("./")]

    assert len(lines) == len(used(path))
    assert [line for line in foreign if not re.fullmatch(PINNED, line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_comes_from_outside_is_never_part_of_a_script(path: Path) -> None:
    """A branch's name may hold commands; in the environment it is only text."""
    runs = [step.get("run", "") for step in steps(path)]

    assert [run for run in runs if "${{" in run] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_pipe_that_breaks_ends_the_step(path: Path) -> None:
    """Named so, bash has pipefail; as the default it has not."""
    assert yaml.safe_load(path.read_text())["defaults"]["run"]["shell"] == "bash"


def test_oldest_python_and_that_of_the_image_are_tested() -> None:
    dockerfile, project = (ROOT / name for name in ("Dockerfile", "pyproject.toml"))
    shipped = re.findall(r"^ARG BASE=python:(\d\.\d+)-", dockerfile.read_text(), re.MULTILINE)
    oldest = re.findall(r'^requires-python = ">=(.*)"$', project.read_text(), re.MULTILINE)

    test = jobs(CI)["test"]

    assert test["strategy"]["matrix"]["python"] == oldest + shipped
    assert "make check PYTHON=" in "".join(step.get("run", "") for step in test["steps"])


def test_image_is_built_on_its_own_base_for_both_architectures() -> None:
    matrix = jobs(CI)["image-on-its-base"]["strategy"]["matrix"]

    assert matrix == {"runner": ["ubuntu-24.04", "ubuntu-24.04-arm"]}


def test_release_passes_all_that_a_change_passes() -> None:
    release = jobs(RELEASE)

    assert release["test"]["uses"] == "./.github/workflows/ci.yaml"
    assert "workflow_call" in yaml.safe_load(CI.read_text())[True]  # YAML 1.1 reads `on` as true
    assert set(release["build"]["needs"]) == {"names", "test"}


def test_nothing_has_a_tag_before_it_is_scanned_on_both_architectures_and_signed() -> None:
    release = jobs(RELEASE)
    (pushed,) = [step["with"] for step in release["build"]["steps"] if step.get("id") == "build"]
    runs = [step.get("run", "") for step in release["publish"]["steps"]]
    order = [
        next(number for number, run in enumerate(runs) if words in run)
        for words in ("cosign sign", "helm push", "imagetools create --tag", "gh release create")
    ]

    assert "push-by-digest=true" in pushed["outputs"]
    assert "tags" not in pushed
    assert {f"linux/{arch}" for arch in release["scan"]["strategy"]["matrix"]["arch"]} == set(
        pushed["platforms"].split(",")
    )
    assert set(release["publish"]["needs"]) >= {"build", "scan"}
    assert order == sorted(order)


def test_only_what_publishes_may_write_and_the_scanner_may_not() -> None:
    writers = {
        (path.stem, name): {
            right for right, level in job["permissions"].items() if level == "write"
        }
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        if "write" in job.get("permissions", {}).values()
    }

    assert writers == {
        ("release", "build"): {"packages"},
        ("release", "publish"): {"contents", "packages", "id-token"},
    }


def test_updates_reach_each_place_that_pins_something() -> None:
    rows = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    places = {
        (row["package-ecosystem"], place)
        for row in rows
        for place in row.get("directories", [row.get("directory")])
    }
    modules = {f"/{path.parent.relative_to(ROOT)}" for path in (ROOT / "hack").rglob("go.mod")}

    assert places == {
        ("github-actions", "/"),
        ("docker", "/"),
        *(("gomod", place) for place in modules),
    }
