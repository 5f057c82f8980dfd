"""Installs Keystone and Glance once for each version of the lock file, in the user's cache.

An installation has a virtual environment and a template: the files of two services that were
initialized and never used. It takes half a minute the first time, which is shown.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.lock"
CONFIG = HERE / "config"
VENV_SCRIPT = HERE.parents[1] / "hack/tools/venv.sh"
ADMIN_PASSWORD = "admin-password"
REGION = "RegionOne"
UNSET_URL = "http://unset.invalid"
"""The address of Keystone in the template: each start has a port of its own."""
OUTPUT_LINES = 20


class InstallationError(Exception):
    """Keystone and Glance can't be installed; the message says why."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the servers are installed."""

    home: Path

    @property
    def bin(self) -> Path:
        """The programs."""
        return self.home / "venv/bin"

    @property
    def template(self) -> Path:
        """The initialized files of both services."""
        return self.home / "template"

    @property
    def paste_file(self) -> Path:
        """The pipeline of Glance, as it is published."""
        return self.home / "venv/etc/glance/glance-api-paste.ini"


def ensure() -> Installation:
    """Return the installation of the lock file; install it if there is none.

    Raises:
        InstallationError: it can't be installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "image-share-operator/openstack" / _key()
    found = Installation(home)
    if not _is_complete(found):
        home.mkdir(parents=True, exist_ok=True)
        with _lock(home.with_suffix(".lock")):
            if not _is_complete(found):  # another process may have installed it meanwhile
                _install(found)
    return found


def _key() -> str:
    """Names the content: another pin or another configuration is another installation."""
    digest = hashlib.sha256()
    for file in (LOCK, CONFIG / "keystone.conf", Path(__file__)):
        digest.update(file.read_bytes())
    return f"{digest.hexdigest()[:12]}-python{sys.version_info.major}.{sys.version_info.minor}"


def _is_complete(installation: Installation) -> bool:
    return installation.template.is_dir()  # made last, by a rename


def _install(installation: Installation) -> None:
    _say("Keystone and Glance: installing, half a minute the first time")
    _run([VENV_SCRIPT, installation.home / "venv", LOCK], PYTHON=sys.executable)
    making = installation.home / "template.part"
    shutil.rmtree(making, ignore_errors=True)
    for name in ("fernet", "credential", "images"):
        (making / name).mkdir(parents=True)
    shutil.copy(CONFIG / "keystone.conf", making)
    (making / "glance-api.conf").write_text("[database]\nconnection = sqlite:///glance.db\n")
    for step, command in enumerate(_commands(installation.bin), start=1):
        _say(
            f"Keystone and Glance: initializing, step {step} of {len(_commands(installation.bin))}"
        )
        _run(command, cwd=making)
    making.rename(installation.template)
    _say(f"Keystone and Glance: installed in {installation.home}")


def _commands(programs: Path) -> list[list[str | Path]]:
    keystone: list[str | Path] = [programs / "keystone-manage", "--config-file", "keystone.conf"]
    keys = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    urls = [f"--bootstrap-{kind}-url={UNSET_URL}" for kind in ("admin", "internal", "public")]
    return [
        [*keystone, "fernet_setup", *keys],
        [*keystone, "credential_setup", *keys],
        [*keystone, "db_sync"],
        [
            *keystone,
            "bootstrap",
            f"--bootstrap-password={ADMIN_PASSWORD}",
            f"--bootstrap-region-id={REGION}",
            *urls,
        ],
        [programs / "glance-manage", "--config-file", "glance-api.conf", "db_sync"],
    ]


def _run(command: list[str | Path], *, cwd: Path | None = None, **env: str) -> None:
    """Run a command; its output is shown when it fails."""
    ended = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        output = "\n".join(ended.stdout.splitlines()[-OUTPUT_LINES:])
        raise InstallationError(f"{Path(command[0]).name} ended with {ended.returncode}:\n{output}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the progress of an installation


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one process install and the others wait. The kernel releases it with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
