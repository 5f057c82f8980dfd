"""Git repositories that `git daemon` serves."""

import shutil
import subprocess
from pathlib import Path

from envtest.processes import Server, free_port
from gitops.setup import Files, write

GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.com")


class Repositories:
    """Bare repositories in a directory, served on an address."""

    def __init__(self, directory: Path, address: str) -> None:
        self._home = directory / "git"
        self._work = directory / "work"
        for path in (self._home, self._work):
            path.mkdir()
        port = free_port()
        self._url = f"git://{address}:{port}"
        served = (f"--listen={address}", f"--port={port}", f"--base-path={self._home}")
        self._server = Server(
            [str(shutil.which("git")), "daemon", "--export-all", "--reuseaddr", *served],
            directory=directory,
            log=directory / "git.log",
        )

    def close(self) -> None:
        self._server.stop()

    def mirror(self, name: str, source: Path) -> str:
        """Serve the current commit of a repository as branch main; return the URL."""
        _git("push", "--quiet", str(self._bare(name)), "HEAD:refs/heads/main", cwd=source)
        return f"{self._url}/{name}.git"

    def push(self, name: str, directory: str, files: Files) -> str:
        """Commit these files, and no others, in a directory; return the URL."""
        work = self._work / name
        if not work.exists():
            _git("init", "--quiet", "--initial-branch=main", str(work), cwd=self._work)
            _git("remote", "add", "origin", str(self._bare(name)), cwd=work)
        shutil.rmtree(work / directory, ignore_errors=True)
        write(work / directory, files)
        _git("add", "--all", ".", cwd=work)
        _git("commit", "--quiet", "--message", "change", cwd=work)
        _git("push", "--quiet", "origin", "main", cwd=work)
        return f"{self._url}/{name}.git"

    def _bare(self, name: str) -> Path:
        bare = self._home / f"{name}.git"
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(bare), cwd=self._home)
        return bare


def _git(*arguments: str, cwd: Path) -> None:
    subprocess.run([*GIT, *arguments], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
