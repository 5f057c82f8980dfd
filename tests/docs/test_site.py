"""The documentation as a site: it builds without a warning, and its links and blocks work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import site_pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIG = ROOT / "hack/site/mkdocs.yml"
ALERTS = ROOT / "deploy/helm/image-share-operator/templates/prometheusrule.yaml"


REPOSITORY = "https://git.example.com/team/image-share-operator"
BLOCK = re.compile(r'<div class="([^"]*)highlight">.*?<code>(.*?)</code>', re.DOTALL)
"""Classes of a code block, and its text."""


def build(directory: Path, config: Path = CONFIG) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(config), "-d", str(directory)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1", "SITE_REPO_URL": REPOSITORY}
    return subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    built = build(directory)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return directory


def test_site_has_every_page(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs") for page in ROOT.glob("docs/**/*.md")}
    made = {page.relative_to(site) for page in site.glob("**/*.html")}

    assert {str(page) for page in made} - {"404.html"} >= {
        str(page.with_suffix(".html")).replace("README", "index") for page in pages
    }
    assert {"changelog.html", "contributing.html", "chart.html"} <= {str(page) for page in made}


def test_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("**/*.html"):
        html = page.read_text()
        assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.https?://[^>]*", html) == []
        assert 'data-md-component="source"' not in html  # which fetches stars and forks


def test_menu_has_the_usual_sections(site: Path) -> None:
    menu = [next(iter(entry)) for entry in yaml.safe_load(CONFIG.read_text())["nav"]]

    assert menu == [
        "Overview",
        "Getting started",
        "Concepts",
        "Tasks",
        "Reference",
        "Operations",
        "Troubleshooting",
        "Contributing",
    ]
    assert 'href="glossary.html"' in (site / "index.html").read_text()


@pytest.mark.parametrize(
    ("page", "source"),
    [
        ("spec", "docs/spec.md"),
        ("adr/0001-own-queue", "docs/adr/0001-own-queue.md"),
        ("changelog", "CHANGELOG.md"),
        ("chart", "deploy/helm/image-share-operator/README.md"),
        ("selection", "operator/image_share_operator/planning/selection.py"),
        ("state-machine", "operator/image_share_operator/planning/planner.py"),
    ],
)
def test_page_links_to_the_file_to_edit(site: Path, page: str, source: str) -> None:
    html = (site / f"{page}.html").read_text()

    assert f'href="{REPOSITORY}/edit/main/{source}"' in html
    assert f'href="{REPOSITORY}"' in html
    assert (ROOT / source).exists()


def test_blocks_with_a_copy_button_have_no_prompt_and_no_output(site: Path) -> None:
    for page in site.glob("**/*.html"):
        for classes, code in BLOCK.findall(page.read_text()):
            assert "no-copy" in classes.split() or "language-console" not in classes, page
            text = re.sub(r"<[^>]+>", "", code)
            assert "no-copy" in classes.split() or not text.startswith("$ "), page
    blocks = BLOCK.findall((site / "get-started.html").read_text())

    assert [block for block in blocks if "language-text" in block[0] and "no-copy" in block[0]]
    assert [block for block in blocks if block[0] == "language-shell "]


def test_cells_have_the_titles_of_their_columns(site: Path) -> None:
    """A narrow screen shows them."""
    for name in ("failure-modes", "state-machine"):
        rows = re.findall(r"<tr>\n<td.*?</tr>", (site / f"{name}.html").read_text(), re.DOTALL)
        cells = [cell for row in rows for cell in re.findall(r"<td([^>]*)>([^<]?)", row)]

        assert len(rows) > 50
        assert [text for attributes, text in cells if text and "data-label" not in attributes] == []


@pytest.mark.parametrize("name", ["failure-modes", "selection", "state-machine"])
def test_tables_of_a_phone_have_no_long_word(name: str) -> None:
    """A card on a screen of 390 px has about 48 characters; names of tests are longer."""
    rows = [line for line in (DOCS / f"{name}.md").read_text().splitlines() if line[:2] == "| "]
    words = " ".join(rows).split()

    assert [word for word in words if len(word) > 48 and "](" not in word] == []


def test_alerts_link_to_sections_that_exist(site: Path) -> None:
    anchors = set(re.findall(r'id="([^"]+)"', (site / "runbooks.html").read_text()))
    alerts = re.findall(r"alert: (\w+)", ALERTS.read_text())

    assert alerts
    assert {alert.lower() for alert in alerts} <= anchors


def test_build_fails_on_a_broken_link_and_a_page_without_a_menu_entry(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in (("index", "[x](nowhere.md) [y](other.md#none)"), ("other", "# Other")):
        (docs / f"{name}.md").write_text(text)
    (docs / "forgotten.md").write_text("# Forgotten")
    config = {
        **yaml.safe_load(CONFIG.read_text()),
        "docs_dir": str(docs),
        "hooks": [],
        "extra_css": [],
        "nav": [{"Home": "index.md"}, "other.md"],
    }
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))

    built = build(tmp_path / "site", tmp_path / "mkdocs.yml")

    assert built.returncode != 0
    for found in ("nowhere.md", "#none", "forgotten.md"):
        assert found in built.stderr


@pytest.mark.parametrize(
    ("place", "link", "target"),
    [
        ("index.md", "spec.md", "spec.md"),
        ("adr/README.md", "../spec.md#the-secret", "../spec.md#the-secret"),
        ("adr/README.md", "../../CHANGELOG.md", "../changelog.md"),
        ("install.md", "../deploy/helm/image-share-operator/README.md#rights", "chart.md#rights"),
        ("contributing.md", "docs/adr/README.md", "adr/README.md"),
        ("chart.md", "../../../docs/install.md", "install.md"),
        ("index.md", "https://example.com/x.md", "https://example.com/x.md"),
        ("index.md", "#here", "#here"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    place: str, link: str, target: str
) -> None:
    assert site_pages.corrected(f"[x]({link})", place) == f"[x]({target})"
