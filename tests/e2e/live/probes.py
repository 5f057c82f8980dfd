"""What a process tells kubelet's probes, and Prometheus."""

import http.client
from dataclasses import dataclass

LIMIT_S = 1.0
"""Kubelet's own default."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer."""

    status: int
    text: str


def ask(port: int, path: str, *, limit_s: float = LIMIT_S) -> Told | None:
    """Return the answer; ``None`` when there is none in time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Told(answer.status, answer.read().decode())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
