"""A hook of mkdocs: adds pages from other directories and prepares links, tables and code blocks.

On a Git host all links are relative paths of the repository. In the site, a link to a file outside
docs/ leads to the page that shows this file.
"""

import os
import posixpath
import re
from collections.abc import Callable
from itertools import zip_longest
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
GENERATED = {
    "fields.md": "deploy/crds/imageshareacceptances.ims.otc.dev.yaml",
    "metrics.md": "operator/image_share_operator/telemetry/metrics.py",
    "selection.md": "operator/image_share_operator/planning/selection.py",
    "state-machine.md": "operator/image_share_operator/planning/planner.py",
}
"""Pages that `hack/generate.py` writes, and the file to edit instead."""
LINK = re.compile(r"(?<=\]\()(?P<path>[^)#:\s]+)(?P<rest>[^)\s]*)(?=\))")
"""The target of a Markdown link, unless it is an address or an anchor of the same page."""
COMMANDS = re.compile(r"^```console\n(?!\$ )", re.MULTILINE)
"""The fence of a block with commands only; without this, the site shows them as output."""
OUTPUT = re.compile(r"^(?P<indent> *)```text$", re.MULTILINE)
TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
HEAD = re.compile(r"<th[^>]*>(.*?)</th>", re.DOTALL)
CELL = re.compile(r"<td(?P<attributes>[^>]*)>(?P<text>.*?)</td>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the address of the repository."""
    config.repo_url = os.environ.get("SITE_REPO_URL", config.repo_url)
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from other directories."""
    for place, path in ELSEWHERE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Correct links, set the edit link, and remove the copy button from output."""
    del files
    place = page.file.src_uri
    source = GENERATED.get(place) or _in_repository(place)
    page.edit_url = f"{(config.repo_url or '').rstrip('/')}/edit/main/{source}"
    markdown = OUTPUT.sub(r"\g<indent>``` { .text .no-copy }", COMMANDS.sub("```shell\n", markdown))
    return corrected(markdown, place)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Add the title of its column to each cell; a narrow screen shows a row as a card."""
    del page, config, files
    return TABLE.sub(lambda table: _labelled(table[0]), html)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Stop the theme from fetching stars and forks from the repository's host."""
    del page, config
    return _without_source_facts(output)


def on_post_template(output: str, *, template_name: str, config: MkDocsConfig) -> str:
    """Do the same for the page of error 404."""
    del template_name, config
    return _without_source_facts(output)


def _without_source_facts(html: str) -> str:
    return html.replace(' data-md-component="source"', "")


def corrected(markdown: str, place: str) -> str:
    """Rewrite links that are wrong at the place of a page in the site.

    Args:
        place: the path of the page in the site, such as ``chart.md``.
    """
    here = posixpath.dirname(_in_repository(place))
    return LINK.sub(_new_target(here, posixpath.dirname(place)), markdown)


def _new_target(here: str, there: str) -> Callable[[re.Match[str]], str]:
    """Return a function that rewrites a link of a directory of the repository for the site."""

    def rewrite(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(here, link["path"]))
        return posixpath.relpath(_in_site(path), there or ".") + link["rest"]

    return rewrite


def _in_repository(place: str) -> str:
    return ELSEWHERE.get(place, f"docs/{place}")


def _in_site(path: str) -> str:
    """Return the place of a file in the site; mkdocs reports a file that has none."""
    moved = {source: place for place, source in ELSEWHERE.items()}
    return moved.get(path, posixpath.relpath(path, "docs"))


def _labelled(table: str) -> str:
    titles = [TAG.sub("", title).strip() for title in HEAD.findall(table)]

    def row(found: re.Match[str]) -> str:
        cells = list(CELL.finditer(found[0]))
        if not cells:
            return found[0]
        made = [_cell(cell, title) for cell, title in zip_longest(cells, titles) if cell]
        return "\n".join(["<tr>", *made, "</tr>"])

    return ROW.sub(row, table)


def _cell(cell: re.Match[str], title: str | None) -> str:
    label = f' data-label="{title}"' if title and cell["text"].strip() else ""
    return f"<td{cell['attributes']}{label}>{cell['text']}</td>"
