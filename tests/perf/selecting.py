"""What the selection of images costs: CPU of one call, for lists of several sizes.

`python tests/perf/selecting.py`. Without sockets and objects: the pure function alone. Each figure
is the best of several calls, so that other load of the machine does not count.
"""

import random
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from figures import Figure, show
from rich.console import Console

from image_share_operator.api import patterns
from image_share_operator.api.selector import ImageSelector, OsType, SelectionPolicy, SelectorTerm
from image_share_operator.api.types import Membership, Share
from image_share_operator.planning.selection import select

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OWNER = "b" * 32
CALLS = 7
FAMILIES = 50
"""Of images, such as ``ubuntu-24.04-hardened``: each has a fiftieth of the builds."""
GROUP_BY = "^(.+)-[0-9]{8}$"
USUAL = ImageSelector(
    terms=(SelectorTerm(owner=OWNER, name="ubuntu-24.04-hardened-*"),),
    policy=SelectionPolicy(group_by=GROUP_BY, newest=3),
)
LARGEST = ImageSelector(
    terms=tuple(
        SelectorTerm(owner=OWNER, name=f"*{number:02}?04*-hard*ed-20*", os_type=OsType.LINUX)
        for number in range(24, 40)
    ),
    policy=SelectionPolicy(group_by=GROUP_BY, newest=3, min_age=timedelta(days=1), limit=500),
)
"""16 terms of one owner, none of which can be decided by the beginning of the name."""


def figures() -> list[Figure]:
    """The table. One program selects in one thread: a call of a second delays all other objects."""
    usual, all_match, many = builds(5_000), builds(5_000, families=1), builds(50_000)
    return [
        Figure("select: 5000 shares, usual term", _best_ms(USUAL, usual), "ms", ("<=", 4)),
        Figure("select: 5000 shares, all match", _best_ms(USUAL, all_match), "ms"),
        Figure("select: 50000 shares, 16 terms", _best_ms(LARGEST, many), "ms", ("<=", 1000)),
    ]


def builds(number: int, families: int = FAMILIES) -> list[Share]:
    """Shares in random order, as a server may return them."""
    shares = [
        Share(
            id=f"{index:08x}-1111-4222-8333-444455556666",
            membership=Membership.ACCEPTED,
            owner=OWNER,
            name=f"ubuntu-{24 + index % families}.04-hardened-{20260000 + index}",
            created_at=NOW - timedelta(hours=index),
            status="active",
            os_type="Linux",
        )
        for index in range(number)
    ]
    random.Random(1).shuffle(shares)  # noqa: S311 - the same order in each run
    return shares


def _best_ms(selector: ImageSelector, shares: Sequence[Share]) -> float:
    assert select(selector, shares, (), NOW).matches
    return 1000 * min(_seconds(lambda: select(selector, shares, (), NOW)) for _ in range(CALLS))


def _seconds(call: Callable[[], object]) -> float:
    """CPU of one call that has not seen the names before."""
    patterns.captured.cache_clear()
    began = time.process_time()
    call()
    return time.process_time() - began


if __name__ == "__main__":
    table = figures()
    show(Console(highlight=False), table)
    sys.exit(0 if all(figure.met for figure in table) else 1)
