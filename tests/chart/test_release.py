"""The chart as a release packages it: it installs without a single value."""

from pathlib import Path

import pytest
import yaml

import release
from chart.objects import pod_of
from chart.programs import RELEASE, ROOT, Helm

IMAGE = "registry.example.com/owner/image-share-operator@sha256:" + "a" * 64
SOURCE = "https://git.example.com/owner/image-share-operator"


@pytest.fixture
def package(helm: Helm, tmp_path: Path) -> Path:
    helm("version")  # builds it, with progress
    return release.package(ROOT, IMAGE, SOURCE, tmp_path)


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


@pytest.mark.parametrize("image", ["x:1", "x", "x@sha256:abc", "Owner/x@sha256:" + "a" * 64])
def test_image_without_digest_or_in_capitals_is_not_packaged(image: str, tmp_path: Path) -> None:
    with pytest.raises(release.ReleaseError, match="must be a repository in lower case"):
        release.package(ROOT, image, SOURCE, tmp_path)


def test_values_without_a_place_for_the_image_are_reported() -> None:
    with pytest.raises(release.ReleaseError, match=r"0 empty image\.digest"):
        release.with_image('image:\n  repository: ""\n  tag: ""\n', "x", "y")
