"""A download is the pinned archive, or an error that says why not."""

import hashlib
import re
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
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
from tools.release_host import File, Host, closed_port, proxying, serving, silence

BODY = bytes(range(256)) * 4096  # 1 MiB
ARCHIVE = Archive(
    title="Widgets",
    version="1.2.3",
    url="https://releases.example/v1.2.3/widgets.tar.gz",
    algorithm="sha512",
    digest=hashlib.sha512(BODY).hexdigest(),
    programs={},
)
PATIENT = Limits(connect_s=10, idle_s=10)
SOON_CONNECTED = replace(PATIENT, connect_s=0.3)
SOON_IDLE = replace(PATIENT, idle_s=0.3)


@pytest.fixture
def url(host: Host) -> str:
    return f"{host.url}/widgets.tar.gz"


def test_good_archive_is_returned(host: Host, url: str, tmp_path: Path) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY)

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY


def test_archive_with_another_hash_is_an_error(host: Host, url: str, tmp_path: Path) -> None:
    changed = BODY[:-1] + b"!"
    host.files["widgets.tar.gz"] = File(body=changed)

    with pytest.raises(HashError) as error:
        fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT)

    assert ARCHIVE.digest in str(error.value)
    assert hashlib.sha512(changed).hexdigest() in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_archive_that_is_published_truncated_is_an_error(
    host: Host, url: str, tmp_path: Path
) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY[:-1])

    with pytest.raises(HashError):
        fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT)

    assert list(tmp_path.iterdir()) == []


def test_connection_that_breaks_off_is_resumed(host: Host, url: str, tmp_path: Path) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY, breaks=1)

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY
    assert host.ranges == ["", f"bytes={len(BODY) // 2}-"]


def test_download_restarts_when_the_host_cannot_resume(
    host: Host, url: str, tmp_path: Path
) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY, breaks=1, ranges=False)

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY


def test_connection_that_always_breaks_off_is_an_error(
    host: Host, url: str, tmp_path: Path
) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY, breaks=99, ranges=False)

    with pytest.raises(DownloadError, match=r"connection closed after 0\.5 MB of 1\.0 MB"):
        fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT)

    assert len(host.ranges) == PATIENT.attempts
    assert list(tmp_path.iterdir()) == []


def test_file_of_an_interrupted_run_is_resumed(host: Host, url: str, tmp_path: Path) -> None:
    partial_file(ARCHIVE, tmp_path).write_bytes(BODY[:1000])
    host.files["widgets.tar.gz"] = File(body=BODY)

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY
    assert host.ranges == ["bytes=1000-"]


def test_complete_file_of_an_interrupted_run_is_used(host: Host, url: str, tmp_path: Path) -> None:
    partial_file(ARCHIVE, tmp_path).write_bytes(BODY)
    host.files["widgets.tar.gz"] = File(body=BODY)

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY
    assert host.ranges == [f"bytes={len(BODY)}-"]


@pytest.mark.parametrize("size", [1000, len(BODY), len(BODY) + 1])
def test_damaged_file_of_an_interrupted_run_is_downloaded_again(
    size: int, host: Host, url: str, tmp_path: Path
) -> None:
    partial_file(ARCHIVE, tmp_path).write_bytes(b"?" * size)
    host.files["widgets.tar.gz"] = File(body=BODY)

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY
    assert host.ranges == [f"bytes={size}-", ""]


def test_slow_download_shows_the_bytes_so_far(
    host: Host, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY, pause_s=0.01)

    fetch(ARCHIVE, url, directory=tmp_path, limits=replace(PATIENT, report_every_s=0))

    first, *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"Widgets v1\.2\.3: \[#*-+\] 0\.\d of 1\.0 MB, \d+ s", first)
    assert re.fullmatch(r"Widgets v1\.2\.3: \[#{20}\] 1\.0 of 1\.0 MB, \d+ s", last)


def test_host_that_sends_nothing_more_is_given_up(host: Host, url: str, tmp_path: Path) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY, stalls=True)

    began = time.monotonic()

    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 sent nothing for 0\.3 s"):
        fetch(ARCHIVE, url, directory=tmp_path, limits=SOON_IDLE)

    assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []


def test_host_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with silence() as port, pytest.raises(DownloadError, match=r"sent nothing for 0\.3 s"):
        fetch(
            ARCHIVE, f"http://127.0.0.1:{port}/widgets.tar.gz", directory=tmp_path, limits=SOON_IDLE
        )


def test_archive_that_is_too_large_is_an_error(host: Host, url: str, tmp_path: Path) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY)

    with pytest.raises(DownloadError, match=r"1\.0 MB is more than an archive may have"):
        fetch(ARCHIVE, url, directory=tmp_path, limits=replace(PATIENT, size_bytes=len(BODY) - 1))


def test_archive_of_unknown_size_is_returned(host: Host, url: str, tmp_path: Path) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY, sized=False)

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY


def test_archive_of_unknown_size_is_bounded(host: Host, url: str, tmp_path: Path) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY, sized=False)

    with pytest.raises(DownloadError, match="more than an archive may have"):
        fetch(ARCHIVE, url, directory=tmp_path, limits=replace(PATIENT, size_bytes=len(BODY) - 1))


@pytest.mark.parametrize("status", [403, 404, 500])
def test_refusal_is_an_error_with_its_code(
    status: int, host: Host, url: str, tmp_path: Path
) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY, status=status)

    with pytest.raises(DownloadError, match=rf"127\.0\.0\.1 returned HTTP {status}"):
        fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT)


def test_closed_port_is_an_error_with_the_cause(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}/widgets.tar.gz"

    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 cannot be reached: Connection refused"):
        fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT)


@pytest.fixture
def full_queue() -> Iterator[int]:
    """A port that drops what asks to connect, as a firewall does."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels refuse when the queue is full")
def test_host_that_drops_packets_is_given_up(full_queue: int, tmp_path: Path) -> None:
    began = time.monotonic()

    with pytest.raises(DownloadError, match=r"cannot be reached: no connection within 0\.3 s"):
        fetch(
            ARCHIVE,
            f"http://127.0.0.1:{full_queue}/widgets.tar.gz",
            directory=tmp_path,
            limits=SOON_CONNECTED,
        )

    assert time.monotonic() - began < 5


def test_host_without_tls_answer_is_given_up(tmp_path: Path) -> None:
    with silence() as port, pytest.raises(DownloadError, match=r"no connection within 0\.3 s"):
        fetch(
            ARCHIVE,
            f"https://127.0.0.1:{port}/widgets.tar.gz",
            directory=tmp_path,
            limits=SOON_CONNECTED,
        )


def test_proxy_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silence() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(DownloadError, match=r"no connection within 0\.3 s"):
            fetch(ARCHIVE, ARCHIVE.url, directory=tmp_path, limits=SOON_CONNECTED)


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


def test_proxy_is_not_used_for_hosts_in_no_proxy(
    host: Host, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.files["widgets.tar.gz"] = File(body=BODY)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(DownloadError, match="Connection refused"):
        fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT)

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    assert fetch(ARCHIVE, url, directory=tmp_path, limits=PATIENT).read_bytes() == BODY


def test_password_of_a_proxy_is_in_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2")

    with pytest.raises(DownloadError, match="HTTPS_PROXY or HTTP_PROXY is not a URL") as error:
        fetch(ARCHIVE, ARCHIVE.url, directory=tmp_path, limits=PATIENT)

    assert "hunter2" not in str(error.value)


def test_mirror_has_a_directory_for_each_host() -> None:
    mirrored = location("https://get.helm.sh/helm.tar.gz", "https://mirror.example/tools/")

    assert mirrored == "https://mirror.example/tools/get.helm.sh/helm.tar.gz"


@pytest.mark.parametrize("mirror", [None, ""])
def test_without_a_mirror_the_project_is_the_source(mirror: str | None) -> None:
    assert location(ARCHIVE.url, mirror) == ARCHIVE.url


@pytest.mark.parametrize(
    "mirror",
    ["mirror.example", "ftp://mirror.example", "file:///etc", "https://me:hunter2@x", "http://[x"],
)
def test_mirror_that_cannot_be_used_is_an_error(mirror: str) -> None:
    with pytest.raises(MirrorError, match="TOOLS_MIRROR must be an http or https URL") as error:
        location(ARCHIVE.url, mirror)

    assert "hunter2" not in str(error.value)
