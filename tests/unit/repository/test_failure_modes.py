"""Each fault of docs/failure-modes.md has a test, and each fault test and each reason has a row."""

import ast
import functools
import re
from pathlib import Path

import pytest
import yaml

from image_share_operator.api.reasons import Reason

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs/failure-modes.md").read_text()
TESTED: dict[str, dict[str, list[str]]] = yaml.safe_load(
    (TESTS / "docs/failure_modes.yaml").read_text()
)
"""The tests for each fault, by section and fault."""
TABLED = (
    "test_api_server",
    "test_bad_input",
    "test_crash",
    "test_faults",
    "test_outage",
    "test_replicas",
    "test_transient_errors",
    *sorted(
        f"api_faults/{path.stem}" for path in (TESTS / "e2e/live/api_faults").glob("test_*.py")
    ),
)
"""Files of `e2e/live` that are about faults: each of their tests has a row."""


def rows() -> dict[str, list[list[str]]]:
    """The cells of all rows of faults, by section: fault, you see, the operator."""
    _, *sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    tables = {
        section.partition("\n")[0]: re.search(
            r"^\| fault \|.*\n\| --- .*\n((?:\|.*\n)+)", section, re.MULTILINE
        )
        for section in sections
    }
    return {
        title: [
            [cell.strip() for cell in row.strip("|").split(" | ")] for row in table[1].splitlines()
        ]
        for title, table in tables.items()
        if table
    }


ROWS = [row for section in rows().values() for row in section]


def cited() -> list[tuple[str, str]]:
    """File and name of each test that is named for a fault."""
    tests = [test for faults in TESTED.values() for named in faults.values() for test in named]
    return [(file, name) for file, _, name in (test.partition("::") for test in tests)]


@functools.cache
def defined(path: str) -> set[str]:
    """The names of the tests of a file, without importing it."""
    file = TESTS / path
    if not file.is_file():
        return set()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, functions) and node.name.startswith("test_")
    }


def test_failure_modes_cite_tests_that_exist() -> None:
    missing = [f"{file}::{name}" for file, name in cited() if name not in defined(file)]

    assert missing == []


def test_failure_modes_have_three_cells_in_each_row() -> None:
    odd = [row for row in ROWS if len(row) != 3 or not all(row)]

    assert odd == []
    assert len(ROWS) >= 60


def test_failure_modes_have_a_test_for_each_row() -> None:
    faults = {title: [row[0] for row in section] for title, section in rows().items()}

    assert {title: list(tests) for title, tests in TESTED.items()} == faults
    assert [fault for tests in TESTED.values() for fault in tests if not tests[fault]] == []


@pytest.mark.parametrize("reason", list(Reason))
def test_failure_modes_reach_each_reason(reason: Reason) -> None:
    assert any(f"`{reason}`" in row[1] for row in ROWS)


@pytest.mark.parametrize("file", TABLED)
def test_failure_modes_leave_no_fault_test_out(file: str) -> None:
    path = f"e2e/live/{file}.py"

    assert defined(path) - {name for where, name in cited() if where == path} == set()
