"""`completion` prints scripts that the real shells can use."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.command import Ended

Run = Callable[..., Ended]
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
handler=$(complete -p image-share-operator | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$handler
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
autoload -Uz compinit; compinit -u -d "$1.dump"
eval "$(<$1)"
whence -w _shtab_image_share_operator
"""


@pytest.fixture
def script(run: Run, tmp_path: Path) -> Callable[[str], Path]:
    def script(shell: str) -> Path:
        ended = run("completion", shell)
        assert ended.code == 0, ended.err
        file = tmp_path / f"completion.{shell}"
        file.write_text(ended.out)
        return file

    return script


def by_bash(file: Path, *words: str) -> set[str]:
    command = ["bash", "--norc", "-c", BASH, "bash", str(file), "image-share-operator", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=file.parent)
    assert ended.stderr == ""
    return {line.strip() for line in ended.stdout.splitlines()}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("",), {"check", "completion", "pending", "reconcile", "resume", "run", "status"}),
        (("re",), {"reconcile", "resume"}),
        (("pending", "--re"), {"--region"}),
        (("check", "-o", ""), {"table", "wide", "json", "yaml"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
        (("check", "--secret", "completion."), {"completion.bash"}),
    ],
    ids=["commands", "part of a command", "option", "format", "shell", "file"],
)
def test_bash_completes_commands_options_and_files(
    script: Callable[[str], Path], words: tuple[str, ...], expected: set[str]
) -> None:
    assert by_bash(script("bash"), *words) >= expected


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_loads_the_script(script: Callable[[str], Path]) -> None:
    ended = subprocess.run(
        ["zsh", "-f", "-c", ZSH, "zsh", script("zsh")], capture_output=True, text=True, check=True
    )

    assert ended.stdout == "_shtab_image_share_operator: function\n"
    assert ended.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [("re", {"reconcile", "resume"}), ("pending --re", {"--region"})],
    ids=["command", "option"],
)
def test_fish_completes_commands_and_options(
    script: Callable[[str], Path], words: str, expected: set[str]
) -> None:
    source = f"source {script('fish')}; complete -C 'image-share-operator {words}'"
    ended = subprocess.run(
        ["fish", "--no-config", "-c", source], capture_output=True, text=True, check=True
    )

    assert {line.partition("\t")[0] for line in ended.stdout.splitlines()} >= expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_script_describes_each_command(script: Callable[[str], Path], shell: str) -> None:
    text = script(shell).read_text()

    assert "list the pending shares of a project; with -o yaml as a manifest" in text
    assert "print the completion script of a shell" in text


def test_unknown_shell_is_reported_with_the_known_ones(run: Run) -> None:
    ended = run("completion", "tcsh")

    assert ended.code == 2
    assert "bash" in ended.err
