"""The operator with shorter waits for what the cloud may still do or show."""

import os
import sys
from dataclasses import replace
from datetime import timedelta

from image_share_operator import process
from image_share_operator.settings import Settings
from image_share_operator.telemetry import probe_port

if __name__ == "__main__":
    short = replace(
        Settings.from_env(os.environ),
        membership_lag=timedelta(seconds=8),  # instead of 60
        late_effect=timedelta(seconds=2),  # instead of 10
        share_poll=timedelta(seconds=1),  # instead of 10
    )
    sys.exit(process.serve(short, probe_port.listen(short.metrics_port)))
