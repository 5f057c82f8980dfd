"""Where kube-apiserver, etcd and kubectl are; they are installed if missing."""

import subprocess
import sys
from functools import cache
from pathlib import Path

from envtest.failures import ControlPlaneError

INSTALL = Path(__file__).parents[2] / "hack/tools/install.py"


@cache
def directory() -> Path:
    """Return the directory of the programs; progress goes to stderr, minutes the first time.

    Raises:
        ControlPlaneError: they can't be installed.
    """
    call = subprocess.run(
        [sys.executable, str(INSTALL), "--quiet"], stdout=subprocess.PIPE, text=True, check=False
    )
    if call.returncode != 0:
        raise ControlPlaneError("the control plane's programs can't be installed, see above")
    return Path(call.stdout.splitlines()[-1])
