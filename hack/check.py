"""Runs all checks side by side, each to its end, and prints what failed and what to do.

`make check` runs it. One line for each check when it ends; the output of those that failed, last.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
QUICK_TESTS = (
    "tests/unit",
    "tests/contract",
    "tests/tools",
    "tests/docs/test_site.py",
    "tests/image/test_dockerfile.py",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A command that exits with 0 when all is well.

    Attributes:
        advice: what to do when it fails.
    """

    name: str
    command: Sequence[str | Path]
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a check came to; `output` is stdout and stderr together."""

    check: Check
    passed: bool
    output: str
    took_s: float


CHECKS = (
    Check(
        name="types",
        command=(BIN / "mypy",),
        advice="Correct the types.",
    ),
    Check(
        name="tests",
        command=(BIN / "pytest", "--numprocesses=auto", "--dist=worksteal", *QUICK_TESTS),
        advice="Run one of them alone: make unit T=name_of_the_test",
    ),
    Check(
        name="format",
        command=(BIN / "ruff", "format", "--check"),
        advice="Run: make format",
    ),
    Check(
        name="lint",
        command=(BIN / "ruff", "check"),
        advice="Run: make format. Correct the rest.",
    ),
    Check(
        name="imports",
        command=(BIN / "lint-imports",),
        advice="Import downwards only. pyproject.toml has the contracts.",
    ),
    Check(
        name="generated files",
        command=(BIN / "python", "hack/generate.py", "--check"),
        advice="Run: .venv/bin/python hack/generate.py",
    ),
    Check(
        name="dependencies",
        command=("make", "--no-print-directory", "dependencies"),
        advice="Declare in pyproject.toml what is imported, remove what is not.",
    ),
    Check(
        name="language",
        command=(BIN / "python", "hack/language.py"),
        advice="Replace the words as printed; docs/glossary.md has the terms.",
    ),
)


def run(checks: Sequence[Check]) -> int:
    """Run all; return the exit code of the process."""
    print(f"Running {len(checks)} checks. The last one takes about a minute.", flush=True)
    failed: list[Result] = []
    with ThreadPoolExecutor(len(checks)) as pool:
        for done in as_completed([pool.submit(_result, check) for check in checks]):
            result = done.result()
            print(_line(result), flush=True)
            if not result.passed:
                failed.append(result)
    for result in failed:
        print(f"\n==== {result.check.name}: {_shell(result.check)}\n{result.output.strip()}")
    if not failed:
        print(f"\nAll {len(checks)} checks passed.")
        return 0
    print(f"\n{len(failed)} of {len(checks)} checks failed:")
    for result in failed:
        print(f"  {result.check.name:16} {result.check.advice}")
    return 1


def _result(check: Check) -> Result:
    began = time.monotonic()
    ended = subprocess.run(
        check.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Result(
        check=check,
        passed=ended.returncode == 0,
        output=ended.stdout,
        took_s=time.monotonic() - began,
    )


def _line(result: Result) -> str:
    """One line, with the last words of the check."""
    word = "ok" if result.passed else "FAILED"
    last = next(reversed(result.output.strip().splitlines()), "").strip(" =")
    return f"{word:7} {result.check.name:16} {result.took_s:6.1f} s  {last}".rstrip()


def _shell(check: Check) -> str:
    program, *arguments = check.command
    return " ".join((Path(program).name, *map(str, arguments)))


if __name__ == "__main__":
    try:
        sys.exit(run(CHECKS))
    except KeyboardInterrupt:
        sys.exit(130)
