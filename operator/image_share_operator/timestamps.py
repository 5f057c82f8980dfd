"""Formats times. Reads no clock."""

from datetime import UTC, datetime


def zulu(at: datetime, exact: str) -> str:
    """Return the time in UTC with the suffix Z, as the API server formats it.

    Args:
        exact: precision: seconds, milliseconds or microseconds.
    """
    return at.astimezone(UTC).isoformat(timespec=exact).replace("+00:00", "Z")
