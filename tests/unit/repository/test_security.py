"""Each claim of docs/security.md cites a test that exists."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs/security.md").read_text()
CITED = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]


def defined(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_security_page_cites_tests_that_exist() -> None:
    missing = [f"{path}::{name}" for path, name in CITED if name not in defined(path)]

    assert missing == []


def test_security_page_has_a_test_in_each_row() -> None:
    claims = [row for row in ROWS if not row.startswith("| threat ")]

    assert [row for row in claims if "::test_" not in row] == []
    assert len(claims) >= 20


def test_security_page_has_a_section_for_each_letter_of_stride() -> None:
    assert re.findall(r"^## ([STRIDE]): ", PAGE, re.MULTILINE) == list("STRIDE")
