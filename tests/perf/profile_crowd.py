"""Where the operator's time goes while a crowd becomes Ready.

`python tests/perf/profile_crowd.py`. A sampling profiler reads the running process from outside;
each sample is counted for the first part below that has a frame in its stack. The raw samples stay
in `.tmp/profile.txt`, for flame graphs. It needs the right to look into a child of one's own
(ptrace), which some containers do not give.
"""

import argparse
import asyncio
import contextlib
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

from cluster import Cluster
from stages import machine

from envtest import ROOT, ControlPlane, Operator
from otc_simulator.client import Simulator

RAW = ROOT / ".tmp/profile.txt"
PER_SECOND = 200
OWN = "image_share_operator"
PARTS = (
    ("kopf: the watch, a task and an event for each new object", ("kopf/",)),
    ("logs", ("logging/__init__.py",)),
    ("Events", (f"{OWN}/kube/event_recorder.py",)),
    ("status writes and other calls to the API server", (f"{OWN}/kube/",)),
    ("lists of shares", (f"{OWN}/cloud/coalescing/membership_lookup.py",)),
    ("batches, jobs, tokens", (f"{OWN}/cloud/",)),
    (
        "results and statuses",
        (f"{OWN}/controller/status_writer.py", f"{OWN}/controller/pass_result.py"),
    ),
    (
        "the execution of the plan",
        (f"{OWN}/controller/plan_executor.py", f"{OWN}/controller/reconciler.py"),
    ),
    (
        "queue and store",
        (
            f"{OWN}/controller/workers.py",
            f"{OWN}/controller/workqueue.py",
            f"{OWN}/controller/object_store.py",
        ),
    ),
)
REST = "event loops, TLS, what no part shows"


def shares(lines: Iterable[str]) -> dict[str, float]:
    """Which part had how much of all samples, most first.

    Args:
        lines: stacks as profilers fold them, the outermost frame first: ``a;b;c 17``.
    """
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        found[_part(stack)] += int(count)
    total = found.total()
    return {part: count / total for part, count in found.most_common()}


def _part(stack: str) -> str:
    named = (part for part, files in PARTS if any(file in stack for file in files))
    return next(named, REST)


@contextlib.contextmanager
def _sampled(pid: int) -> Generator[None]:
    """Sample a process; who holds the interpreter's lock is who works."""
    RAW.parent.mkdir(exist_ok=True)
    RAW.unlink(missing_ok=True)
    options = ("--rate", str(PER_SECOND), "--gil", "--threads", "--nonblocking", "--format", "raw")
    program = Path(sys.executable).parent / "py-spy"
    profiler = subprocess.Popen(
        (program, "record", "--pid", str(pid), "--output", RAW, "--duration", "600", *options),
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        profiler.send_signal(signal.SIGINT)
        profiler.wait(timeout=60)


async def _crowd(
    control_plane: ControlPlane, cloud: Simulator, operator: Operator, objects: int
) -> float:
    async with Cluster(control_plane, cloud) as cluster:
        await cluster.run(1)
        with _sampled(operator.pid):
            return (await cluster.run(objects)).seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Profile one crowd; print the parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--objects", type=int, default=3000)
    objects: int = parser.parse_args(argv).objects
    with machine() as (control_plane, cloud, (operator,)):
        operator.start()
        try:
            seconds = asyncio.run(_crowd(control_plane, cloud, operator, objects))
        finally:
            operator.terminate()
    if not RAW.exists():
        sys.stderr.write("the profiler may not look into processes here (ptrace): see above\n")
        return 1
    with RAW.open() as lines:
        told = shares(lines)
    sys.stdout.write(f"{objects} objects Ready in {seconds:.1f} s, with the profiler's own cost\n")
    for part, share in told.items():
        sys.stdout.write(f"{share:6.1%}  {part}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
