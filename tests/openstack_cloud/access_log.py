"""The requests that a server has handled, as `serve.py` logs them."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``path`` is without the prefix of the server."""

    method: str
    path: str
    status: int


class AccessLog:
    """Reads the log of one server."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def position(self) -> int:
        """Where the log ends now, for `since`."""
        return self._file.stat().st_size if self._file.exists() else 0

    def since(self, position: int, method: str = "", path: str = "") -> list[Request]:
        """Return the requests after a position, oldest first.

        Args:
            method: only requests with this method; empty for all.
            path: only requests whose path matches this regular expression from its start.
        """
        if not self._file.exists():
            return []
        lines = self._file.read_bytes()[position:].decode().splitlines()
        all_requests = (_parsed(line) for line in lines)
        return [
            request
            for request in all_requests
            if method in ("", request.method) and re.match(path, request.path)
        ]


def _parsed(line: str) -> Request:
    method, rest = line.split(" ", 1)
    path, status = rest.rsplit(" ", 1)
    return Request(method, path, int(status))
