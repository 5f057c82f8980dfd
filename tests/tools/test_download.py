"""A download is the pinned archive, or an error that says why not."""

import hashlib
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from tools.archives import Archive
from tools.download import (
    DEFAULTS,
    DownloadError,
    HashError,
    Limits,
    MirrorError,
    fetch,
    location,
    partial_file,
)
from tools.release_host import File, Host, proxying, serving, silence

BODY = bytes(range(256)) * 4096  # 1 MiB
ARCHIVE = Archive(
    title="Widgets",
    version="1.2.3",
    url="https://releases.example/v1.2.3/widgets.tar.gz",
    algorithm="sha512",
    digest=hashlib.sha512(BODY).hexdigest(),
    programs={},
)
PATIENT = Limits(connect_s=60, idle_s=60)
SOON_CONNECTED = replace(PATIENT, connect_s=0.3)
SOON_IDLE = replace(PATIENT, idle_s=0.3)
SMALL = replace(PATIENT, size_bytes=len(BODY) - 1)


@pytest.fixture
def url(host: Host) -> str:
    return f"{host.url}/widgets.tar.gz"


def test_good_archive_is_returned(host: Host, url: str, tmp_path: Path) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY)

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY


@pytest.mark.parametrize(
    "changed",
    [BODY[:-1] + b"!", BODY[:-1]],
    ids=["changed", "truncated"],
)
def test_archive_with_another_hash_is_an_error(
    changed: bytes, host: Host, url: str, tmp_path: Path
) -> None:
    host.files["widgets.tar.gz"] = File(body=changed)

    with pytest.raises(HashError) as error:
        fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT)

    assert ARCHIVE.digest in str(error.value)
    assert hashlib.sha512(changed).hexdigest() in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kept", "ranges"),
    [
        (BODY[:1000], ["bytes=1000-"]),
        (b"?" * 1000, ["bytes=1000-", ""]),
        (b"?" * len(BODY), [f"bytes={len(BODY)}-", ""]),
    ],
    ids=["good start", "damaged start", "damaged whole"],
)
def test_file_of_an_interrupted_run_is_trusted_only_with_the_hash(
    kept: bytes, ranges: list[str], host: Host, url: str, tmp_path: Path
) -> None:
    partial_file(ARCHIVE, tmp_path).write_bytes(kept)
    host.files["widgets.tar.gz"] = File(body=BODY)

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY
    assert host.ranges == ranges


@pytest.mark.parametrize(
    ("file", "limits", "message"),
    [
        (File(body=BODY, breaks=99), PATIENT, r"connection closed after 0\.\d MB of \d\.\d MB"),
        (File(body=BODY, stalls=True), SOON_IDLE, r"127\.0\.0\.1 sent nothing for 0\.3 s"),
        (File(body=BODY), SMALL, r"1\.0 MB is more than an archive may have"),
        (File(body=BODY, sized=False), SMALL, "more than an archive may have"),
        (File(body=BODY, status=404), PATIENT, r"127\.0\.0\.1 returned HTTP 404"),
    ],
    ids=["breaks", "stalls", "too large", "too large without its size", "not found"],
)
def test_download_that_fails_ends_and_leaves_nothing(
    file: File, limits: Limits, message: str, host: Host, url: str, tmp_path: Path
) -> None:
    host.files["widgets.tar.gz"] = replace(file)
    began = time.monotonic()

    with pytest.raises(DownloadError, match=message):
        fetch(ARCHIVE, url, directory=tmp_path, limits=limits)

    assert time.monotonic() - began < PATIENT.connect_s / 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("scheme", "proxied", "limits", "message"),
    [
        ("http", False, SOON_IDLE, r"sent nothing for 0\.3 s"),
        ("https", False, SOON_CONNECTED, r"no connection within 0\.3 s"),
        ("https", True, SOON_CONNECTED, r"no connection within 0\.3 s"),
    ],
    ids=["no response", "no TLS", "silent proxy"],
)
def test_silent_host_is_given_up(
    scheme: str,
    proxied: bool,
    limits: Limits,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with silence() as port:
        if proxied:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        url = ARCHIVE.url if proxied else f"{scheme}://127.0.0.1:{port}/widgets.tar.gz"

        with pytest.raises(DownloadError, match=message):
            fetch(ARCHIVE, url, directory=tmp_path, limits=limits)


def test_unreachable_host_takes_5_s_at_most() -> None:
    assert DEFAULTS.connect_s <= 5


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server needs to be releases.example, for clients with this environment."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("releases.example").configure_cert(context)
    return context


def test_proxy_of_the_environment_is_used(
    tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tls) as host, proxying(("127.0.0.1", host.port)) as (proxy, asked):
        host.files["widgets.tar.gz"] = File(body=BODY)
        monkeypatch.setenv("HTTPS_PROXY", proxy)

        assert fetch(ARCHIVE, ARCHIVE.url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY

    assert asked == ["releases.example:443"]


def test_password_of_a_proxy_is_in_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2")

    with pytest.raises(DownloadError, match="HTTPS_PROXY or HTTP_PROXY is not a URL") as error:
        fetch(ARCHIVE, ARCHIVE.url, directory=tmp_path, limits=PATIENT)

    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "mirror",
    ["mirror.example", "ftp://mirror.example", "file:///etc", "https://me:hunter2@x", "http://[x"],
)
def test_mirror_that_cannot_be_used_is_an_error(mirror: str) -> None:
    with pytest.raises(MirrorError, match="TOOLS_MIRROR must be an http or https URL") as error:
        location(ARCHIVE.url, mirror)

    assert "hunter2" not in str(error.value)
