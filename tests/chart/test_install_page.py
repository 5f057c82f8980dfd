"""docs/install.md: its commands and manifests render, with the image that a reader built."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.objects import pod_of
from chart.programs import CHART, ROOT, Helm, Json
from envtest import ControlPlane

PAGE = (ROOT / "docs/install.md").read_text()
REPOSITORY, TAG = "registry.example.com/isa", "git-0123456789ab"
IMAGE = f"{REPOSITORY}:{TAG}"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)


def manifests() -> list[Json]:
    return [row for block in blocks("yaml") for row in yaml.safe_load_all(block)]


def helm_installs() -> list[list[str]]:
    """The arguments of each `helm install`, with the variables of the page filled in."""
    text = "\n".join(blocks("shell")).replace("\\\n", " ")
    text = text.replace("$REPOSITORY", REPOSITORY).replace("$TAG", TAG)
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("helm install")]
    return [[*command[2:]] for command in commands]


def image_of(documents: list[Json]) -> str:
    return str(pod_of(documents)["spec"]["containers"][0]["image"])


def test_page_has_both_ways_of_helm() -> None:
    assert len(helm_installs()) == 2


@pytest.mark.parametrize("arguments", helm_installs(), ids=lambda row: str(row[0]))
def test_helm_install_of_the_page_renders(arguments: list[str], helm: Helm) -> None:
    text = helm(
        "template", *(str(CHART) if "/" in row else row for row in arguments[:2]), *arguments[2:]
    )

    assert image_of([row for row in yaml.safe_load_all(text) if row]) == IMAGE


def test_values_for_flux_render(helm: Helm) -> None:
    (release,) = (row for row in manifests() if row.get("kind") == "HelmRelease")
    values: dict[str, Any] = release["spec"]["values"]

    assert image_of(helm.render(values)).endswith("/image-share-operator:TAG")


def test_kustomization_of_the_page_sets_the_image(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    (found,) = (row for row in manifests() if row["apiVersion"].startswith("kustomize.config"))
    up = "/".join([".."] * (len(tmp_path.parts) - 1))
    resources = [f"{up}{ROOT / 'deploy'}" for _ in found["resources"]]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({**found, "resources": resources}))

    documents = list(yaml.safe_load_all(control_plane.kubectl("kustomize", str(tmp_path))))

    assert image_of(documents) == f"{found['images'][0]['newName']}:TAG"


def test_policy_for_the_cloud_has_the_actions_of_the_sample() -> None:
    (policy,) = (json.loads(block) for block in blocks("json"))
    sample = (ROOT / "deploy/samples/secret.example.yaml").read_text()

    (statement,) = policy["Statement"]
    assert policy["Version"] == "1.1"
    assert statement["Effect"] == "Allow"
    assert set(statement["Action"]) == set(re.findall(r"ims:images:\w+", sample))


def test_page_names_no_version_of_the_operator() -> None:
    """No version is published. The reader builds one."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]

    assert version not in PAGE
