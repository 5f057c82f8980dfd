"""Where kube-apiserver, etcd and kubectl are; they are built when they are nowhere."""

import subprocess
import sys
from functools import cache
from pathlib import Path

from envtest.failures import ControlPlaneError

BUILD = Path(__file__).parents[2] / "hack" / "tools" / "build.py"


@cache
def directory() -> Path:
    """Return the directory of the programs; progress goes to stderr, minutes the first time.

    Raises:
        ControlPlaneError: they can't be built.
    """
    call = subprocess.run(
        [sys.executable, str(BUILD)], stdout=subprocess.PIPE, text=True, check=False
    )
    if call.returncode != 0:
        raise ControlPlaneError("the control plane's programs can't be built, see above")
    return Path(call.stdout.splitlines()[-1])
