"""The documentation as a site: it builds without a warning, and what points into it arrives."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import site_pages

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "hack/site/mkdocs.yml"
ALERTS = ROOT / "deploy/helm/image-share-operator/templates/prometheusrule.yaml"


def build(directory: Path, config: Path = CONFIG) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(config), "-d", str(directory)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    built = build(directory)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return directory


pytestmark = pytest.mark.timeout(60, func_only=False)


def test_site_has_every_page(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs") for page in ROOT.glob("docs/**/*.md")}
    made = {page.relative_to(site) for page in site.glob("**/*.html")}

    assert {str(page) for page in made} - {"404.html"} >= {
        str(page.with_suffix(".html")).replace("README", "index") for page in pages
    }
    assert {"changelog.html", "contributing.html", "chart.html"} <= {str(page) for page in made}


def test_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("**/*.html"):
        assert (
            re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.https?://[^>]*", page.read_text())
            == []
        )


def test_commands_alone_are_no_output(site: Path) -> None:
    """They would be grey, and cut off at the edge."""
    commands = (site / "troubleshooting.html").read_text()
    session = (site / "get-started.html").read_text()

    assert 'class="language-sh highlight"' in commands
    assert 'class="language-console highlight"' not in commands
    assert 'class="language-console highlight"' in session


def test_alerts_link_to_sections_that_exist(site: Path) -> None:
    anchors = set(re.findall(r'id="([^"]+)"', (site / "runbooks.html").read_text()))
    alerts = re.findall(r"alert: (\w+)", ALERTS.read_text())

    assert alerts
    assert {alert.lower() for alert in alerts} <= anchors


def test_broken_link_and_forgotten_page_are_found_out(tmp_path: Path) -> None:
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
    for told in ("nowhere.md", "#none", "forgotten.md"):
        assert told in built.stderr


@pytest.mark.parametrize(
    ("place", "link", "led"),
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
def test_links_of_the_repository_lead_to_pages_of_the_site(place: str, link: str, led: str) -> None:
    assert site_pages.lead(f"[x]({link})", place) == f"[x]({led})"
