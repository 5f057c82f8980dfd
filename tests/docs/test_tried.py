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
"""In this order: the last one deletes and breaks what the others use."""
OF_OTHER_MODULES = ("cli", "openstack")
"""Pages whose blocks need no demo: `cli/test_page.py` and `test_tried_openstack.py` try them."""
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


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    """The demo as `make demo KEEP=1` runs it; returns what it printed.

    Two of them at once would overwrite each other's `.tmp/demo.env`, so one test uses it:
    workers of pytest-xdist share the tests of a module, and each has its own fixtures.
    """
    log = tmp_path / "log"
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


def try_page(page: str, desk: Path) -> list[Ended]:
    """Run the commands of the page in a directory with what the repository has for a reader."""
    for name in ("deploy", ".tmp"):
        (desk / name).symlink_to(ROOT / name)
    return list(run([*READY, *commands(page)], where=desk, env=os.environ))


def commands(page: str) -> list[Command]:
    return list(blocks((ROOT / f"docs/{page}.md").read_text()))


def test_tried_blocks_do_what_their_page_shows(demo: str, tmp_path: Path) -> None:
    assert SOURCED in demo
    for page in PAGES:
        desk = tmp_path / page
        desk.mkdir()

        ended = try_page(page, desk)

        assert commands(page)
        for one in ended:
            assert one.code == one.command.code, (page, one)
            assert one.missing == [], (page, one)
        assert len(ended) == len(READY) + len(commands(page)), (page, ended[-1])


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

    assert marked == {*PAGES, *OF_OTHER_MODULES}


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.stem)
def test_each_mark_is_understood(page: Path) -> None:
    text = page.read_text()

    assert len(MARK.findall(text)) == len([*TRIED.finditer(text)])


@pytest.mark.parametrize("page", [*PAGES, *OF_OTHER_MODULES])
def test_each_shown_output_is_that_of_a_tried_block(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text()

    assert text.count("```text\n") == len([one for one in blocks(text) if one.shown])
