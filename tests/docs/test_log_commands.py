"""The commands of the docs that read logs: they read all replicas, and jq finds what they seek."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("operations", "runbooks", "troubleshooting", "install", "argocd", "get-started", "how-to")
BLOCK = re.compile(r"^```shell\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^kubectl .*?\blogs\b.*?(?:[^|]$)", re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Each page, and a command in it that reads logs, with its lines."""
    for page in PAGES:
        text = (ROOT / f"docs/{page}.md").read_text()
        for block in BLOCK.findall(text):
            for command in COMMAND.findall(block):
                yield page, command


COMMANDS = tuple(commands())
FILTERS = tuple((page, command) for page, command in COMMANDS if " jq " in command)


LINES = """
import logging
from image_share_operator.telemetry import context, logs

logs.configure("json", "info", {})
log = logging.getLogger("image_share_operator")
log.info("standby: leader is %s", "pod-a")
for namespace, name in (("team-a", "web"), ("my-team", "base-images")):
    context.enter(namespace, name)
    log.info("changed", extra={"reason": "Accepted", "request_id": "0a1b"})
try:
    raise ValueError
except ValueError:
    log.exception("team-a/web: the reconcile failed with a bug of the operator")
"""
"""Writes lines as the operator does with the settings of the chart."""


@pytest.fixture(scope="module")
def log_of_replicas() -> str:
    """JSON lines of the operator, after one that is no JSON."""
    written = subprocess.run(
        [sys.executable, "-c", LINES], capture_output=True, text=True, check=True
    )
    assert written.stderr.count("\n") == 4
    return f"not JSON\n{written.stderr}"


def test_docs_have_such_commands() -> None:
    assert {page for page, _ in COMMANDS} == {"operations", "runbooks", "troubleshooting"}
    assert len(FILTERS) == 5


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_command_reads_all_replicas_from_the_beginning(page: str, command: str) -> None:
    assert " -l app.kubernetes.io/name=image-share-operator " in command, page
    assert re.search(r" --tail=(-1|20)\b", command), page
    assert ("--prefix" in command) is (" jq " not in command), "a prefix makes no JSON"


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
@pytest.mark.parametrize(("page", "command"), FILTERS)
def test_jq_finds_the_lines(page: str, command: str, log_of_replicas: str) -> None:
    del page
    program = re.search(r"jq -R -r '(.*?)'", command, re.DOTALL)
    assert program is not None

    ended = subprocess.run(
        ["jq", "-R", "-r", program[1]],
        input=log_of_replicas,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout != ""
    assert "null" not in ended.stdout
