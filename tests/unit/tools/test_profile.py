"""How samples of the profiler are counted by part."""

from pathlib import Path

import pytest
from profile_crowd import OWN, PARTS, REST, shares

OPERATOR = Path(__file__).parents[3] / "operator"


def test_each_sample_is_counted_for_one_part() -> None:
    own = "image_share_operator"
    told = shares(
        [
            f"MainThread;run (uvloop/__init__.py:92);_apply ({own}/kube/objects.py:7) 5\n",
            f"MainThread;_f ({own}/cloud/coalescing/membership_lookup.py:9);loads (json.py:3) 2\n",
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


def test_parts_name_files_of_the_package() -> None:
    files = [file for _, part in PARTS for file in part if file.startswith(OWN)]

    assert [file for file in files if not (OPERATOR / file).exists()] == []
