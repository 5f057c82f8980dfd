"""Mutation tests of packages or modules: ``make mutants P=planning``.

mutmut makes small changes (mutants) in the code, one at a time, and runs the unit tests that call
the changed function. A mutant that fails no test has survived: nothing tests that line. Code
outside functions and decorated functions have no mutants.

mutmut finds modules below ``src/`` only, so it works on a copy of the repository in
``.tmp/mutants``. A second run on the same files continues where the first one stopped.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

from tools.progress import Progress, say

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("operator/image_share_operator")
PROGRAMS = Path(sys.executable).parent
COPIES = ROOT / ".tmp/mutants"
SURVIVORS = COPIES / "survivors.diff"
LOG = "mutmut.log"
MINUTES = 30.0
"""Enough for most packages on two cores."""
TESTS = Path("tests/unit")
TICK_S = 0.5
STOP_S = 20.0
"""mutmut ends its workers within a second; one in C code takes longer."""
KILLED = ("killed", "timeout", "segfault", "suspicious")
"""Outcomes of a mutant that the tests notice."""
LIMIT_FACTOR = 15.0
"""How much longer than usual the tests of a mutant may take, so that a busy machine kills none."""
SETTINGS = """\
[mutmut]
source_paths = src
only_mutate =
{mutate}
also_copy =
{copied}
pytest_add_cli_args =
    -o
    pythonpath={pythonpath}
    -n0
pytest_add_cli_args_test_selection =
{tests}
timeout_multiplier = {limit_factor}
use_git_change_detection = false
"""
"""Lists have one item per line."""


class MutantsError(Exception):
    """Why there is no result, for the person who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module's mutants by outcome."""

    name: str
    survivors: tuple[str, ...]
    outcomes: Counter[str]

    @property
    def total(self) -> int:
        return self.outcomes.total()

    @property
    def killed(self) -> int:
        return sum(self.outcomes[outcome] for outcome in KILLED)

    @property
    def timeouts(self) -> int:
        """Killed mutants whose tests did not end in time: endless loops, or a busy machine."""
        return self.outcomes["timeout"]

    @property
    def survived(self) -> int:
        return self.outcomes["survived"]

    @property
    def untested(self) -> int:
        """Mutants in functions that no test calls."""
        return self.outcomes["no tests"]

    @property
    def tried(self) -> int:
        return self.killed + self.survived + self.untested


def main() -> int:
    """Run the mutation tests; return the exit code. Survivors are no failure."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # a background job ignores SIGINT
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", help="planning, cloud/coalescing, settings, ...")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--tests", nargs="+", help="files or directories; default: those of PARTS")
    asked = parser.parse_args()
    try:
        mutate = patterns(asked.parts)
        copy = prepare(mutate, asked.tests or sorted({tests_of(part) for part in asked.parts}))
        stopped = run(copy, asked.minutes * 60)
        modules = read(copy)
    except MutantsError as exc:
        say(f"error: {exc}")
        return 1
    report(modules, copy)
    return 130 if stopped else 0


def patterns(parts: Sequence[str]) -> list[str]:
    """Return the globs of the files of ``parts`` in the copy.

    Raises:
        MutantsError: there is no such package or module, or none is named.
    """
    there = sorted(
        path.stem for path in (ROOT / PACKAGE).glob("[a-z]*") if path.suffix in ("", ".py")
    )
    hint = f"Name packages or modules of {PACKAGE}, such as P=planning: {' '.join(there)}"
    if not parts:
        raise MutantsError(f"P is empty. {hint}")
    found = {part: pattern(part.strip("/").removesuffix(".py")) for part in parts}
    unknown = [part for part, glob in found.items() if glob is None]
    if unknown:
        raise MutantsError(f"P={' '.join(unknown)} does not exist. {hint}")
    return [glob for glob in found.values() if glob is not None]


def pattern(name: str) -> str | None:
    """Return the glob of the files of a package or module, or ``None`` if there is none."""
    if (ROOT / PACKAGE / name).is_dir():
        return f"src/{PACKAGE.name}/{name}/*"
    if (ROOT / PACKAGE / f"{name}.py").is_file():
        return f"src/{PACKAGE.name}/{name}.py"
    return None


def tests_of(part: str) -> str:
    """Return the tests of a package or module: ``tests/unit`` has the same directories.

    A module at the top has a file of its own there, or is tested by all.
    """
    own = TESTS / f"test_{Path(part).stem}.py"
    if "/" not in part and (ROOT / own).exists():
        return str(own)
    directory = next(
        path for path in (TESTS / part, *(TESTS / part).parents) if (ROOT / path).is_dir()
    )
    return str(directory)


def prepare(mutate: Sequence[str], tests: Sequence[str]) -> Path:
    """Copy the repository and write the settings of mutmut; return the directory of the copy.

    The directory is named by the content of all files, so results never outlive a change.
    """
    missing = [name for name in tests if not (ROOT / name).exists()]
    if missing:
        raise MutantsError(f"no such tests: {' '.join(missing)}")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [name for name in sorted(listed.stdout.split("\0")) if (ROOT / name).is_file()]
    digest = hashlib.sha256(f"{mutate} {tests}".encode())
    for name in files:
        digest.update(name.encode() + (ROOT / name).read_bytes())
    copy = COPIES / digest.hexdigest()[:12]
    if (copy / "setup.cfg").exists():
        if not (copy / "mutants/mutmut-stats.json").exists():  # it was stopped while it wrote them
            shutil.rmtree(copy / "mutants", ignore_errors=True)
        return copy
    shutil.rmtree(COPIES, ignore_errors=True)
    for name in files:
        for target in {copy / name, copy / in_copy(name)}:  # some tests read operator/ as text
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    (copy / "setup.cfg").write_text(settings(copy, mutate, tests))  # last: the copy is whole
    return copy


def in_copy(name: str) -> str:
    """Return the path in the copy from which tests import: ``src/`` stands for ``operator/``."""
    top, slash, rest = name.partition("/")
    return f"src{slash}{rest}" if top == "operator" else name


def settings(copy: Path, mutate: Sequence[str], tests: Sequence[str]) -> str:
    """Return the text of ``setup.cfg`` for the copy."""
    copied = sorted(path.name for path in copy.iterdir() if path.name != "src")
    return SETTINGS.format(
        mutate=lines(mutate),
        copied=lines(copied),
        pythonpath=" ".join(python_path()),
        tests=lines(tests),
        limit_factor=LIMIT_FACTOR,
    )


def lines(items: Sequence[str]) -> str:
    """Return the items as the lines of a value in ``setup.cfg``."""
    return "\n".join(f"    {item}" for item in items)


def python_path() -> list[str]:
    """Return the path entries of the tests, as they are named in the copy."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [in_copy(entry) for entry in pyproject["tool"]["pytest"]["pythonpath"]]


def run(copy: Path, limit_s: float) -> bool:
    """Run mutmut for up to ``limit_s``; return whether Ctrl-C stopped it.

    Raises:
        MutantsError: the tests fail without a mutant, or mutmut failed.
    """
    paths = [copy / "mutants" / entry for entry in python_path()]
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)  # Python never looks again at a missing one
    env = {
        "HYPOTHESIS_PROFILE": "quick",
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    say(f"runs the unit tests once, then the mutants, for up to {limit_s / 60:g} minutes")
    progress = Progress("mutants", lambda _: so_far(read(copy)))
    deadline = time.monotonic() + limit_s
    stopped = False
    with (copy / LOG).open("w") as log:
        process = subprocess.Popen(
            [PROGRAMS / "mutmut", "run"],
            cwd=copy,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the workers through mutmut only
        )
        try:
            while process.poll() is None and time.monotonic() < deadline:
                progress.show()
                time.sleep(TICK_S)
        except KeyboardInterrupt:
            stopped = True
        finally:
            in_time = process.poll() is not None
            end(process)
            progress.clear()
    if in_time and process.returncode != 0:
        tail = "\n".join((copy / LOG).read_text().splitlines()[-30:])
        raise MutantsError(f"mutmut failed; do the unit tests pass?\n{tail}\n(from {copy / LOG})")
    if not in_time:
        say("stopped by Ctrl-C" if stopped else "stopped: the time is over")
    return stopped


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop mutmut and all processes that it started."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read(copy: Path) -> list[Module]:
    """Return the outcomes so far, a module each."""
    root = copy / "mutants/src" / PACKAGE.name
    found = [parse(root, path) for path in sorted(root.rglob("*.meta"))]
    return [module for module in found if module is not None]


def parse(root: Path, path: Path) -> Module | None:
    """Return the outcomes of one module, or ``None`` while mutmut writes the file."""
    try:
        kept = json.loads(path.read_text())["exit_code_by_key"]
    except json.JSONDecodeError:
        return None
    outcomes = {name: status_by_exit_code[code] for name, code in kept.items()}
    return Module(
        name=str(path.relative_to(root).with_suffix("")),
        survivors=tuple(name for name, outcome in outcomes.items() if outcome == "survived"),
        outcomes=Counter(outcomes.values()),
    )


def so_far(modules: Sequence[Module]) -> str:
    """Return the text of the progress line."""
    tried = sum(module.tried for module in modules)
    total = sum(module.total for module in modules)
    killed = sum(module.killed for module in modules)
    return f"{tried} of {total} tried, {killed} killed" if tried else "the tests run unchanged"


def report(modules: Sequence[Module], copy: Path) -> None:
    """Print a line per module and the sum; write the survivors to a file."""
    modules = [module for module in modules if module.total]
    if not modules:
        print("No mutant was tried.")
        return
    rows = [*modules, added("total", modules)]
    print(f"{'':40} mutants tried killed (timeout) survived untested  score")
    for row in rows:
        score = f"{100 * row.killed / row.tried:.1f} %" if row.tried else "-"
        print(
            f"{row.name:40} {row.total:7} {row.tried:5} {row.killed:6} {row.timeouts:9}"
            f" {row.survived:8} {row.untested:8} {score:>7}"
        )
    if rows[-1].tried < rows[-1].total:
        print("Not all mutants were tried, the quick ones first. The same command continues.")
    if rows[-1].survived:
        SURVIVORS.write_text("\n".join(diffs(modules, copy)))
        print(f"The survivors are in {SURVIVORS.relative_to(ROOT)}")


def diffs(modules: Sequence[Module], copy: Path) -> Iterator[str]:
    """Yield the change of each survivor."""
    with contextlib.chdir(copy):  # where mutmut reads its settings
        for module in modules:
            path = Path("src", PACKAGE.name, module.name)
            for name in module.survivors:
                yield f"# {name}\n{get_diff_for_mutant(name, path=path)}\n"


def added(name: str, modules: Sequence[Module]) -> Module:
    """Return the sum of all modules."""
    outcomes: Counter[str] = sum((module.outcomes for module in modules), Counter())
    return Module(name=name, survivors=(), outcomes=outcomes)


if __name__ == "__main__":
    sys.exit(main())
