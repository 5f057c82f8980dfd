"""docs/architecture.md names each package and each module of the operator, and no others."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator/image_share_operator"
PAGE = (ROOT / "docs/architecture.md").read_text()


def modules() -> set[str]:
    """The paths of all modules below the package."""
    files = {str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py")}
    return {file for file in files if not file.endswith("__init__.py")}


def test_architecture_page_describes_each_module_in_one_row() -> None:
    rows = re.findall(r"^\| `([\w/]+\.py)` \| \S", PAGE, re.MULTILINE)

    assert sorted(rows) == sorted(modules())


def test_architecture_page_names_no_path_that_does_not_exist() -> None:
    text = re.sub(r"\]\([^)]*\)", "]", PAGE)
    named = set(re.findall(r"(?<![\w/])(?:[a-z_]+/)+(?:\w+\.py)?|(?<![\w/])\w+\.py", text))

    missing = [path for path in named if not (PACKAGE / path).exists()]
    assert [path for path in missing if not (ROOT / path).exists()] == []


def test_architecture_page_has_a_section_for_each_package() -> None:
    packages = {f"{file.parent.name}/" for file in PACKAGE.glob("*/__init__.py")}

    assert set(re.findall(r"^### (\w+/)$", PAGE, re.MULTILINE)) == packages


def test_drawing_of_the_packages_has_each_name_of_the_top_level() -> None:
    drawing = PAGE.partition("## Packages")[2].partition("```text")[2].partition("```")[0]
    top = {f"{file.parent.name}/" for file in PACKAGE.glob("*/__init__.py")}
    top |= {file.name for file in PACKAGE.glob("*.py")} - {"__init__.py"}

    assert set(re.findall(r"\w+(?:/|\.py)", drawing)) == top
