"""docs/cli.md shows what the command prints."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from cli.command import INSECURE, Json
from cli.conftest import ROOT
from docs.blocks import Command, blocks, run
from otc_simulator.client import Simulator

PENDING = "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"
ACCEPTED = "b5a21d8c-1f0e-4c6a-9d2b-7c8e3f4a5b6c"
ABSENT = "7d1f0c9e-2b3a-4c5d-9e8f-0a1b2c3d4e5f"
BUILT = "2026-11-23T21:40:45+00:00"
CLOUD = "http://127.0.0.1:36935"
"""As the page has it."""
ALLOWED = {"ISA_ALLOW_INSECURE_ENDPOINTS": "true"}
BLOCKS = list(blocks((ROOT / "docs/cli.md").read_text()))
COMMAND = Command(
    f'image-share-operator() {{ PYTHONPATH="{ROOT}/operator" "{sys.executable}"'
    ' -m image_share_operator "$@"; }'
)


@pytest.fixture
def desk(sim: Simulator, secret: Json, tmp_path: Path) -> Path:
    """The files that the page speaks of, and the cloud that it shows."""
    mine = [sim.project_id]
    for image, name, status in (
        (PENDING, "ubuntu-24.04-hardened", "pending"),
        (ACCEPTED, "postgres-17", "accepted"),
    ):
        sim.add_image(shared_with=mine, id=image, name=name, status=status, created_at=BUILT)
    shares: Json = {
        "apiVersion": "ims.otc.dev/v1alpha1",
        "kind": "ImageShareAcceptance",
        "metadata": {"name": "base-images", "namespace": "team-a"},
        "spec": {
            "endpoints": {"iam": sim.url, "ims": sim.url},
            "projectID": sim.project_id,
            "images": [PENDING, ACCEPTED, ABSENT],
            "credentialsSecretRef": {"name": secret["metadata"]["name"]},
        },
    }
    spec = {"decision": "accepted", "timeout": "10", "images": ["ubuntu-24.04"]}
    typos = {**shares, "metadata": {"name": "typos"}, "spec": {**shares["spec"], **spec}}
    for name, told in (("shares", shares), ("secret", secret), ("typos", typos)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(told))
    (tmp_path / "clusters/prod").mkdir(parents=True)
    for name, told in (("shares", shares), ("secret", secret)):
        (tmp_path / f"clusters/prod/{name}.yaml").write_text(yaml.safe_dump(told))
    return tmp_path


def publish_golden_images(sim: Simulator, desk: Path) -> None:
    """The images of the page's selector, and its file."""
    for day in (9, 16, 23):
        built = datetime(2026, 11, day, 4, 30, tzinfo=UTC)
        sim.publish(f"ubuntu-24.04-202611{day:02}", shared_with=[sim.project_id], created_at=built)
    shares = yaml.safe_load((desk / "shares.yaml").read_text())
    del shares["spec"]["images"]
    shares["metadata"] = {"name": "golden-images", "namespace": "team-a"}
    shares["spec"] |= {
        "imageSelectorTerms": [{"owner": sim.owner_project_id, "name": "ubuntu-24.04-2026*"}],
        "imageSelectionPolicy": {"groupBy": "^(.+)-[0-9]{8}$", "newest": 1},
    }
    (desk / "golden.yaml").write_text(yaml.safe_dump(shares))


@pytest.fixture
def here(sim: Simulator) -> Callable[[str], str]:
    """The page's commands, at the simulated cloud."""

    def here(words: str) -> str:
        cloud = f"--iam {sim.url} --ims {sim.url} {INSECURE}"
        return words.replace("--region eu-de", cloud).replace(CLOUD, sim.url)

    return here


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.words.split("--")[0])
def test_page_shows_what_is_printed(
    sim: Simulator, desk: Path, block: Command, here: Callable[[str], str]
) -> None:
    if any("list no" in line for line in block.shown):
        sim.change_user(policies={sim.project_id: ["get", "share"]})
    if "golden" in block.words:
        publish_golden_images(sim, desk)
    command = Command(here(block.words), block.shown, block.code)

    _, ended = run([COMMAND, command], where=desk, env=os.environ | ALLOWED)

    assert ended.code == command.code, ended
    assert ended.missing == [], ended
