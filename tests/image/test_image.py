"""The image as it is built: what is in it, and that it works. `make image-test`."""

import json
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from e2e.live.world import World
from envtest import SYSTEM, ControlPlane, eventually, install_rights
from envtest.processes import Server
from image.conftest import Image
from otc_simulator.client import Simulator

ROOT = Path(__file__).parents[2]
HOME = "opt/image-share-operator"
ENTRY = "/opt/image-share-operator/bin/image-share-operator"
ID = 65532

pytestmark = pytest.mark.timeout(1800)  # the first test builds the image


class Container:
    """The image's entry point in its file system: user 65532, nothing writable, no shell."""

    def __init__(self, image: Image, log: Path, env: dict[str, str]) -> None:
        own = dict(row.split("=", 1) for row in image.config["Env"])
        self._log = log
        self.started = time.monotonic()
        self._server = Server(
            ["/usr/sbin/chroot", f"--userspec={ID}:{ID}", str(image.root), ENTRY],
            directory=log.parent,
            log=log,
            env={**own, **env},
        )

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self) -> int:
        return self._server.pid

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def told(control_plane: ControlPlane, account: Path) -> dict[str, str]:
    """As in a pod: the API server and the token are where Kubernetes puts them."""
    kubeconfig = install_rights(control_plane)
    token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
    (account / "token").write_text(token)
    (account / "namespace").write_text(SYSTEM)
    address = urlsplit(control_plane.url)
    return {
        "KUBERNETES_SERVICE_HOST": str(address.hostname),
        "KUBERNETES_SERVICE_PORT": str(address.port),
        "ISA_ALLOW_INSECURE_ENDPOINTS": "true",
        "ISA_LEADER_ELECTION": "true",
        "ISA_SECRET_POLL_S": "2",
    }


@pytest.fixture
def container(
    image: Image, told: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Container]:
    """The operator at work; a test may tell it more by the mark ``told``."""
    more = request.node.get_closest_marker("told")
    made = Container(image, tmp_path / "log", {**told, **(more.kwargs if more else {})})
    yield made
    made.stop()


@pytest.fixture
def world(control_plane: ControlPlane, simulator: Simulator, container: Container) -> World:
    namespace = control_plane.create_namespace("image")
    made = World(control_plane, simulator, container, namespace)  # type: ignore[arg-type]  # its log
    made.secret()
    return made


def test_operator_of_the_image_serves_resources(world: World, container: Container) -> None:
    """As a pod, under the chart's rights, with the Lease; clouds.yaml needs another library."""
    eventually(lambda: "starting image-share-operator" in container.log or None, within_s=30)
    started_s = time.monotonic() - container.started

    use_clouds_yaml(world)
    world.apply([world.image()])
    world.wait_for("Accepted", within_s=30)
    world.wait_for("Accepted", name="other", within_s=30)

    assert "Traceback" not in container.log
    sys.stdout.write(f"\nstart to the first line of the log: {started_s:.1f} s\n")


def use_clouds_yaml(world: World) -> None:
    """A resource named ``other`` with such a Secret."""
    cloud = {
        "auth": {
            "auth_url": world.sim.url,
            "username": world.user,
            "password": world.password,
            "user_domain_name": world.sim.domain,
        }
    }
    world.secret("by-clouds", **{"clouds.yaml": yaml.safe_dump({"clouds": {"otc": cloud}})})
    world.apply([world.image()], name="other", credentialsSecretRef={"name": "by-clouds"})


def test_operator_runs_as_an_unprivileged_user(world: World, container: Container) -> None:
    world.apply([world.image()])
    world.wait_for("Accepted", within_s=30)
    lines = Path(f"/proc/{container.pid}/status").read_text().splitlines()
    ids = {line.split()[0]: line.split()[1:5] for line in lines if line.startswith(("Uid", "Gid"))}

    assert ids == {"Uid:": [str(ID)] * 4, "Gid:": [str(ID)] * 4}


def test_configuration_is_what_the_chart_expects(image: Image) -> None:
    assert image.config["User"] == f"{ID}:{ID}"
    init, *_, program = image.config["Entrypoint"]
    assert (init, program) == ("dumb-init", "image-share-operator")
    assert all((image.root / HOME / "bin" / name).exists() for name in (init, program))
    assert "Cmd" not in image.config
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == "0.0.0-test"
    assert (
        labels["org.opencontainers.image.source"] == "https://git.example.com/image-share-operator"
    )


def test_entry_point_needs_no_shell(image: Image) -> None:
    first = (image.root / HOME / "bin/image-share-operator").read_text().splitlines()[0]

    assert first == "#!/opt/image-share-operator/bin/python"


@pytest.mark.parametrize(
    "name", ["pip", "setuptools", "hatchling", "uv", "pytest", "otc_simulator"]
)
def test_what_builds_and_tests_is_not_inside(name: str, image: Image) -> None:
    found = [*image.root.glob(f"{HOME}/lib/python3*/site-packages/{name}")]
    found += image.root.glob(f"usr/lib/python3*/{name}")
    found += [image.root / HOME / "bin" / name]

    assert [path for path in found if path.exists()] == []


def test_nothing_of_ours_can_be_changed_by_the_operator(image: Image) -> None:
    loose = [
        path
        for path in (image.root / HOME).rglob("*")
        if not path.is_symlink()
        and (path.stat().st_uid == ID or path.stat().st_mode & (stat.S_IWOTH | stat.S_ISUID))
    ]

    assert loose == []


@pytest.mark.told(PYTHONVERBOSE="1", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
def test_what_is_imported_is_compiled(world: World, container: Container) -> None:
    """Nothing can be written at run time: what is not compiled would be at each start.

    Python's own word for a module that it compiled is a line without quotes.
    """
    use_clouds_yaml(world)
    world.wait_for("Accepted", name="other", within_s=60)

    container.stop()
    loaded = re.findall(r"^# code object from (.*)$", container.log, re.MULTILINE)
    assert "opentelemetry" in "".join(loaded)
    assert [path for path in loaded if not path.startswith("'")] == []


def test_there_are_wheels_for_arm64_with_the_hashes_of_the_lock_file(tmp_path: Path) -> None:
    """Those for amd64 are in the image."""
    call = subprocess.run(
        [
            *(ROOT / ".venv/bin/uv", "pip", "install", "--target", tmp_path),
            *("--python-platform", "aarch64-manylinux_2_28", "--python-version", "3.13"),
            *("--only-binary", ":all:", "--require-hashes", "-r", ROOT / "requirements.lock"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert call.returncode == 0, call.stderr
    assert [path for path in tmp_path.rglob("*.so") if "x86_64" in path.name] == []


def test_size(image: Image) -> None:
    above = sum(image.layers[1:]) / 2**20
    sys.stdout.write(f"\n{len(image.layers)} layers, {above:.0f} MiB above the base\n")

    assert len(image.layers) == 2
    assert above < 180
