"""Each shell block that a page marks as tried works as shown, in what `make demo KEEP=1` leaves."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.blocks import TRIED, Command, Ended, blocks, run

ROOT = Path(__file__).parents[2]
PAGES = ("golden-images", "spec", "troubleshooting", "runbooks", "argocd", "how-to", "get-started")
"""The last one deletes and breaks what the others use."""
PYTHONPATH = [str(ROOT / name) for name in ("operator", "tests", "hack")]
SOURCED = "source .tmp/demo.env"
READY = (
    Command(SOURCED),
    Command(
        "NEW_PASSWORD=$(kubectl get secret otc-credentials -o jsonpath='{.data.password}'"
        " | base64 -d)"
    ),
)
"""What a reader has done before, and knows."""
STARTED = "Ctrl-C stops the demo"
MARK = re.compile(r"^<!-- *tried", re.MULTILINE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo as `make demo KEEP=1` runs it; returns what it printed."""
    log = tmp_path_factory.mktemp("demo") / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "hack/demo.py"],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "KEEP": "1", "PYTHONPATH": os.pathsep.join(PYTHONPATH)},
        )
        try:
            while STARTED not in log.read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield log.read_text()
        finally:
            process.terminate()  # what begins in the background of a shell ignores Ctrl-C's signal
            process.wait(120)
    assert process.returncode == 0
    assert not (ROOT / ".tmp/demo.env").exists()


@pytest.fixture(scope="module")
def tried(demo: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Ended]]:
    """The results of each page; the pages run in the order of `PAGES`, the tests in any order."""
    assert SOURCED in demo
    return {page: try_page(page, tmp_path_factory.mktemp(page)) for page in PAGES}


def try_page(page: str, desk: Path) -> list[Ended]:
    """Run the commands of the page in a directory with what the repository has for a reader."""
    for name in ("deploy", ".tmp"):
        (desk / name).symlink_to(ROOT / name)
    return list(run([*READY, *commands(page)], where=desk, env=os.environ))


def commands(page: str) -> list[Command]:
    return list(blocks((ROOT / f"docs/{page}.md").read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_tried_blocks_do_what_the_page_shows(tried: dict[str, list[Ended]], page: str) -> None:
    ended = tried[page]

    assert commands(page)
    assert len(ended) == len(READY) + len(commands(page)), ended[-1]
    for one in ended:
        assert one.code == one.command.code, one
        assert one.missing == [], one


def test_page_that_shows_what_is_not_printed_is_found_out(tmp_path: Path) -> None:
    page = "<!-- tried -->\n```shell\nprintf 'a 5s\\nb\\n'\n```\n\n```text\n{}\n```\n"

    def missing(shown: str) -> list[str]:
        (one,) = blocks(page.format(shown))
        (ended,) = run([one], where=tmp_path, env=os.environ)
        return ended.missing

    assert missing("a  12m\nb") == missing("…\nb") == missing("a…") == []
    assert missing("b\na 5s") == ["a 5s"]
    assert missing("a 5s b") == ["a 5s b"]


@pytest.mark.parametrize("text", ["false\n", "false\ntrue\n", "cd /nowhere\n", "exit 0\n"])
@pytest.mark.parametrize("code", ["", ": exit 3"])
def test_command_that_fails_is_found_out(tmp_path: Path, text: str, code: str) -> None:
    these = list(blocks(f"<!-- tried{code} -->\n```shell\n{text}```\n"))
    assert these

    ended = list(run(these, where=tmp_path, env=os.environ))

    assert len(ended) < len(these) or any(one.code != one.command.code for one in ended)


def test_command_that_is_shown_to_fail_may_fail(tmp_path: Path) -> None:
    (one,) = blocks("<!-- tried: exit 3 -->\n```shell\n(exit 3)\n```\n")

    (ended,) = run([one], where=tmp_path, env=os.environ)

    assert ended.code == one.code == 3


def test_no_page_is_forgotten() -> None:
    marked = {page.stem for page in ROOT.glob("docs/**/*.md") if MARK.search(page.read_text())}

    assert marked == {*PAGES, "cli"}


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.stem)
def test_each_mark_is_understood(page: Path) -> None:
    text = page.read_text()

    assert len(MARK.findall(text)) == len([*TRIED.finditer(text)])


@pytest.mark.parametrize("page", [*PAGES, "cli"])
def test_each_shown_output_is_that_of_a_tried_block(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text()

    assert text.count("```text\n") == len([one for one in blocks(text) if one.shown])
