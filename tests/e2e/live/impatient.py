"""The operator with short waits where there is no setting for them.

A watch may be silent for `SILENCE_S`, not 70 s, and logs in again without a long pause. The own
token is read again every `READ_TOKEN_S`; the `kubernetes` package reads it again each minute, and
has no setting for that.
"""

import os
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

from kubernetes.aio.config import incluster_config

from image_share_operator import process
from image_share_operator.settings import Settings
from image_share_operator.telemetry import probe_port

SILENCE_S = 4.0
LOGIN_INTERVAL_S = 0.05
READ_TOKEN_S = 0.25


def read_the_token_often() -> None:
    library: Any = incluster_config  # has no types
    begin = library.InClusterConfigLoader.__init__

    def begin_impatiently(loader: Any, *args: Any, **options: Any) -> None:
        begin(loader, *args, **options)
        loader._token_refresh_period = timedelta(seconds=READ_TOKEN_S)  # noqa: SLF001

    library.InClusterConfigLoader.__init__ = begin_impatiently


def main() -> int:
    read_the_token_often()
    short = replace(
        Settings.from_env(os.environ),
        watch_silence=timedelta(seconds=SILENCE_S),
        login_interval=timedelta(seconds=LOGIN_INTERVAL_S),  # instead of 1
    )
    return process.serve(short, probe_port.listen(short.metrics_port))


if __name__ == "__main__":
    sys.exit(main())
