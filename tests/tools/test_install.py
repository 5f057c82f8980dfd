"""Programs come from KUBEBUILDER_ASSETS, the cache, a download or a build, in this order."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tools.archives import Archive
from tools.download import Limits
from tools.install import InstallError, ensure
from tools.pins import PROGRAMS, Program
from tools.release_host import File, Host, tarball

INSTALL = Path(__file__).parents[2] / "hack/tools/install.py"
LIMITS = Limits(connect_s=10, idle_s=10)
CHART = [program for program in PROGRAMS if program.name in ("helm", "kubeconform")]
BODIES = {
    "helm": tarball({"linux/helm": b"helm", "linux/LICENSE": b"text"}),
    "kubeconform": tarball({"kubeconform": b"kubeconform"}),
}
PINNED = [
    Archive(
        title=name.title(),
        version="1.2.3",
        url=f"https://{name}.example/{name}.tar.gz",
        algorithm="sha256",
        digest=hashlib.sha256(BODIES[name]).hexdigest(),
        programs={name: path},
    )
    for name, path in (("helm", "linux/helm"), ("kubeconform", "kubeconform"))
]


class FakeBuild:
    """Writes files instead of building; remembers what it was asked for."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def __call__(self, programs: Sequence[Program], target: Path, env: Mapping[str, str]) -> None:
        del env
        sys.stderr.write("building\n")
        self.built += [program.name for program in programs]
        put(target, *self.built)


def put(directory: Path, *names: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text("built")
        (directory / name).chmod(0o755)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def build() -> FakeBuild:
    return FakeBuild()


@pytest.fixture
def env(host: Host, tmp_path: Path) -> dict[str, str]:
    host.files |= {f"{name}.tar.gz": File(body=body) for name, body in BODIES.items()}
    return {"XDG_CACHE_HOME": str(tmp_path), "TOOLS_MIRROR": host.url}


def test_programs_in_kubebuilder_assets_come_first(
    env: dict[str, str], build: FakeBuild, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl = [program for program in PROGRAMS if program.name == "kubectl"]
    put(tmp_path / "assets", "kubectl")
    env["KUBEBUILDER_ASSETS"] = str(tmp_path / "assets")

    assert ensure(kubectl, env, PINNED, limits=LIMITS, build=build) == tmp_path / "assets"
    assert capsys.readouterr().err == "kubectl: found in KUBEBUILDER_ASSETS\n"


def test_kubebuilder_assets_without_a_program_are_not_used(
    env: dict[str, str], build: FakeBuild, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [program for program in PROGRAMS if program.name in ("etcd", "kubectl")]
    put(tmp_path / "assets", "kubectl")
    env["KUBEBUILDER_ASSETS"] = str(tmp_path / "assets")

    assert contents(ensure(wanted, env, PINNED, limits=LIMITS, build=build)).keys() == {
        "etcd",
        "kubectl",
    }
    said = capsys.readouterr().err.splitlines()[0]
    assert said == f"KUBEBUILDER_ASSETS={tmp_path / 'assets'} is not used: it has no etcd"


def test_programs_are_downloaded(
    env: dict[str, str], build: FakeBuild, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ensure(CHART, env, PINNED, limits=LIMITS, build=build)

    assert contents(home) == {"helm": b"helm", "kubeconform": b"kubeconform"}
    assert build.built == []
    assert capsys.readouterr().err.startswith("helm: downloading Helm v1.2.3 from 127.0.0.1")
    assert list((home.parent / "downloads").iterdir()) == []


def test_downloaded_programs_are_found_in_the_cache(
    env: dict[str, str], build: FakeBuild, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ensure(CHART, env, PINNED, limits=LIMITS, build=build)
    host.files.clear()
    capsys.readouterr()

    assert ensure(CHART, env, PINNED, limits=LIMITS, build=build) == home
    assert capsys.readouterr().err == "kubeconform, helm: found in the cache\n"


def test_programs_are_built_when_one_archive_of_two_cannot_be_had(
    env: dict[str, str], build: FakeBuild, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    del host.files["kubeconform.tar.gz"]

    home = ensure(CHART, env, PINNED, limits=LIMITS, build=build)

    assert contents(home) == {"helm": b"built", "kubeconform": b"built"}
    assert "cannot download: 127.0.0.1 returned HTTP 404" in capsys.readouterr().err


def test_wrong_hash_is_reported_twice_and_the_programs_are_built(
    env: dict[str, str],
    build: FakeBuild,
    host: Host,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    host.files["helm.tar.gz"] = File(body=tarball({"linux/helm": b"evil"}))

    home = ensure(CHART, env, PINNED, limits=LIMITS, build=build)

    assert contents(home) == {"helm": b"built", "kubeconform": b"built"}
    said = capsys.readouterr().err.splitlines()
    assert said[1].startswith("WARNING: Helm v1.2.3 from 127.0.0.1 is not the pinned archive")
    assert said[2:] == ["building", said[1]]
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and b"evil" in path.read_bytes()
    ]


@pytest.mark.parametrize("pinned", [PINNED[:1], []], ids=["one archive", "no archive"])
def test_programs_without_an_archive_are_built(
    pinned: list[Archive], env: dict[str, str], build: FakeBuild
) -> None:
    ensure(CHART, env, pinned, limits=LIMITS, build=build)

    assert build.built == ["kubeconform", "helm"]


def test_mirror_that_cannot_be_used_stops(env: dict[str, str], build: FakeBuild) -> None:
    env["TOOLS_MIRROR"] = "mirror.example"

    with pytest.raises(InstallError, match="TOOLS_MIRROR must be an http or https URL"):
        ensure(CHART, env, PINNED, limits=LIMITS, build=build)


def test_command_prints_the_directory_last(tmp_path: Path) -> None:
    put(tmp_path, "kubectl")

    call = subprocess.run(
        [sys.executable, INSTALL, "kubectl"],
        env={**os.environ, "KUBEBUILDER_ASSETS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert call.stdout == f"{tmp_path}\n"
    assert call.stderr == "kubectl: found in KUBEBUILDER_ASSETS\n"
