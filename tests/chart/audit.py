"""The audit log of the API server: what an account asked for."""

import json
from collections.abc import Iterator

from chart.programs import Json
from envtest import ControlPlane


def entries(control_plane: ControlPlane, account: str, *, uri: str = "/") -> Iterator[Json]:
    """Yield the requests of the account, oldest first.

    Args:
        account: the user name, as in ``system:serviceaccount:NAMESPACE:NAME``.
        uri: how the path of the request begins. A line without it is not parsed: the log is long.
    """
    marks = (f'"username":"{account}"', f'"requestURI":"{uri}')
    with control_plane.audit_log.open() as lines:
        for line in lines:
            if line.endswith("\n") and all(mark in line for mark in marks):
                yield json.loads(line)


def account_of(namespace: str, name: str) -> str:
    """Return the user name of a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{name}"
