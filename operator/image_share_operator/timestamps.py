"""Times as text. No clock."""

from datetime import UTC, datetime


def zulu(at: datetime, exact: str) -> str:
    """The time in UTC, with a Z: as the API server writes times, and readers of logs expect them.

    Args:
        exact: seconds, milliseconds or microseconds.
    """
    return at.astimezone(UTC).isoformat(timespec=exact).replace("+00:00", "Z")
