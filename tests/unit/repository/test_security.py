"""Each threat of docs/security.md has a test that exists."""

import ast
import re
from pathlib import Path

import yaml

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs/security.md").read_text()
TESTED: dict[str, dict[str, list[str]]] = yaml.safe_load((TESTS / "docs/security.yaml").read_text())
"""The tests for each threat, by section and threat."""


def threats() -> dict[str, list[str]]:
    """The first cells of the rows of all tables of threats, by section."""
    _, *sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    found = {
        section.partition("\n")[0]: re.findall(r"^\| (.+?) \| .+ \|$", section, re.MULTILINE)
        for section in sections
    }
    return {title: rows[2:] for title, rows in found.items() if rows}


def defined(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_security_page_cites_tests_that_exist() -> None:
    cited = [test for rows in TESTED.values() for tests in rows.values() for test in tests]
    split = [test.partition("::") for test in cited]

    assert [test for test in split if test[2] not in defined(test[0])] == []


def test_security_page_has_a_test_for_each_threat() -> None:
    assert {title: list(rows) for title, rows in TESTED.items()} == threats()
    assert [threat for rows in TESTED.values() for threat in rows if not rows[threat]] == []
    assert sum(len(rows) for rows in TESTED.values()) >= 20


def test_security_page_has_a_section_for_each_letter_of_stride() -> None:
    assert re.findall(r"^## ([STRIDE]): ", PAGE, re.MULTILINE) == list("STRIDE")
