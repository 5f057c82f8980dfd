"""Draws docs/images/dashboard.png from a real run: `make picture`, about six minutes.

Starts a control plane, the simulated cloud, two replicas and a Prometheus. Runs the events of
`story`. Prometheus then evaluates the expressions of each panel. The result is stored; `--again`
draws the stored result without a run.
"""

import argparse
import contextlib
import socket
import sys
import tempfile
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path

from PIL import Image

from envtest import ROOT, SYSTEM, ControlPlane, Operator, eventually, install_rights
from otc_simulator.client import Simulator
from picture import board, draw
from picture.record import Record, ask, load
from picture.story import CHAPTERS, LASTS_S, Cast
from prom import Prometheus
from prom.server import SCRAPE_S

KEPT = ROOT / ".tmp/picture.json"
PICTURE = ROOT / "docs/images/dashboard.png"
JOB_SECONDS = "3"


def main() -> int:
    """Run, draw, print the path of the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--again", action="store_true", help="draw the last run again")
    if not parser.parse_args().again:
        _record().save(KEPT)
    figure = draw.picture(board.read(), load(KEPT))
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE)
    with Image.open(PICTURE) as drawn:
        # A third of the size. The octree keeps rare colours; the default method does not.
        few = drawn.convert("RGB").quantize(method=Image.Quantize.FASTOCTREE)
    few.save(PICTURE, optimize=True)
    print(PICTURE.relative_to(ROOT), f"{PICTURE.stat().st_size / 1000:.0f} kB")
    return 0


def _record() -> Record:
    with (
        tempfile.TemporaryDirectory(prefix="image-share-picture-") as scratch,
        _stage(Path(scratch)) as (cast, prometheus),
    ):
        began = time.time()
        marks = _play(cast, began)
        _wait_until(began + LASTS_S + 2 * SCRAPE_S)
        lines = {
            tile.title: ask(prometheus, tile, began, began + LASTS_S)
            for tile in board.read()
            if tile.asks
        }
    return Record(LASTS_S, marks, lines)


@contextlib.contextmanager
def _stage(scratch: Path) -> Generator[tuple[Cast, Prometheus]]:
    """Start all processes, and stop them at the end, also after an error."""
    with contextlib.ExitStack() as stack:
        control_plane = stack.enter_context(ControlPlane())
        control_plane.apply_crds(ROOT / "deploy/crds")
        kubeconfig = install_rights(control_plane)
        cloud = stack.enter_context(Simulator("--job-seconds", JOB_SECONDS))
        ports = _free_port(), _free_port()
        first, second = (_replica(kubeconfig, scratch, port) for port in ports)
        for replica, word in ((first, "became leader as "), (second, "standby: ")):
            replica.start()
            stack.callback(replica.terminate)
            eventually(partial(_says, replica, word))
        prometheus = stack.enter_context(Prometheus(scratch, *ports))
        eventually(lambda: prometheus.up() or None)
        yield Cast(control_plane, cloud, (first, second)), prometheus


def _replica(kubeconfig: Path, scratch: Path, port: int) -> Operator:
    return Operator(
        kubeconfig,
        scratch / f"{port}.log",
        ISA_LOG_LEVEL="info",
        ISA_METRICS_PORT=str(port),
        ISA_LEADER_ELECTION="true",
        ISA_LEASE_NAMESPACE=SYSTEM,
    )


def _play(cast: Cast, began: float) -> list[float]:
    """Run the events at their times; return the times at which they ran."""
    marks: list[float] = []
    for chapter in CHAPTERS:
        _wait_until(began + chapter.at_s)
        marks.append(time.time() - began)
        print(f"{marks[-1]:5.0f} s  {chapter.words}", flush=True)
        chapter.act(cast)
    return marks


def _says(replica: Operator, word: str) -> bool | None:
    return word in replica.log or None


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
