"""How samples of the profiler are told by part."""

import pytest
from profile_crowd import REST, shares


def test_each_sample_is_counted_for_one_part() -> None:
    own = "image_share_operator"
    told = shares(
        [
            f"MainThread;run (uvloop/__init__.py:92);_apply ({own}/kube.py:7) 5\n",
            f"MainThread;_rounds ({own}/cloud/shares.py:9);loads (json/__init__.py:346) 2\n",
            f"Thread-1;_operate ({own}/handlers.py:9);worker (kopf/_core/queueing.py:3) 2\n",
            "MainThread;run (uvloop/__init__.py:92) 1\n",
        ]
    )

    assert list(told) == [
        "status writes and other calls to the API server",
        "lists of shares",
        "kopf: the watch, a task and an event for each new object",
        REST,
    ]
    assert list(told.values()) == pytest.approx([0.5, 0.2, 0.2, 0.1])
