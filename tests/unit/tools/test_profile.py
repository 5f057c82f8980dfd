"""The profile names modules of the package; each move of a module makes a name stale."""

from pathlib import Path

from profile_crowd import OWN, PARTS

OPERATOR = Path(__file__).parents[3] / "operator"


def test_parts_name_files_of_the_package() -> None:
    files = [file for _, part in PARTS for file in part if file.startswith(OWN)]

    assert [file for file in files if not (OPERATOR / file).exists()] == []
