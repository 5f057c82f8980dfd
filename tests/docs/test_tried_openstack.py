"""The tried blocks of the OpenStack page work as shown, with a real Keystone and a real Glance."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.blocks import blocks, run
from e2e.live.openstack_world import OpenStackWorld
from envtest import ControlPlane, Operator, binaries, install_rights
from openstack_cloud import OpenStackCloud

ROOT = Path(__file__).parents[2]


@pytest.fixture
def world(openstack: OpenStackCloud, tmp_path: Path) -> Iterator[OpenStackWorld]:
    with ControlPlane() as control_plane:
        control_plane.apply_crds(ROOT / "deploy/crds")
        operator = Operator(install_rights(control_plane), tmp_path / "operator.log")
        operator.start()
        namespace = control_plane.create_namespace("reader")
        yield OpenStackWorld(control_plane, openstack, operator, namespace)
        operator.terminate()


def kubeconfig(world: OpenStackWorld, directory: Path) -> Path:
    """A kubeconfig whose namespace is that of the world."""
    file = directory / "kubeconfig"
    shutil.copy(world.control_plane.admin_kubeconfig, file)
    world.control_plane.kubectl(
        f"--kubeconfig={file}",
        "config",
        "set-context",
        "--current",
        f"--namespace={world.namespace}",
    )
    return file


def fill_in_sample(world: OpenStackWorld, images: list[str]) -> str:
    """The sample with the values of the world instead of its placeholders."""
    text = (ROOT / "deploy/samples/openstack.yaml").read_text()
    values = {"AUTH-URL": world.cloud.auth_url, "PROJECT-ID": world.project}
    values |= {f"IMAGE-ID-{number}": image for number, image in enumerate(images, start=1)}
    for placeholder, value in values.items():
        text = text.replace(f'"{placeholder}"', f'"{value}"')
    return text


def test_commands_of_the_page_end_with_accepted_images(
    world: OpenStackWorld, tmp_path: Path
) -> None:
    images = [world.image(), world.image()]
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "shares.yaml").write_text(fill_in_sample(world, images))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "openstack").symlink_to(world.cloud.command("openstack"))
    (programs / "kubectl").symlink_to(binaries.directory() / "kubectl")
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    kubectl = {"PATH": path, "KUBECONFIG": str(kubeconfig(world, tmp_path))}
    env = world.client_env() | kubectl
    commands = list(blocks((ROOT / "docs/openstack.md").read_text()))

    ended = list(run(commands, where=desk, env=env))

    for one in ended:
        assert (one.code, one.missing) == (0, []), one
    assert len(ended) == len(commands) == 3
    assert ended[1].output.strip() == world.project
    assert world.memberships() == dict.fromkeys(images, "accepted")
