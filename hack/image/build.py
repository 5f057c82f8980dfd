"""Builds the container image without a registry, and shows what is in it.

`python hack/image/build.py`, as root on Debian or Ubuntu: buildah builds the Dockerfile on a base
that debootstrap makes of Debian's packages, once. The last line on stdout is JSON: where the file
system of the image is, its configuration, its size and its layers.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))  # a script finds its neighbours without PYTHONPATH

from tools.progress import CommandError, Progress, run, say  # noqa: E402 - after the path

SUITE = "trixie"
PACKAGES = "python3,python3-venv,ca-certificates"
IMAGE = "localhost/image-share-operator"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_CONF = "[global]\ncert = /etc/ssl/certs/builder.pem\ntimeout = 180\n"


class BuildError(Exception):
    """What went wrong and what to do about it, for the person at the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The image.

    Attributes:
        container: a container of it, to be removed by whoever is done with ``rootfs``.
        rootfs: its file system.
        config: as the OCI image specification has it.
        layers: from the base's up: bytes, unpacked.
    """

    container: str
    rootfs: str
    config: dict[str, object]
    layers: list[int]
    build_s: float


def main() -> None:
    try:
        print(json.dumps(asdict(build())))
    except BuildError as exc:
        sys.exit(f"error: {exc}")
    except CommandError as exc:
        say(exc.output)
        sys.exit(f"error: {exc}; what it said is above")


def build() -> Built:
    """Build on a base of our own, and mount the result.

    Raises:
        BuildError: this machine can't.
        CommandError: a program failed.
    """
    if os.geteuid() != 0:
        raise BuildError("building an image needs root: sudo make image-test")
    _install("buildah", "debootstrap")
    buildah = Buildah(_cache() / "storage")
    base = _base(buildah)
    began = time.monotonic()
    conf = _cache() / "pip.conf"
    conf.write_text(PIP_CONF)
    buildah(
        "the image",
        *("bud", "--isolation", "chroot", "--secret", f"id=pip.conf,src={conf}"),
        *("--build-arg", f"BASE={base}", "--build-arg", "VERSION=0.0.0-test"),
        *("--build-arg", "SOURCE=https://git.example.com/image-share-operator"),
        *("--format", "oci", "--tag", IMAGE, str(ROOT)),
    )
    built_s = time.monotonic() - began
    found = json.loads(buildah("the image", "inspect", "--type", "image", IMAGE))
    container = buildah("the image", "from", "--pull-never", IMAGE).strip()
    rootfs = buildah("the image", "mount", container).strip()
    return Built(
        container=container,
        rootfs=rootfs,
        config=found["OCIv1"],
        layers=[row["size"] for row in buildah.layers(found["FromImageID"])],
        build_s=round(built_s, 1),
    )


class Buildah:
    """buildah with a storage of its own, that no other program's images are in."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage
        self._command = ["buildah", "--storage-driver", "vfs", "--root", str(storage)]

    def __call__(self, what: str, *arguments: str) -> str:
        """Run it; return its stdout."""
        progress = Progress(what, _under_way)
        env = dict(os.environ)
        return "\n".join(run([*self._command, *arguments], progress, env=env, cwd=ROOT))

    def has(self, image: str) -> bool:
        call = subprocess.run(
            [*self._command, "images", "--quiet", image], capture_output=True, check=False
        )
        return call.returncode == 0 and bool(call.stdout.strip())

    def layers(self, image_id: str) -> list[dict[str, int]]:
        """The image's layers, the lowest first; ``size`` in bytes."""
        images = json.loads((self._storage / "vfs-images/images.json").read_text())
        layers = {
            row["id"]: row
            for row in json.loads((self._storage / "vfs-layers/layers.json").read_text())
        }
        top = next(row["layer"] for row in images if row["id"] == image_id)
        chain: list[dict[str, int]] = []
        while top:
            chain.append({"size": layers[top].get("diff-size", 0)})
            top = layers[top].get("parent")
        return chain[::-1]


def _under_way(_: int) -> str:
    return "under way"


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = home / "image-share-operator/image"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _install(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise BuildError(f"{' and '.join(missing)} not found: install them")
    say(f"installing {' and '.join(missing)} by apt-get")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    keys = "debian-archive-keyring"  # Ubuntu's debootstrap comes without them
    for arguments in (("update",), ("install", "--yes", *missing, keys)):
        progress = Progress("apt-get", _under_way)
        run(["apt-get", "--quiet", *arguments], progress, env=env, cwd=ROOT)


def _base(buildah: Buildah) -> str:
    """An image with Debian's Python; made once for each recipe."""
    recipe = f"{SUITE} {PACKAGES} bare {AUTHORITIES.read_text()}"
    name = f"{IMAGE}-base:{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if buildah.has(name):
        return name
    say(f"making a base image of Debian {SUITE}'s packages, once: about a minute")
    rootfs = _cache() / "base"
    shutil.rmtree(rootfs, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(rootfs)]
    progress = Progress("debootstrap", _under_way)
    run(command, progress, env=dict(os.environ), cwd=ROOT)
    # The builder may sit behind a proxy with an authority of its own; PIP_CONF names this file.
    shutil.copyfile(AUTHORITIES, rootfs / "etc/ssl/certs/builder.pem")
    shutil.rmtree(rootfs / "var/cache/apt/archives", ignore_errors=True)
    for compiled in rootfs.rglob("*.pyc"):  # the official Python image comes without them too
        compiled.unlink()
    container = buildah("the base", "from", "scratch").strip()
    buildah("the base", "add", container, str(rootfs), "/")
    buildah("the base", "commit", "--format", "oci", container, name)
    buildah("the base", "rm", container)
    shutil.rmtree(rootfs)
    return name


if __name__ == "__main__":
    main()
