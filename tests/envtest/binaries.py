"""Where the programs of tests are; they are installed if missing."""

import subprocess
import sys
from functools import cache
from pathlib import Path

from envtest.failures import ControlPlaneError

INSTALL = Path(__file__).parents[2] / "hack/tools/install.py"


@cache
def directory(*names: str) -> Path:
    """Return the directory of the programs; progress goes to stderr, minutes the first time.

    Args:
        names: of one directory, e.g. helm and kubeconform; none is the control plane.

    Raises:
        ControlPlaneError: they can't be installed.
    """
    call = subprocess.run(
        [sys.executable, str(INSTALL), "--quiet", *names],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if call.returncode != 0:
        raise ControlPlaneError("the programs can't be installed, see above")
    return Path(call.stdout.splitlines()[-1])
