"""Formats numbers with their units, as Grafana does."""

from collections.abc import Sequence

SUFFIXES = {"ops": " ops/s", "reqps": " req/s", "percentunit": "%", "none": ""}
SECONDS = ((86400.0, " day"), (3600.0, " hour"), (60.0, " min"), (1.0, " s"), (1e-3, " ms"))
BYTES = ((2.0**30, " GiB"), (2.0**20, " MiB"), (2.0**10, " KiB"), (1.0, " B"))
SMALLEST = 1e-3
"""A smaller number of seconds or bytes is shown as 0."""


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """Format a number.

    Raises:
        KeyError: the unit is unknown.
    """
    match unit:
        case "s":
            return _scaled(value, SECONDS, decimals)
        case "bytes":
            return _scaled(value, BYTES, decimals)
        case "percentunit":
            return _number(100 * value, decimals) + SUFFIXES[unit]
        case _:
            return _number(value, decimals) + SUFFIXES[unit]


def _scaled(value: float, units: Sequence[tuple[float, str]], decimals: int | None) -> str:
    """Use the largest unit in which the value is 1 or more."""
    if abs(value) < SMALLEST:
        return "0" + next(name for size, name in units if size == 1)
    size, name = next((unit for unit in units if abs(value) >= unit[0]), units[-1])
    return _number(value / size, decimals) + name


def _number(value: float, decimals: int | None) -> str:
    """Use the given decimals; by default up to three significant digits."""
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits
