"""Writes what is derived in `deploy/`; `--check` fails when a file differs.

The chart's table of values from the comments of its values.yaml, its copy of the CRD, and the
manifests for `kubectl apply -k` from the chart itself.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/image-share-operator"
README = CHART / "README.md"
CRD = "imageshareacceptances.ims.otc.dev.yaml"
KUSTOMIZE = DEPLOY / "kustomize"
INSTALL = ROOT / "hack/tools/install.py"
BEGIN, END = "<!-- values: written by hack/chart_files.py -->", "<!-- /values -->"
HELM_ONLY = re.compile(r"^ *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)
SOURCE = re.compile(r"^# Source: .*\n", re.MULTILINE)


class UndocumentedError(Exception):
    """A value has no comment."""


def main() -> int:
    """Write the files, or compare them; return the exit code."""
    derived = {
        README: with_table(README.read_text(), (CHART / "values.yaml").read_text()),
        CHART / "files/crds" / CRD: (DEPLOY / "crds" / CRD).read_text(),
        KUSTOMIZE / "operator.yaml": manifests(),
    }
    stale = [path for path, text in derived.items() if not _holds(path, text)]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(
                f"{path.relative_to(ROOT)} is out of date: run python hack/chart_files.py",
                file=sys.stderr,
            )
        return 1 if stale else 0
    for path in stale:
        path.write_text(derived[path])
    return 0


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def with_table(page: str, values: str) -> str:
    """Put the table of values between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [f"| `{name}` | `{default}` | {words} |" for name, default, words in rows_of(values)]
    table = "\n".join(["| value | default | meaning |", "| --- | --- | --- |", *rows])
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def rows_of(values: str) -> Iterator[tuple[str, str, str]]:
    """Give name, default and meaning of each value, in the order of the file.

    A map without a comment of its own is a group; one with a comment is a value.

    Raises:
        UndocumentedError: a value has no comment.
    """
    root: Any = yaml.compose(values, Loader=yaml.SafeLoader)
    yield from _rows(root, values.splitlines(), yaml.safe_load(values), ())


def _rows(
    node: yaml.MappingNode, lines: list[str], value: Any, path: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    for key, below in node.value:
        inner = (*path, key.value)
        words = lines[key.start_mark.line - 1].strip() if key.start_mark.line else ""
        if words.startswith("# "):
            default = json.dumps(value[key.value], separators=(", ", ": "))
            yield ".".join(inner), default, words.removeprefix("# ").replace("|", "\\|")
        elif isinstance(below, yaml.MappingNode) and below.value:
            yield from _rows(below, lines, value[key.value], inner)
        else:
            raise UndocumentedError(".".join(inner))


def manifests() -> str:
    """Render the chart without what is Helm's own."""
    built = subprocess.run(
        [sys.executable, str(INSTALL), "--quiet", "helm"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    helm = Path(built.stdout.splitlines()[-1]) / "helm"
    render = [str(helm), "template", "image-share-operator", str(CHART)]
    render += ["--namespace", "image-share-system", "--values", str(KUSTOMIZE / "values.yaml")]
    text = subprocess.run(render, stdout=subprocess.PIPE, text=True, check=True).stdout
    head = "# Written by hack/chart_files.py from the chart.\n"
    return head + HELM_ONLY.sub("", SOURCE.sub("", text))


if __name__ == "__main__":
    sys.exit(main())
