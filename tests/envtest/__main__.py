"""`python -m envtest up`: the control plane in the foreground, until Ctrl-C."""

import argparse
import contextlib
import shlex
import signal
import sys
from pathlib import Path

from envtest.control_plane import ControlPlane
from envtest.failures import ControlPlaneError


def main() -> None:
    parser = argparse.ArgumentParser(prog="envtest")
    up = parser.add_subparsers(required=True).add_parser("up", help="run until Ctrl-C")
    up.add_argument("--dir", type=Path, help="keep logs, keys and kubeconfig here")
    up.add_argument("--crds", type=Path, help="apply these CRDs, a file or a directory")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ControlPlane(options.dir) as control_plane:
            if options.crds:
                control_plane.apply_crds(options.crds)
            where = shlex.quote(str(control_plane.admin_kubeconfig))
            sys.stdout.write(f"export KUBECONFIG={where}\n")
            sys.stdout.flush()
            sys.stderr.write("running; Ctrl-C ends it\n")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    except ControlPlaneError as exc:
        sys.exit(f"error: {exc}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
