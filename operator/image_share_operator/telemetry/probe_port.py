"""Opens the port of the probes. Imports nothing that is slow: it runs before all other imports.

A probe that connects during the imports waits for the response. Without the port, kubelet would
report each of these probes as an Event `Unhealthy`.
"""

import errno
import socket


class PortError(Exception):
    """The port cannot be opened. The message says what to do."""


def listen(port: int) -> socket.socket | None:
    """Listen on all addresses of IPv4 and IPv6. With port 0, do not listen.

    Raises:
        PortError: the port is in use.
    """
    if not port:
        return None
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        raise PortError(
            f"port {port} of metrics and probes is in use; set ISA_METRICS_PORT to a free port"
        ) from exc
