"""Checks and packages a release, for the release workflow. Standard library only.

    python3 hack/release.py check 0.2.0              # check that all files have this version
    python3 hack/release.py notes 0.2.0              # print its section of CHANGELOG.md
    python3 hack/release.py chart IMAGE@sha256:… SOURCE DIR # package the chart for this image

The last line on stdout of ``chart`` is the path of the package.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHART = Path("deploy/helm/image-share-operator")
INSTALL = ROOT / "hack/tools/install.py"
PLACES = (
    ("pyproject.toml", r'^version = "(.+)"$'),
    ("operator/image_share_operator/__init__.py", r'^__version__ = "(.+)"$'),
    (f"{CHART}/Chart.yaml", r"^version: (.+)$"),
    (f"{CHART}/Chart.yaml", r"^appVersion: (.+)$"),
    ("deploy/kustomize/operator.yaml", r'^ +image: "image-share-operator:(.+)"$'),
)
"""Files that contain the version, and the pattern of the line."""


class ReleaseError(Exception):
    """The release is not possible. The message states the reason."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("check", "notes"):
        commands.add_parser(name).add_argument("version")
    chart = commands.add_parser("chart")
    chart.add_argument("image")
    chart.add_argument("source", help="URL of the repository")
    chart.add_argument("directory", type=Path)
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "check":
            check(ROOT, asked.version)
        elif asked.command == "notes":
            print(notes(ROOT, asked.version))
        else:
            print(package(ROOT, asked.image, asked.source, asked.directory))
    except ReleaseError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


def check(root: Path, version: str) -> None:
    """Check that all files have the version, and that the changelog has a section for it.

    Raises:
        ReleaseError: files have another version, or there is no section; names all such files.
    """
    others = [f"{path} has {found}" for path, found in versions(root) if found != version]
    if others:
        raise ReleaseError(f"version {version}: {', '.join(others)}; correct these files")
    notes(root, version)


def versions(root: Path) -> list[tuple[str, str]]:
    """Return each file of PLACES with the version that it contains.

    Raises:
        ReleaseError: a file contains no version, or different ones.
    """
    found: list[tuple[str, str]] = []
    for path, pattern in PLACES:
        matches = set(re.findall(pattern, (root / path).read_text(), re.MULTILINE))
        if len(matches) != 1:
            raise ReleaseError(
                f"{path} has {len(matches)} versions that match {pattern}; must have one"
            )
        found.append((path, matches.pop()))
    return found


def notes(root: Path, version: str) -> str:
    """Return the section of the version in the changelog, without its heading.

    Raises:
        ReleaseError: the section is missing, has no date, or is empty.
    """
    text = (root / "CHANGELOG.md").read_text()
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n"
    section = re.search(rf"{heading}(.*?)(?=^## \[|\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None or not section[1].strip():
        raise ReleaseError(f"CHANGELOG.md has no section ## [{version}] - DATE with text; add it")
    return section[1].strip()


def changes(section: str) -> list[dict[str, str]]:
    """Return the entries of a section of the changelog as Artifact Hub shows them.

    The kind is the heading above the entry; entries without a heading are changes.
    """
    found: list[dict[str, str]] = []
    kind = "changed"
    for line in section.splitlines():
        if line.startswith("### "):
            kind = line.removeprefix("### ").strip().lower()
        elif line.startswith("- "):
            found.append({"kind": kind, "description": line.removeprefix("- ")})
        elif line.startswith("  ") and found:
            found[-1]["description"] += f" {line.strip()}"
    return found


def about(image: str, source: str, version: str, section: str) -> str:
    """Return the end of a released Chart.yaml: more annotations, and the fields with addresses."""
    annotations = {
        "links": [
            {"name": "Documentation", "url": f"{source}/tree/v{version}/docs"},
            {"name": "Security policy", "url": f"{source}/blob/v{version}/SECURITY.md"},
            {"name": "Issues", "url": f"{source}/issues"},
        ],
        "images": [{"name": "image-share-operator", "image": image}],
        "changes": changes(section),
    }
    lines = [
        f"  artifacthub.io/{name}: {json.dumps(json.dumps(rows, ensure_ascii=False))}"
        for name, rows in annotations.items()
    ]
    lines += [f"home: {source}", f"sources: [{source}]"]
    lines += [f"icon: {source}/raw/v{version}/hack/site/favicon.svg"]
    return "\n".join(lines) + "\n"


def package(root: Path, image: str, source: str, directory: Path) -> Path:
    """Package the chart with a default image, so that it installs without any value.

    Raises:
        ReleaseError: the image reference has no digest, values.yaml has no empty image field, or
            the changelog has no section for the version.
    """
    repository, _, digest = image.partition("@")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or repository != repository.lower():
        raise ReleaseError(f"{image}: must be a repository in lower case, @ and a sha256 digest")
    version = dict(versions(root))[f"{CHART}/Chart.yaml"]
    end = about(image, source, version, notes(root, version))
    built = subprocess.run(
        [sys.executable, str(INSTALL), "--quiet", "helm"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    helm = Path(built.stdout.splitlines()[-1]) / "helm"
    with tempfile.TemporaryDirectory() as made:
        chart = Path(made) / CHART.name
        shutil.copytree(root / CHART, chart)
        values = with_image((chart / "values.yaml").read_text(), repository, digest)
        for copy in ("values.yaml", "files/values.yaml"):
            (chart / copy).write_text(values)
        with (chart / "Chart.yaml").open("a") as file:
            file.write(end)
        call = [str(helm), "package", str(chart), "--destination", str(directory)]
        output = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Path(output.strip().rpartition(": ")[2])


def with_image(values: str, repository: str, digest: str) -> str:
    """Return values.yaml with this default image.

    Raises:
        ReleaseError: the empty field of the repository or the digest is not there exactly once.
    """
    for name, value in (("repository", repository), ("digest", digest)):
        empty = f'\n  {name}: ""\n'
        if values.count(empty) != 1:
            raise ReleaseError(
                f"values.yaml has {values.count(empty)} empty image.{name} lines; must have one"
            )
        values = values.replace(empty, f"\n  {name}: {value}\n")
    note = "Required, because no image is published yet."
    return values.replace(note, "Defaults to the released image.")


if __name__ == "__main__":
    sys.exit(main())
