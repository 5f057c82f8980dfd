"""Builds the container image without a registry, and reports its content.

Run `python hack/image/build.py` as root on Debian or Ubuntu. buildah builds the Dockerfile on a
base image that debootstrap creates once from Debian packages. The last line on stdout is JSON: the
mounted file system of the image, its configuration, and the sizes of its layers.
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
sys.path.insert(0, str(HERE.parent))  # imports work without PYTHONPATH

from tools.progress import CommandError, Progress, run, say  # noqa: E402 - after the path is set

SUITE = "trixie"
PACKAGES = "python3,python3-venv,ca-certificates"
IMAGE = "localhost/image-share-operator"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_CONF = "[global]\ncert = /etc/ssl/certs/builder.pem\ntimeout = 180\n"


class BuildError(Exception):
    """The build is not possible. The message states the reason and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The built image.

    Attributes:
        container: name of a container of the image. The caller removes it after use of ``rootfs``.
        rootfs: path of the mounted file system.
        config: image configuration, as the OCI image specification defines it.
        layers: unpacked size of each layer in bytes, from the lowest to the highest.
        build_s: duration of the build in seconds.
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
        sys.exit(f"error: {exc}; see its output above")


def build() -> Built:
    """Build the image on a locally built base image, and mount the result.

    Raises:
        BuildError: root permissions or a program are missing.
        CommandError: a program failed.
    """
    if os.geteuid() != 0:
        raise BuildError("the build of an image requires root; run: sudo make image-test")
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
    """buildah with a separate storage, which contains no images of other programs."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage
        self._command = ["buildah", "--storage-driver", "vfs", "--root", str(storage)]

    def __call__(self, what: str, *arguments: str) -> str:
        """Run a buildah command and return its stdout."""
        progress = Progress(what, _in_progress)
        env = dict(os.environ)
        return "\n".join(run([*self._command, *arguments], progress, env=env, cwd=ROOT))

    def has(self, image: str) -> bool:
        call = subprocess.run(
            [*self._command, "images", "--quiet", image], capture_output=True, check=False
        )
        return call.returncode == 0 and bool(call.stdout.strip())

    def layers(self, image_id: str) -> list[dict[str, int]]:
        """Return the layers of the image, the lowest first; ``size`` is in bytes."""
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


def _in_progress(_: int) -> str:
    return "in progress"


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
        raise BuildError(f"{' and '.join(missing)} not found; install it manually")
    say(f"installing {' and '.join(missing)} with apt-get")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    keys = "debian-archive-keyring"  # debootstrap on Ubuntu does not include the keys of Debian
    for arguments in (("update",), ("install", "--yes", *missing, keys)):
        progress = Progress("apt-get", _in_progress)
        run(["apt-get", "--quiet", *arguments], progress, env=env, cwd=ROOT)


def _base(buildah: Buildah) -> str:
    """Return the base image with Python of Debian; build it once per recipe."""
    recipe = f"{SUITE} {PACKAGES} bare {AUTHORITIES.read_text()}"
    name = f"{IMAGE}-base:{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if buildah.has(name):
        return name
    say(f"building a base image from packages of Debian {SUITE}, once: about 1 minute")
    rootfs = _cache() / "base"
    shutil.rmtree(rootfs, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(rootfs)]
    progress = Progress("debootstrap", _in_progress)
    run(command, progress, env=dict(os.environ), cwd=ROOT)
    # A TLS proxy of the build machine may have its own CA; PIP_CONF references this file.
    shutil.copyfile(AUTHORITIES, rootfs / "etc/ssl/certs/builder.pem")
    shutil.rmtree(rootfs / "var/cache/apt/archives", ignore_errors=True)
    for compiled in rootfs.rglob("*.pyc"):  # the official Python image contains no bytecode either
        compiled.unlink()
    container = buildah("the base", "from", "scratch").strip()
    buildah("the base", "add", container, str(rootfs), "/")
    buildah("the base", "commit", "--format", "oci", container, name)
    buildah("the base", "rm", container)
    shutil.rmtree(rootfs)
    return name


if __name__ == "__main__":
    main()
