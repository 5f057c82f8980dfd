"""Reads which release archives are pinned. Standard library only; no network."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.pins import PinError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PINS = Path(__file__).resolve().parent / "archives.toml"
DIGEST_DIGITS = {"sha256": 64, "sha512": 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A release archive for one platform.

    Attributes:
        title: the project, for people.
        version: without a leading ``v``.
        url: where the project publishes it.
        algorithm: of the digest; a name that hashlib knows.
        digest: in lower-case hexadecimal digits.
        programs: the path in the archive of each program, by the program's name.
    """

    title: str
    version: str
    url: str
    algorithm: str
    digest: str
    programs: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.title} v{self.version}"


def read(path: Path, platform: str) -> tuple[Archive, ...]:
    """Return the archives for a platform such as ``linux-amd64``, in the order of the file.

    Raises:
        PinError: the file is not as it must be; names the table and the key.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as exc:
        raise PinError(f"{path}: {exc}") from exc
    try:
        found = [_archive(name, table, platform) for name, table in tables.items()]
    except PinError as exc:
        raise PinError(f"{path}: {exc}") from exc
    return tuple(archive for archive in found if archive is not None)


def key(archives: Sequence[Archive], platform: str) -> str:
    """Name the directory of the programs of these archives: another hash is another directory.

    Args:
        archives: at least one; the version in the name is that of the first.
    """
    digest = hashlib.sha256(" ".join(archive.digest for archive in archives).encode())
    return f"v{archives[0].version}-prebuilt-{digest.hexdigest()[:12]}-{platform}"


def _archive(name: str, table: Any, platform: str) -> Archive | None:
    """Return the archive for the platform, or ``None`` where none is pinned for it."""
    algorithms = [algorithm for algorithm in DIGEST_DIGITS if algorithm in table]
    if len(algorithms) != 1:
        raise PinError(f"[{name}] needs one table of hashes: {' or '.join(DIGEST_DIGITS)}")
    algorithm = algorithms[0]
    digest = table[algorithm].get(platform)
    if digest is None:
        return None
    if not re.fullmatch(rf"[0-9a-f]{{{DIGEST_DIGITS[algorithm]}}}", digest):
        raise PinError(f"[{name}.{algorithm}] {platform}: not a hash in lower-case hexadecimal")
    system, _, machine = platform.partition("-")
    version = _text(name, table, "version")

    def filled(template: str) -> str:
        return template.format(version=version, os=system, arch=machine)

    return Archive(
        title=_text(name, table, "title"),
        version=version,
        url=filled(_text(name, table, "url")),
        algorithm=algorithm,
        digest=digest,
        programs={
            program: filled(_text(name, table["programs"], program))
            for program in table.get("programs", {})
        },
    )


def _text(name: str, table: Any, field: str) -> str:
    text = table.get(field)
    if not isinstance(text, str) or not text:
        raise PinError(f"[{name}] {field}: a text is needed")
    return text
