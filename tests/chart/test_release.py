"""The chart as a release packages it: it installs without a single value."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

import release
from chart.objects import pod_of
from chart.programs import CHART, RELEASE, ROOT, Helm

IMAGE = "registry.example.com/owner/image-share-operator@sha256:" + "a" * 64
SOURCE = "https://git.example.com/owner/image-share-operator"


CHANGES = """### Added

- A value: `extra`.
  It has "quotes".

### Fixed

- An error.
"""


@pytest.fixture
def package(helm: Helm, tmp_path: Path) -> Path:
    helm("version")  # builds it, with progress
    tree = tmp_path / "tree"
    for path, _ in release.PLACES:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tree / path)
    shutil.copytree(CHART, tree / release.CHART, dirs_exist_ok=True)
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    (tree / "CHANGELOG.md").write_text(f"## [{version}] - 2026-12-01\n\n{CHANGES}")
    return release.package(tree, IMAGE, SOURCE, tmp_path)


def test_package_needs_no_value_and_names_its_image_by_digest(package: Path, helm: Helm) -> None:
    documents = [row for row in yaml.safe_load_all(helm("template", RELEASE, str(package))) if row]

    assert pod_of(documents)["spec"]["containers"][0]["image"] == IMAGE
    assert "0 chart(s) failed" in helm("lint", "--strict", str(package))


def test_package_says_where_it_comes_from(package: Path, helm: Helm) -> None:
    about = yaml.safe_load(helm("show", "chart", str(package)))

    assert package.name == f"image-share-operator-{about['version']}.tgz"
    assert about["home"] == SOURCE
    assert about["sources"] == [SOURCE]
    assert about["maintainers"]
    assert about["icon"] == f"{SOURCE}/raw/v{about['version']}/hack/site/favicon.svg"
    assert (ROOT / "hack/site/favicon.svg").exists()


def test_package_has_what_artifact_hub_shows(package: Path, helm: Helm) -> None:
    about = yaml.safe_load(helm("show", "chart", str(package)))

    hub = {
        name.removeprefix("artifacthub.io/"): yaml.safe_load(text)
        for name, text in about["annotations"].items()
    }
    assert hub["license"] == "Apache-2.0"
    assert hub["category"] == "integration-delivery"
    assert hub["operator"] is True
    assert [row["kind"] for row in hub["crds"]] == ["ImageShareAcceptance"]
    assert [row["spec"]["decision"] for row in hub["crdsExamples"]] == ["Accept", "Reject"]
    assert hub["images"] == [{"name": "image-share-operator", "image": IMAGE}]
    assert hub["changes"] == [
        {"kind": "added", "description": 'A value: `extra`. It has "quotes".'},
        {"kind": "fixed", "description": "An error."},
    ]
    assert {row["name"] for row in hub["links"]} == {"Documentation", "Security policy", "Issues"}
    assert all(row["url"].startswith(f"{SOURCE}/") for row in hub["links"])


def test_annotations_are_texts_as_kubernetes_asks(package: Path, helm: Helm) -> None:
    about = yaml.safe_load(helm("show", "chart", str(package)))

    assert {type(text) for text in about["annotations"].values()} == {str}


def test_kinds_of_changes_are_those_of_artifact_hub() -> None:
    headings = re.findall(r"^### (\w+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert {heading.lower() for heading in headings} <= {
        *("added", "changed", "deprecated", "removed", "fixed", "security"),
    }


@pytest.mark.parametrize("image", ["x:1", "x", "x@sha256:abc", "Owner/x@sha256:" + "a" * 64])
def test_image_without_digest_or_in_capitals_is_not_packaged(image: str, tmp_path: Path) -> None:
    with pytest.raises(release.ReleaseError, match="must be a repository in lower case"):
        release.package(ROOT, image, SOURCE, tmp_path)


def test_values_without_a_place_for_the_image_are_reported() -> None:
    with pytest.raises(release.ReleaseError, match=r"0 empty image\.digest"):
        release.with_image('image:\n  repository: ""\n  tag: ""\n', "x", "y")
