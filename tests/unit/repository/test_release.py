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


def test_all_versions_that_differ_are_reported_at_once(tree: Path) -> None:
    with pytest.raises(release.ReleaseError) as refused:
        release.check(tree, "0.2.0")

    assert str(refused.value).count(" has 0.1.0") == len(release.PLACES)


def test_file_without_a_version_is_reported(tree: Path) -> None:
    (tree / "pyproject.toml").write_text("nothing")

    with pytest.raises(release.ReleaseError, match=r"pyproject\.toml has 0 versions"):
        release.check(tree, "0.1.0")


@pytest.mark.parametrize("heading", ["## [Unreleased]", "## [0.1.0]", "## [0.1.1] - 2026-12-01"])
def test_changelog_without_version_and_date_is_refused(heading: str, tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\n- All.\n")

    with pytest.raises(release.ReleaseError, match="no section"):
        release.check(tree, "0.1.0")


def test_notes_are_the_section_and_no_more(tree: Path) -> None:
    assert release.notes(tree, "0.1.0") == "- All."
