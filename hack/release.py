"""What a release needs besides the workflow; standard library only.

    python3 hack/release.py check 0.2.0              # is it the version that every file names?
    python3 hack/release.py notes 0.2.0              # its section of CHANGELOG.md
    python3 hack/release.py chart IMAGE@sha256:… SOURCE DIR # a package with this default image

The package's path is the last line on stdout.
"""

from __future__ import annotations

import argparse
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
    ("deploy/argocd/application.yaml", r"image-share-operator\.git\n +targetRevision: v(.+)$"),
    ("deploy/kustomize/operator.yaml", r'^ +image: "image-share-operator:(.+)"$'),
    ("docs/install.md", r"^ +newTag: (.+)$"),
    ("docs/install.md", r"^ +tag: v(.+)$"),
)
"""Files that name the version, and how."""


class ReleaseError(Exception):
    """What stands in the way of the release, for the person who makes it."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("check", "notes"):
        commands.add_parser(name).add_argument("version")
    chart = commands.add_parser("chart")
    chart.add_argument("image")
    chart.add_argument("source", help="the address of the repository, for people")
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
    """Compare all places with the version, and look for its section of the changelog.

    Raises:
        ReleaseError: one differs; all that do are named.
    """
    others = [f"{path} says {found}" for path, found in versions(root) if found != version]
    if others:
        raise ReleaseError(f"version {version}: {', '.join(others)}")
    notes(root, version)


def versions(root: Path) -> list[tuple[str, str]]:
    """Each place, and the version that it names.

    Raises:
        ReleaseError: a file names none, or two.
    """
    found: list[tuple[str, str]] = []
    for path, pattern in PLACES:
        matches = set(re.findall(pattern, (root / path).read_text(), re.MULTILINE))
        if len(matches) != 1:
            raise ReleaseError(f"{path} has {len(matches)} versions that look like {pattern}")
        found.append((path, matches.pop()))
    return found


def notes(root: Path, version: str) -> str:
    """The version's section of the changelog, without its heading.

    Raises:
        ReleaseError: there is none, it has no date, or it is empty.
    """
    text = (root / "CHANGELOG.md").read_text()
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n"
    section = re.search(rf"{heading}(.*?)(?=^## \[|\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None or not section[1].strip():
        raise ReleaseError(f"CHANGELOG.md has no section ## [{version}] - DATE with words in it")
    return section[1].strip()


def package(root: Path, image: str, source: str, directory: Path) -> Path:
    """Package the chart so that it installs without any value.

    Raises:
        ReleaseError: the image is not named by its digest, or values.yaml has no place for it.
    """
    repository, _, digest = image.partition("@")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or repository != repository.lower():
        raise ReleaseError(f"{image}: must be a name in small letters, @ and a digest")
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
        values = chart / "values.yaml"
        values.write_text(with_image(values.read_text(), repository, digest))
        with (chart / "Chart.yaml").open("a") as about:
            about.write(f"home: {source}\nsources: [{source}]\n")
        call = [str(helm), "package", str(chart), "--destination", str(directory)]
        said = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Path(said.strip().rpartition(": ")[2])


def with_image(values: str, repository: str, digest: str) -> str:
    """The same values.yaml with another default image.

    Raises:
        ReleaseError: a line is missing, or is there twice.
    """
    for name, value in (("repository", repository), ("digest", digest)):
        empty = f'\n  {name}: ""\n'
        if values.count(empty) != 1:
            raise ReleaseError(f"values.yaml has {values.count(empty)} empty image.{name}")
        values = values.replace(empty, f"\n  {name}: {value}\n")
    return values.replace("Required: none is published yet.", "The default is the released one.")


if __name__ == "__main__":
    sys.exit(main())
