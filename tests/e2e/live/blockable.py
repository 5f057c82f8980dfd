"""The operator with faults built in: its event loop, or that of its watch, can be blocked.

SIGUSR1 blocks the one for good, and SIGUSR2 for `PAUSE_S`. The first event of a namespace whose
name begins with `BLOCKS` or `PAUSES` does the same to the other.
"""

import asyncio
import os
import signal
import time
from dataclasses import fields, replace
from datetime import timedelta

from image_share_operator import process
from image_share_operator.settings import Settings
from image_share_operator.sharding import Shard
from image_share_operator.telemetry import logs, probe_port

FOR_GOOD_S = 3600.0
PAUSE_S = 5.0
BLOCKS = "blocks-the-watch"
PAUSES = "pauses-the-watch"
PAUSED: set[str] = set()
"""The namespaces of this name that were asked for."""
STUCK_S = 8.0
"""Instead of a minute."""


class BlockingShard(Shard):
    """Does not return when it is asked for a namespace of that name. The watch asks."""

    def owns(self, namespace: str) -> bool:
        if namespace.startswith(BLOCKS):
            time.sleep(FOR_GOOD_S)
        if namespace.startswith(PAUSES) and namespace not in PAUSED:
            PAUSED.add(namespace)
            time.sleep(PAUSE_S)
        return super().owns(namespace)


async def run(settings: Settings) -> None:
    """Run the operator with these faults."""
    logs.configure(settings.log_format, settings.log_levels.general, settings.log_levels.components)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, time.sleep, FOR_GOOD_S)
    loop.add_signal_handler(signal.SIGUSR2, time.sleep, PAUSE_S)
    whole = {field.name: getattr(settings.shard, field.name) for field in fields(Shard)}
    stuck = timedelta(seconds=STUCK_S)
    changed = replace(settings, shard=BlockingShard(**whole), watch_stuck=stuck)
    await process.run(changed, probe_port.listen(settings.metrics_port))


if __name__ == "__main__":
    asyncio.run(run(Settings.from_env(os.environ)))
