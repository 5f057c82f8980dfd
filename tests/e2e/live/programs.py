"""Programs for `Operator`, beside the operator as it is."""

from pathlib import Path

SHORT_WAITS = (str(Path(__file__).with_name("short_waits.py")),)
