"""docs/failure-modes.md cites tests that exist, and leaves no reason and no fault test out."""

import ast
import functools
import re
from pathlib import Path

import pytest

from image_share_operator.api.reasons import Reason

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs/failure-modes.md").read_text()
TABLED = (
    "test_api_server",
    "test_bad_input",
    "test_crash",
    "test_faults",
    "test_outage",
    "test_replicas",
    "test_watch_faults",
)
"""Files of `e2e/live` that are about faults: each of their tests has a row."""


def rows() -> list[list[str]]:
    """The cells of all rows that tell of a fault: fault, you see, the operator, test."""
    tables = re.findall(r"^\| fault \|.*\n\| --- .*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [
        [cell.strip() for cell in row.strip("|").split(" | ")]
        for table in tables
        for row in table.splitlines()
    ]


def cited() -> list[tuple[str, str]]:
    """File and name of each test that a row cites; a name alone is of the file before it."""
    found: list[tuple[str, str]] = []
    for row in rows():
        file = ""
        for citation in re.findall(r"`([^`]+)`", row[-1]):
            path, mark, name = citation.rpartition("::")
            file = path if mark else file
            found.append((file, name))
    return found


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


@functools.cache
def expected_to_fail(path: str) -> set[str]:
    """The names of the tests of a file that are marked so, or whose parameters are."""
    tree = ast.parse((TESTS / path).read_text())
    marks = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and ".xfail(" in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(
            ".xfail" in (text := ast.unparse(decorator)) or marks & set(re.findall(r"\w+", text))
            for decorator in node.decorator_list
        )
    }


def test_failure_modes_cite_tests_that_exist() -> None:
    missing = [f"{file}::{name}" for file, name in cited() if name not in defined(file)]

    assert missing == []


def test_failure_modes_have_four_cells_and_a_test_in_each_row() -> None:
    odd = [row for row in rows() if len(row) != 4 or not all(row) or "::" not in row[-1]]

    assert odd == []
    assert len(rows()) >= 60


@pytest.mark.parametrize("reason", list(Reason))
def test_failure_modes_reach_each_reason(reason: Reason) -> None:
    assert any(f"`{reason}`" in row[1] for row in rows())


@pytest.mark.parametrize("file", TABLED)
def test_failure_modes_leave_no_fault_test_out(file: str) -> None:
    path = f"e2e/live/{file}.py"

    assert defined(path) - {name for where, name in cited() if where == path} == set()


def test_failure_modes_own_up_to_what_is_expected_to_fail() -> None:
    known = PAGE.partition("## Known faults")[2]
    marked = set[str]().union(*(expected_to_fail(f"e2e/live/{file}.py") for file in TABLED))

    assert set(re.findall(r"^- `(test_\w+)`", known, re.MULTILINE)) == marked
