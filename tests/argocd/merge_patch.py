"""JSON merge patches (RFC 7386): how Argo CD writes what an action changed. Pure."""

from typing import Any

Json = dict[str, Any]


def difference(old: Json, new: Json) -> Json:
    """The patch that makes ``new`` of ``old``."""
    patch: Json = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            inner = difference(before, value)
            if inner:
                patch[name] = inner
        elif value != before:
            patch[name] = value
    return patch


def applied(old: Json, patch: Json) -> Json:
    """``old`` after ``patch``."""
    new = dict(old)
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        elif isinstance(value, dict):
            before = new.get(name)
            new[name] = applied(before if isinstance(before, dict) else {}, value)
        else:
            new[name] = value
    return new
