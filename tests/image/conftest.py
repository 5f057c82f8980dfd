"""The image, built once, and its file system as a read-only root."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.capture import CaptureManager

from e2e.conftest import Json, control_plane
from e2e.live.conftest import simulator
from envtest import ControlPlane

__all__ = ["control_plane", "simulator"]

ROOT = Path(__file__).parents[2]
STORAGE = "--storage-driver=vfs"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "told(**env): the environment of the operator of the image")


@dataclass(frozen=True, kw_only=True)
class Image:
    """As `hack/image/build.py` built it; its file system is mounted read-only at ``root``."""

    root: Path
    config: Json
    layers: list[int]
    build_s: float


@pytest.fixture(scope="session")
def image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Image]:
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert isinstance(capture, CaptureManager)
    with capture.global_and_fixture_disabled():  # takes minutes, which should be seen
        call = subprocess.run(
            [sys.executable, str(ROOT / "hack/image/build.py")],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    built = json.loads(call.stdout.splitlines()[-1])
    rootfs = Path(built["rootfs"])
    (rootfs / "run/secrets/kubernetes.io/serviceaccount").mkdir(parents=True)
    root = tmp_path_factory.mktemp("root")
    subprocess.run(["mount", "--bind", str(rootfs), str(root)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(root)], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    try:
        yield Image(
            root=root,
            config=built["config"]["config"],
            layers=built["layers"],
            build_s=built["build_s"],
        )
    finally:
        subprocess.run(["umount", "--recursive", str(root)], check=True)
        storage = rootfs.parents[2]
        remove = ["buildah", STORAGE, f"--root={storage}", "rm", built["container"]]
        subprocess.run(remove, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def account(control_plane: ControlPlane, image: Image, tmp_path: Path) -> Iterator[Path]:
    """Where a pod finds its ServiceAccount; what the test writes here is seen inside."""
    outside = tmp_path / "serviceaccount"
    outside.mkdir()
    shutil.copyfile(control_plane.ca_file, outside / "ca.crt")
    inside = image.root / "run/secrets/kubernetes.io/serviceaccount"
    subprocess.run(["mount", "--bind", str(outside), str(inside)], check=True)
    yield outside
    subprocess.run(["umount", str(inside)], check=True)
