"""Why a request has no usable response: the closed set of errors of `transport`. No I/O."""

from enum import StrEnum

import httpx

HTTPS_PORT = 443
HTTP_PORT = 80


class Cause(StrEnum):
    """What went wrong. The value is the label ``error`` of the metric."""

    DNS = "dns"
    """The host name has no address."""
    CONNECT = "connect"
    """No connection, or no TLS."""
    CERTIFICATE = "certificate"
    """The TLS certificate is not trusted."""
    PROXY = "proxy"
    """The proxy made no connection."""
    TIMEOUT = "timeout"
    """No complete response in time."""
    BROKEN = "broken"
    """The connection was lost before the end of the response."""
    TOO_LARGE = "too_large"
    """The response is larger than the limit."""
    NOT_HTTP = "not_http"
    """The response is not HTTP, or compressed although the request accepts no compression."""


NEVER_SENT = frozenset((Cause.DNS, Cause.CONNECT, Cause.CERTIFICATE, Cause.PROXY))
"""Nothing was sent: the request has had no effect."""


class NoResponseError(httpx.TransportError):
    """There is no usable response.

    Args:
        cause: what went wrong.
        detail: the cause in words, without times, counters and paths: the status of each resource
            shows it, and a new text is a status write.
    """

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause

    def message(self, url: httpx.URL) -> str:
        """The error in one line, with host and port: equal for all requests to the endpoint."""
        what = "no connection to" if self.cause in NEVER_SENT else "no response from"
        return f"{what} {endpoint_of(url)}: {self}"


def endpoint_of(url: httpx.URL) -> str:
    """Host and port. The host as it was written: httpx cannot decode every ``xn--`` name."""
    port = url.port or (HTTPS_PORT if url.scheme == "https" else HTTP_PORT)
    return f"{url.raw_host.decode('ascii')}:{port}"
