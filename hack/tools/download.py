"""Downloads a pinned archive with progress and verifies its hash. Standard library only.

Proxies are those of the environment (HTTPS_PROXY, NO_PROXY, …), as in urllib.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import queue
import re
import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tools.progress import LINE_EVERY_S, Progress, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tools.archives import Archive

MIRROR = "TOOLS_MIRROR"
"""The environment variable with the base URL of a mirror, see ``location``."""
CHUNK_BYTES = 2**16
BAR_WIDTH = 20
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a download may take and how large it may be.

    Attributes:
        connect_s: per host, for name lookup, all addresses, proxy and TLS together.
        idle_s: without a byte from the server. A slow server may take as long as it needs.
        attempts: connections per archive; one that breaks off is resumed.
        size_bytes: of an archive. The largest is about 130 MB.
        report_every_s: between lines of progress where stderr is no terminal.
    """

    connect_s: float = 5.0
    idle_s: float = 30.0
    attempts: int = 3
    size_bytes: int = 512 * 2**20
    report_every_s: float = LINE_EVERY_S


DEFAULTS = Limits()


class MirrorError(Exception):
    """The mirror's URL cannot be used. The message never holds it: it may hold a password."""


class DownloadError(Exception):
    """An archive cannot be had; the message says why."""


class HashError(DownloadError):
    """A complete download is not the pinned archive."""


class _BrokenOffError(Exception):
    """The connection ended before the archive did."""


def location(url: str, mirror: str | None) -> str:
    """Return where to download ``url`` from: the mirror's URL, then host and path of ``url``.

    Raises:
        MirrorError: the mirror is no URL that can be used.
    """
    if not mirror:
        return url
    try:
        base = urlsplit(mirror)
        usable = base.scheme in ("http", "https") and base.hostname and base.username is None
    except ValueError:
        usable = False
    if not usable:
        raise MirrorError(
            f"{MIRROR} must be an http or https URL without user and password, such as "
            "https://mirror.example/tools"
        )
    original = urlsplit(url)
    return f"{mirror.rstrip('/')}/{original.netloc}{original.path}"


def partial_file(archive: Archive, directory: Path) -> Path:
    """Return the file that holds the archive while it is downloaded, also by an earlier run."""
    return directory / f"{archive.digest[:16]}.partial"


def fetch(archive: Archive, url: str, *, directory: Path, limits: Limits = DEFAULTS) -> Path:
    """Download the archive from ``url`` and return the verified file, in ``directory``.

    A file that an interrupted run has left is resumed. After an error no file is left.

    Raises:
        DownloadError: the archive cannot be had.
        HashError: what was downloaded is not the pinned archive.
    """
    file = partial_file(archive, directory)
    resumed = file.exists()
    try:
        _download(archive, url, file=file, limits=limits)
        if resumed and _digest(file, archive.algorithm) != archive.digest:
            file.unlink()  # the part of the earlier run may be damaged
            _download(archive, url, file=file, limits=limits)
        _verify(archive, url, file=file)
    except DownloadError:
        file.unlink(missing_ok=True)
        raise
    return file


def _verify(archive: Archive, url: str, *, file: Path) -> None:
    found = _digest(file, archive.algorithm)
    if found != archive.digest:
        raise HashError(
            f"{archive} from {_host(url)} is not the pinned archive: its {archive.algorithm} is "
            f"{found}, expected {archive.digest}. It was deleted and nothing in it was used. A "
            "proxy or a mirror may have changed it. If not, tell the maintainers"
        )


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _download(archive: Archive, url: str, *, file: Path, limits: Limits) -> None:
    for attempt in range(1, limits.attempts + 1):
        try:
            _receive(str(archive), url, file=file, limits=limits)
        except _BrokenOffError as exc:
            if attempt == limits.attempts:
                raise DownloadError(f"{archive}: {_host(url)}: {exc}") from exc
            say(f"{archive}: {exc}; resuming")
        else:
            return


def _receive(title: str, url: str, *, file: Path, limits: Limits) -> None:
    """Download into ``file``, after what is in it if the server can resume."""
    offset = file.stat().st_size if file.exists() else 0
    response = _open(url, limits, offset=offset)
    if response is None:  # the file is complete, or longer than the archive
        return
    with response:
        start, total = _extent(response, offset)
        size = "unknown size" if total is None else f"{total / MB:.1f} MB"
        if (total or 0) > limits.size_bytes:
            raise DownloadError(f"{title}: {size} is more than an archive may have")
        progress = Progress(title, functools.partial(_amount, total), limits.report_every_s)
        progress.count = start
        try:
            with file.open("ab" if start else "wb") as out:
                for chunk in _chunks(response, limits, host=_host(url)):
                    out.write(chunk)
                    progress.count += len(chunk)
                    progress.show()
                    if progress.count > limits.size_bytes:
                        raise DownloadError(f"{title}: more than an archive may have")
        finally:
            progress.clear()
    if total is not None and progress.count < total:
        raise _BrokenOffError(f"connection closed after {progress.count / MB:.1f} MB of {size}")


def _open(url: str, limits: Limits, *, offset: int) -> http.client.HTTPResponse | None:
    """Return the response, or ``None`` if there is nothing after ``offset``."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s): see location
    opener = urllib.request.build_opener(_Handler(limits))
    try:
        # Half of the limit for one address, so that a second one is tried.
        response: http.client.HTTPResponse = opener.open(request, timeout=limits.connect_s / 2)
    except urllib.error.HTTPError as exc:
        exc.close()
        if offset and exc.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise DownloadError(f"{_host(url)} returned HTTP {exc.code}") from exc
    except (http.client.InvalidURL, ValueError):
        # Without the cause: its text quotes the proxy's URL, which may hold a password.
        raise DownloadError(f"{_host(url)}: HTTPS_PROXY or HTTP_PROXY is not a URL") from None
    except TimeoutError as exc:  # of the response; one of the connection is a URLError
        raise DownloadError(f"{_host(url)} sent nothing for {limits.idle_s:g} s") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise DownloadError(f"{_host(url)} cannot be reached: {_cause(exc)}") from exc
    return response


def _extent(response: http.client.HTTPResponse, offset: int) -> tuple[int, int | None]:
    """Return where the body starts in the archive, and the archive's size if it is known."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        content_range = response.headers.get("Content-Range", "")
        found = re.fullmatch(rf"bytes {offset}-\d+/(\d+|\*)", content_range)
        if found is None:
            raise DownloadError(f"asked for bytes from {offset}, received {content_range!r}")
        return offset, None if found[1] == "*" else int(found[1])
    return 0, response.length


def _chunks(response: http.client.HTTPResponse, limits: Limits, *, host: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)  # what has arrived; read() waits for all of it
        except TimeoutError as exc:
            raise DownloadError(f"{host} sent nothing for {limits.idle_s:g} s") from exc
        except (ConnectionError, ssl.SSLError, http.client.HTTPException) as exc:
            raise _BrokenOffError(f"connection broke off: {_cause(exc)}") from exc
        if not chunk:
            return
        yield chunk


def _amount(total: int | None, count: int) -> str:
    if not total:
        return f"{count / MB:.1f} MB"
    bar = "#" * (BAR_WIDTH * count // total)
    return f"[{bar:-<{BAR_WIDTH}}] {count / MB:.1f} of {total / MB:.1f} MB"


def _host(url: str) -> str:
    return urlsplit(url).hostname or "?"


def _cause(exc: BaseException) -> str:
    """The cause in one line, such as ``Connection refused``."""
    reason = getattr(exc, "reason", None)  # of URLError, which wraps the cause
    if isinstance(reason, BaseException):
        return _cause(reason)
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return " ".join(text.split())


class _Bounded(http.client.HTTPConnection):
    """Limits the time to connect, then the time without a byte.

    The standard library has a limit for each address and none for the name lookup.
    """

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits

    def connect(self) -> None:
        _within(self._limits.connect_s, super().connect)
        self.sock.settimeout(self._limits.idle_s)


class _BoundedTLS(_Bounded, http.client.HTTPSConnection):
    pass


class _Handler(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_Bounded, limits=self._limits), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_BoundedTLS, limits=self._limits), req)


def _within(seconds: float, call: Callable[[], None]) -> None:
    """Run ``call`` in a thread that is left behind if it takes longer.

    Raises:
        TimeoutError: it takes longer.
    """
    outcome: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            call()
        except BaseException as exc:  # noqa: BLE001 - raised again below
            outcome.put(exc)
        else:
            outcome.put(None)

    threading.Thread(target=work, daemon=True).start()
    try:
        error = outcome.get(timeout=seconds)
    except queue.Empty:
        error = TimeoutError()
    if isinstance(error, TimeoutError):
        raise TimeoutError(f"no connection within {seconds:g} s") from error
    if error is not None:
        raise error
