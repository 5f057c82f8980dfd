"""The check of words finds them in each kind of text, and the clean paths have none."""

from pathlib import Path

import pytest

import language

ROOT = Path(__file__).parents[3]
SAMPLES = (
    "mend",
    "mended",
    "anew",
    "whoever",
    "whom",
    "gladly",
    "dear",
    "hence",
    "likewise",
    "looked at",
    "looks at",
    "let go",
    "lets it go",
    "by hand",
    "is told",
    "were told",
    "nobody",
    "somebody",
    "comes true",
    "came true",
    "goes on by itself",
    "so long as",
    "at rest",
    "fellows",
    "culprit",
    "innocent",
    "its standing",
    "puts it right",
)


def found(tmp_path: Path, name: str, text: str) -> list[str]:
    """Where the check finds words in one file."""
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return [f"{hit.path}:{hit.line} {hit.found}" for hit in language.check(tmp_path)]


def test_clean_paths_have_no_word_of_the_list() -> None:
    hits = language.check(ROOT, language.CLEAN)

    assert [str(hit) for hit in hits] == []


def test_paths_of_the_lists_exist() -> None:
    for path in language.CLEAN:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("words", SAMPLES)
def test_each_word_is_found(tmp_path: Path, words: str) -> None:
    assert found(tmp_path, "docs/page.md", f"It {words} here.") == [f"docs/page.md:1 {words}"]


@pytest.mark.parametrize(
    "words",
    ["encryption at rest", "amended", "mendacious", "let it ago", "notwithstanding", "deary"],
)
def test_other_words_are_not_found(tmp_path: Path, words: str) -> None:
    assert found(tmp_path, "docs/page.md", f"It {words} here.") == []


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("README.md", "a\nis\ntold\n", 2),
        ("docs/a/page.md", "```shell\nrun # is told\n```\n", 2),
        ("deploy/crds/crd.yaml", "a: 1\ndescription: is told\n", 2),
        ("deploy/chart/NOTES.txt", "\n\nis told\n", 3),
        ("deploy/board.json", '{\n"title": "is told"}\n', 2),
        ("operator/a/mod.py", '"""A.\n\nis told\n"""\n', 3),
        ("operator/mod.py", "A = 1\n# it is\n# told\n", 2),
        ("operator/mod.py", 'A = (\n    "it is "\n    f"told {1}"\n)\n', 2),
        ("tests/test_a.py", "def test_user_is_told() -> None: ...\n", 1),
        ("tests/test_a.py", "async def test_user_is_told() -> None: ...\n", 1),
    ],
)
def test_each_kind_of_text_is_checked(tmp_path: Path, name: str, text: str, line: int) -> None:
    (hit,) = found(tmp_path, name, text)

    assert hit == f"{name}:{line} is told"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/page.md", "Log: `it is told`.\n"),
        ("docs/page.md", "```text\nit is told\n```\n"),
        ("docs/page.md", "```yaml\nmessage: it is told\n```\n"),
        ("operator/mod.py", "is_told = told = 1\n"),
        ("tests/testdata/page.md", "it is told\n"),
        ("docs/picture.svg", "it is told\n"),
    ],
)
def test_quotes_names_and_foreign_files_are_not_checked(
    tmp_path: Path, name: str, text: str
) -> None:
    assert found(tmp_path, name, text) == []


def test_error_has_place_word_and_replacement(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("Do it by hand.\n")

    (hit,) = language.check(tmp_path)

    assert str(hit) == 'README.md:1: "by hand": write instead: manually, another client'
