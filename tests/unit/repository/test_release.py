"""A release is refused while files disagree about its version, or the changelog is silent."""

import shutil
from pathlib import Path

import pytest

import release

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that name the version, and a changelog that has it."""
    for name in {path for path, _ in release.PLACES}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    sections = ["[Unreleased]", "[0.1.0] - 2026-12-01\n\n- All.", "[0.0.9] - 2026-11-01\n\n- Less."]
    text = "\n\n## ".join(["# Changelog", *sections])
    (tmp_path / "CHANGELOG.md").write_text(text)
    return tmp_path


def test_all_files_of_this_tree_name_one_version() -> None:
    assert len({version for _, version in release.versions(ROOT)}) == 1


def test_version_that_all_files_name_can_be_released(tree: Path) -> None:
    release.check(tree, "0.1.0")


@pytest.mark.parametrize("number", range(len(release.PLACES)))
def test_file_that_names_another_version_is_told(number: int, tree: Path) -> None:
    path, pattern = release.PLACES[number]
    before = pattern.replace("^", "").partition("(")[0].rpartition("+")[2].rpartition(" ")[2]
    text = (tree / path).read_text()
    assert f"{before}0.1.0" in text
    (tree / path).write_text(text.replace(f"{before}0.1.0", f"{before}0.1.1"))

    with pytest.raises(release.ReleaseError, match=f"{path} has 0.1.1"):
        release.check(tree, "0.1.0")


def test_all_that_differ_are_told_at_once(tree: Path) -> None:
    with pytest.raises(release.ReleaseError) as refused:
        release.check(tree, "0.2.0")

    assert str(refused.value).count(" has 0.1.0") == len(release.PLACES)


def test_file_that_names_no_version_is_told(tree: Path) -> None:
    (tree / "docs/install.md").write_text("nothing")

    with pytest.raises(release.ReleaseError, match=r"docs/install\.md has 0 versions"):
        release.check(tree, "0.1.0")


@pytest.mark.parametrize("heading", ["## [Unreleased]", "## [0.1.0]", "## [0.1.1] - 2026-12-01"])
def test_changelog_without_version_and_date_is_refused(heading: str, tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\n- All.\n")

    with pytest.raises(release.ReleaseError, match="no section"):
        release.check(tree, "0.1.0")


def test_notes_are_the_section_and_no_more(tree: Path) -> None:
    assert release.notes(tree, "0.1.0") == "- All."


def test_error_is_one_line_for_the_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["check", "9.9.9"]) == 1

    assert capsys.readouterr().err.startswith("error: version 9.9.9: pyproject.toml has ")
