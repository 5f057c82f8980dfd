"""Documentation says what the code does."""

import re
from pathlib import Path

import pytest
import yaml

from image_share_operator.api.reasons import Reason

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SPEC = (ROOT / "docs/spec.md").read_text()
TROUBLE = (ROOT / "docs/troubleshooting.md").read_text()


@pytest.mark.parametrize("reason", list(Reason))
def test_docs_explain_each_reason(reason: Reason) -> None:
    assert f"`{reason}`" in SPEC.partition("### Reasons")[2]


@pytest.mark.parametrize("reason", list(Reason))
def test_docs_say_what_to_do_about_each_reason(reason: Reason) -> None:
    _, *sections = re.split(r"^## ", TROUBLE, flags=re.MULTILINE)
    (mine,) = (text for text in sections if f"`{reason}`" in text.partition("\n")[0])

    assert re.findall(r"^\*\*(\w+)\*\*: ", mine, re.MULTILINE) == ["Meaning", "Check", "Fix"]


def test_docs_list_each_field_of_the_spec() -> None:
    crd = yaml.safe_load((ROOT / "deploy/crds/imageshareacceptances.ims.otc.dev.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]

    fields = {*schema["spec"]["properties"], *schema["status"]["properties"]}

    assert {name for name in fields if f"`{name}" not in SPEC} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_docs_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_memory_in_the_values_is_what_was_measured_and_fits() -> None:
    """docs/performance.md has both figures; the request is above them."""
    values = (ROOT / "deploy/helm/image-share-operator/values.yaml").read_text()
    told = re.search(r"Measured: (\d+) MB .* at once, (\d+) MB with 10,000", values)
    page = (ROOT / "docs/performance.md").read_text()
    measured = [
        re.search(rf"^\| {row}[^|]*\| (\d+) MB", page, re.MULTILINE)
        for row in ("memory: at most", "memory with 10,000")
    ]

    assert told is not None
    assert [*told.groups()] == [row and row[1] for row in measured]
    requested = yaml.safe_load(values)["resources"]["requests"]["memory"].removesuffix("Mi")
    assert max(int(figure) for figure in told.groups()) * 10**6 < int(requested) * 2**20
