"""Takes named programs out of a verified archive, and nothing else. Standard library only."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROGRAM_BYTES = 1024 * 2**20
"""The most that a program may have. The largest, prometheus, has about 160 MB."""


class UnpackError(Exception):
    """The archive does not hold the programs as pinned."""


def unpack(
    archive: Path,
    programs: Mapping[str, str],
    *,
    directory: Path,
    limit_bytes: int = PROGRAM_BYTES,
) -> None:
    """Write the programs into ``directory``, executable.

    A file is written under the name of its program, never under a name from the archive.

    Args:
        programs: the path in the archive of each program, by the program's name.

    Raises:
        UnpackError: a program is missing, too large or not a regular file.
    """
    wanted = {PurePosixPath(member): name for name, member in programs.items()}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = wanted.pop(PurePosixPath(member.name.lstrip("/")), None)
                if name is not None:
                    _write(tar, member, target=directory / name, limit_bytes=limit_bytes)
                if not wanted:
                    return
    except (tarfile.TarError, EOFError, zlib.error) as exc:
        raise UnpackError(f"not a readable archive: {exc}") from exc
    raise UnpackError(f"the archive has no {', '.join(map(str, wanted))}")


def _write(
    tar: tarfile.TarFile, member: tarfile.TarInfo, *, target: Path, limit_bytes: int
) -> None:
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise UnpackError(f"{member.name} is not a regular file")
    if member.size > limit_bytes:
        raise UnpackError(f"{member.name} has {member.size} bytes, more than {limit_bytes}")
    with content, target.open("wb") as out:
        shutil.copyfileobj(content, out)
    target.chmod(0o755)
