"""``python -m chaos --minutes 10 --seed 1``: chaos for as long as wanted, and figures."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from chaos.model import Parameters
from chaos.monkey import Tell
from chaos.run import Verdict, run

SHOWN = 20
"""Complaints per check that are printed."""


def main() -> int:
    arguments = _parser().parse_args()
    seed = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    parameters = Parameters(
        seconds=arguments.minutes * 60,
        objects=arguments.objects,
        edits_per_s=arguments.edits_per_second,
        replicas=arguments.replicas,
    )
    _say(f"seed {seed}: {arguments.minutes:g} min of chaos with up to {arguments.objects} objects")
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    live = sys.stdout.isatty()
    verdict = run(seed, parameters, directory, _live if live else _every_tenth())
    if live:
        _say("")
    _say(told(verdict))
    if verdict.holds:
        shutil.rmtree(directory)
        return 0
    again = f"python -m chaos --minutes {arguments.minutes:g} --seed {seed}"
    _say(f"The logs are in {directory}. Again: {again} --objects {arguments.objects}")
    return 1


def told(verdict: Verdict) -> str:
    """The figures as a table, and what is wrong."""
    width = max(map(len, verdict.figures))
    lines = [f"seed {verdict.seed}"]
    lines += [f"  {name:<{width}}  {text}" for name, text in verdict.figures.items()]
    for check, complaints in verdict.complaints.items():
        lines.append(f"check {check}: {f'{len(complaints)} complaints' if complaints else 'holds'}")
        lines += [f"  {complaint}" for complaint in complaints[:SHOWN]]
        if len(complaints) > SHOWN:
            lines.append(f"  and {len(complaints) - SHOWN} more")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    plain = Parameters()
    parser.add_argument("--minutes", type=float, default=10.0, help="of chaos, before it settles")
    parser.add_argument("--seed", type=int, help="the same seed makes the same chaos")
    parser.add_argument("--objects", type=int, default=plain.objects, help="live at once")
    parser.add_argument("--edits-per-second", type=float, default=plain.edits_per_s)
    parser.add_argument("--replicas", type=int, default=plain.replicas, choices=(1, 2))
    return parser


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _live(line: str) -> None:
    sys.stdout.write(f"\r\033[K{line}")
    sys.stdout.flush()


def _every_tenth() -> Tell:
    """A line now and then is enough for a file."""
    count = 0

    def tell(line: str) -> None:
        nonlocal count
        if count % 10 == 0:
            _say(line)
        count += 1

    return tell


if __name__ == "__main__":
    sys.exit(main())
