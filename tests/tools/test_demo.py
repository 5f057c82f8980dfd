"""The tables of `make demo` fit into a terminal."""

import io

import pytest
from rich.console import Console

import demo

NAMES = {"not-yet-shared": "NotShared", "wrong-password": "CredentialsInvalid"}
LATEST = "ubuntu-24.04-20261130"
MESSAGE = (
    "Image 7d1f0c9e-2b3a-4c5d-9e8f-0a1b2c3d4e5f is not shared with project "
    "5dd3c0b24cdc4d31952c49589182a89d. Check the image ID."
)
ROWS = [
    {
        "metadata": {"name": name},
        "spec": {"decision": "Accept"},
        "status": {
            "conditions": [
                {"type": "Ready", "status": "False", "reason": reason, "message": MESSAGE}
            ],
            "summary": "0/1",
            "latest": [{"name": LATEST}],
            "job": {"status": "SUCCESS"},
        },
    }
    for name, reason in NAMES.items()
]


def printed(columns: int, *things: object) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, highlight=False, soft_wrap=True)
    for thing in things:
        console.print(thing)
    file = console.file
    assert isinstance(file, io.StringIO)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_demo_cuts_no_name_reason_or_id_in_a_terminal(columns: int) -> None:
    lines = printed(columns, demo.table(ROWS, columns), demo.messages(ROWS, columns))

    assert [line for line in lines if len(line) > columns] == []
    words = {word.strip(".") for line in lines for word in line.split()}
    assert words >= {*NAMES, *NAMES.values(), "7d1f0c9e-2b3a-4c5d-9e8f-0a1b2c3d4e5f"}
    assert "MESSAGE" not in words
    assert (LATEST in words) == (columns >= 80)
    assert len([line for line in lines if line.startswith("not-yet-shared  ")]) == 1


def test_demo_shows_messages_in_the_table_of_a_wide_terminal() -> None:
    lines = printed(220, demo.table(ROWS, 220))

    assert lines[0].split() == list(demo.HEAD)
    assert lines[1].endswith(MESSAGE)
