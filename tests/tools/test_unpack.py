"""An archive gives the named programs and nothing else."""

import os
import tarfile
from pathlib import Path

import pytest

from tools.release_host import member, tarball
from tools.unpack import UnpackError, unpack

WANTED = {"widget": "widgets-1.2.3/widget", "gadget": "widgets-1.2.3/gadget"}
FILES = {"widgets-1.2.3/widget": b"one", "widgets-1.2.3/gadget": b"two"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive.tar.gz"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("prefix", ["", "./", "/"])
def test_programs_are_written_by_name_and_executable(
    prefix: str, archive: Path, target: Path
) -> None:
    archive.write_bytes(tarball({prefix + name: content for name, content in FILES.items()}))

    unpack(archive, WANTED, directory=target)

    assert contents(target) == {"widget": b"one", "gadget": b"two"}
    assert all(os.access(path, os.X_OK) for path in target.iterdir())


def test_other_members_are_ignored(archive: Path, target: Path) -> None:
    others = [
        (member("widgets-1.2.3", type=tarfile.DIRTYPE), b""),
        (member("widgets-1.2.3/LICENSE", size=4), b"text"),
        (member("../../widget", size=4), b"evil"),
        (member("/etc/widget", size=4), b"evil"),
        (member("widgets-1.2.3/../widget", size=4), b"evil"),
        (member("elsewhere", type=tarfile.SYMTYPE, linkname="/etc"), b""),
    ]
    archive.write_bytes(tarball(FILES, *others))

    unpack(archive, WANTED, directory=target)

    assert contents(target) == {"widget": b"one", "gadget": b"two"}
    assert sorted(path.name for path in target.parent.iterdir()) == ["archive.tar.gz", "target"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_program_that_is_no_regular_file_is_an_error(
    kind: bytes, archive: Path, target: Path
) -> None:
    link = member("widgets-1.2.3/widget", type=kind, linkname="/etc/passwd")
    archive.write_bytes(tarball({}, (link, b"")))

    with pytest.raises(UnpackError, match=r"widgets-1\.2\.3/widget is not a regular file"):
        unpack(archive, WANTED, directory=target)

    assert contents(target) == {}


def test_program_that_is_too_large_is_an_error(archive: Path, target: Path) -> None:
    archive.write_bytes(tarball(FILES))

    with pytest.raises(UnpackError, match="has 3 bytes, more than 2"):
        unpack(archive, WANTED, directory=target, limit_bytes=2)

    assert contents(target) == {}


def test_missing_program_is_an_error_with_its_path(archive: Path, target: Path) -> None:
    archive.write_bytes(tarball({"widgets-1.2.3/widget": b"one"}))

    with pytest.raises(UnpackError, match=r"the archive has no widgets-1\.2\.3/gadget"):
        unpack(archive, WANTED, directory=target)


@pytest.mark.parametrize("keep", [0, 20, 600])
def test_file_that_is_no_whole_archive_is_an_error(keep: int, archive: Path, target: Path) -> None:
    archive.write_bytes(tarball(FILES)[:keep])

    with pytest.raises(UnpackError):
        unpack(archive, WANTED, directory=target)
