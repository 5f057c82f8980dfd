"""The pinned archives are complete, and are those of the pinned modules' minor versions."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tools.archives import PINS, key, read
from tools.pins import METRICS, PROGRAMS, SCHEDULER, PinError, Program

PLATFORMS = ("linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64")
WIDGETS = """
[widgets]
title = "Widgets"
version = "1.2.3"
url = "https://releases.example/{version}/widgets-{os}-{arch}.tar.gz"
programs = {widget = "widgets-{version}/widget"}
"""
HASH = "0123456789abcdef" * 4
RELEASED = [program for program in PROGRAMS if program.module is not SCHEDULER]
"""No release archive has the scheduler: a test builds it from source."""


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_program_is_in_one_archive_of_each_platform(platform: str) -> None:
    names = [name for archive in read(PINS, platform) for name in archive.programs]

    assert sorted(names) == sorted(program.name for program in RELEASED)


def test_each_platform_has_archives_and_hashes_of_its_own() -> None:
    pinned = [archive for platform in PLATFORMS for archive in read(PINS, platform)]

    assert len({archive.url for archive in pinned}) == len(pinned)
    assert len({archive.digest for archive in pinned}) == len(pinned)
    assert all(archive.url.startswith("https://") for archive in pinned)
    assert not [archive for archive in pinned if re.search(r"[{}]", archive.url)]


def minor_in_go_mod(program: Program) -> str:
    if program.module is METRICS:  # its module v0.315.1 is the release v3.15.1
        number = program.module.version().split(".")[1]
        return f"{int(number) // 100}.{int(number) % 100}"
    version = program.module.version()
    if program.name == "kubeconform":
        version = program.module.version_of("github.com/yannh/kubeconform")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    return f"{major}.{minor}"


@pytest.mark.parametrize("program", RELEASED, ids=lambda program: program.name)
def test_archive_has_the_minor_version_of_go_mod(program: Program) -> None:
    [archive] = [found for found in read(PINS, PLATFORMS[0]) if program.name in found.programs]

    assert archive.version.rpartition(".")[0] == minor_in_go_mod(program), (
        f"change hack/tools/archives.toml: {archive}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[widgets", r"archives\.toml: "),
        (WIDGETS, r"\[widgets\] needs one table of hashes: sha256 or sha512"),
        (
            f'{WIDGETS}sha512 = {{linux-arm64 = "{HASH}"}}',
            r"\[widgets\.sha512\] linux-arm64: not a hash",
        ),
        (
            WIDGETS.replace('version = "1.2.3"', "") + f'sha256 = {{linux-arm64 = "{HASH}"}}',
            r"\[widgets\] version: a text is needed",
        ),
    ],
    ids=["no TOML", "no hashes", "hash of another length", "no version"],
)
def test_error_in_the_pins_names_table_and_key(text: str, message: str, tmp_path: Path) -> None:
    pins = tmp_path / "archives.toml"
    pins.write_text(text)

    with pytest.raises(PinError, match=message):
        read(pins, "linux-arm64")


def test_another_hash_is_another_directory() -> None:
    archive = read(PINS, "linux-amd64")[0]
    other = replace(archive, digest=archive.digest[::-1])

    assert key([archive], "linux-amd64") != key([other], "linux-amd64")
