"""Checks the words of the texts that people read; `make language` runs it.

The glossary in `docs/glossary.md` explains the choice of words. A path in `CLEAN` may hold none of
the words below. `--all` counts the words in all other paths, too.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

CLEAN = (
    ".github/",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "ROADMAP.md",
    "SECURITY.md",
    "deploy/",
    "docs/",
    "hack/",
    "operator/",
    "tests/",
)
"""Prefixes of the paths that are checked. Add a path when its last word is replaced."""

PLACES = ("*.md", "docs", "deploy", "operator", "tests", "hack", ".github")
"""Where the texts are: files and directories of the repository."""

SUFFIXES = (".md", ".py", ".yaml", ".yml", ".tpl", ".txt", ".json", ".lua")

LEFT_OUT = ("hack/language.py", "hack/tools/", "/testdata/")
"""The list, Go modules of the tools, and files of other projects."""

WORDS = {
    r"mend(?:s|ed|ing)?": "fix, correct, restore",
    r"anew": "again",
    r"whoever": "the user who",
    r"whom": "who, which",
    r"gladly": "leave it out",
    r"dear": "expensive",
    r"hence": "so",
    r"likewise": "also",
    r"look(?:s|ed) at": "reads, checks, polls",
    r"let(?:s|ting)?(?: \S+){0,2} go": "the finalizer is removed",
    r"by hand": "manually, another client",
    r"(?:is|are|was|were|be|been) told": "is reported; the operator reports",
    r"nobody(?:'s)?": "no user, no client, nothing",
    r"somebody(?:'s)?": "a user, another client",
    r"(?:come|comes|came|coming) true": "takes effect, becomes visible",
    r"go(?:es)? on by (?:itself|themselves)": "continues automatically",
    r"so long as": "while, as long as",
    r"(?<!encryption\s)(?<!encrypted\s)(?<!data\s)at rest": "idle, settled",
    r"fellows?": "other resources in the same batch",
    r"culprits?": "failing image",
    r"innocents?": "unaffected image",
    r"(?:a|an|the|its|their|of|this|each|same) standing": "condition, status",
    r"(?:put|set)s? (?:it |them )?right": "fix, correct, restore",
}
"""Words that are left out, as patterns, and the words to write instead."""

GAP = r"\s+"
PATTERNS = {
    re.compile(rf"(?<![\w-]){words.replace(' ', GAP)}(?![\w-])", re.IGNORECASE): instead
    for words, instead in WORDS.items()
}


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text.

    Attributes:
        line: its first line in the file.
    """

    line: int
    words: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A word of the list in a file."""

    path: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.found}": write instead: {self.instead}'


def main(arguments: list[str]) -> int:
    """Print the words that are found; return 1 when a clean path holds one."""
    everything = "--all" in arguments
    hits = list(check(ROOT, ("",) if everything else CLEAN))
    wrong = [hit for hit in hits if hit.path.startswith(CLEAN)]
    for hit in wrong:
        print(hit, file=sys.stderr)
    if everything:
        for path, number in sorted(Counter(hit.path for hit in hits).items()):
            print(f"{number:5} {path}")
        print(f"{len(hits):5} in all, {len(wrong)} of them in paths that must be clean")
    return 1 if wrong else 0


def check(root: Path, prefixes: tuple[str, ...] = ("",)) -> Iterator[Hit]:
    """Find the words in the texts of a repository.

    Args:
        prefixes: of the paths to check.
    """
    for file in _files(root):
        path = file.relative_to(root).as_posix()
        if path.startswith(prefixes):
            hits = [hit for text in _texts(file) for hit in _hits(path, text)]
            yield from sorted(hits, key=lambda hit: hit.line)


def _files(root: Path) -> Iterator[Path]:
    for place in PLACES:
        for found in sorted(root.glob(place)):
            for file in sorted(found.rglob("*")) if found.is_dir() else [found]:
                path = file.relative_to(root).as_posix()
                if file.suffix in SUFFIXES and not any(part in path for part in LEFT_OUT):
                    yield file


def _hits(path: str, text: Text) -> Iterator[Hit]:
    for pattern, instead in PATTERNS.items():
        for found in pattern.finditer(text.words):
            line = text.line + text.words.count("\n", 0, found.start())
            yield Hit(path, line, " ".join(found[0].split()), instead)


def _texts(file: Path) -> Iterator[Text]:
    content = file.read_text()
    match file.suffix:
        case ".py":
            yield from _python(content)
        case ".md":
            yield Text(1, _prose(content))
        case _:
            yield Text(1, content)


def _prose(markdown: str) -> str:
    """Blank what quotes the product: inline code, and code blocks except their comments."""
    lines = list[str]()
    fence = ""
    for line in markdown.splitlines():
        mark = re.match(r"\s*(`{3,})(\w*)", line)
        if mark:
            fence = "" if fence else mark[2] or "text"
            lines.append("")
        elif not fence:
            lines.append(re.sub(r"`[^`]*`", "`", line))
        else:
            comment = re.search(r"(?:^|\s)#\s.*", line)
            lines.append(comment[0] if comment and fence not in ("text", "console") else "")
    return "\n".join(lines)


def _python(source: str) -> Iterator[Text]:
    """Find docstrings, messages, comments and the names of tests."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(words)) if " " in words:
                yield Text(node.lineno, words)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.startswith("test_"):
                    yield Text(node.lineno, name.replace("_", " "))
            case _:
                pass
    yield from _comments(source)


def _comments(source: str) -> Iterator[Text]:
    """Find comments; lines that follow each other are one text."""
    first, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if lines and token.start[0] != first + len(lines):
            yield Text(first, "\n".join(lines))
            lines = []
        first = first if lines else token.start[0]
        lines.append(token.string.removeprefix("#"))
    if lines:
        yield Text(first, "\n".join(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
