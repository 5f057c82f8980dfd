"""Pages of the site that are files elsewhere in the repository, and links between them.

A hook of mkdocs. On a Git host all links are relative paths of the repository; here those that
leave docs/ are led to the page that the file has become.
"""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "chart.md": "deploy/helm/image-share-operator/README.md",
    "assets/extra.css": "hack/site/extra.css",
    "assets/favicon.svg": "hack/site/favicon.svg",
}
"""Path in the site, and in the repository."""
TARGET = re.compile(r"(?<=\]\()(?P<path>[^)#:\s]+)(?P<rest>[^)\s]*)(?=\))")
"""Where a link of Markdown leads, unless it is an address or stays on the page."""
COMMANDS = re.compile(r"^```console\n(?!\$ )", re.MULTILINE)
"""The fence of a block that has commands alone, which would be taken for what they print."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for place, path in ELSEWHERE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the page's links, colour its commands."""
    del config, files
    return lead(COMMANDS.sub("```sh\n", markdown), page.file.src_uri)


def lead(markdown: str, place: str) -> str:
    """Rewrite links that a file's place in the site has broken.

    Args:
        place: of the page in the site, such as ``chart.md``.
    """
    here = posixpath.dirname(_in_repository(place))
    return TARGET.sub(_new_target(here, posixpath.dirname(place)), markdown)


def _new_target(here: str, there: str) -> Callable[[re.Match[str]], str]:
    """From a directory of the repository to one of the site."""

    def rewrite(link: re.Match[str]) -> str:
        meant = posixpath.normpath(posixpath.join(here, link["path"]))
        return posixpath.relpath(_in_site(meant), there or ".") + link["rest"]

    return rewrite


def _in_repository(place: str) -> str:
    return ELSEWHERE.get(place, f"docs/{place}")


def _in_site(path: str) -> str:
    """A file's place in the site; mkdocs says so when it is none of its pages."""
    moved = {source: place for place, source in ELSEWHERE.items()}
    return moved.get(path, posixpath.relpath(path, "docs"))
