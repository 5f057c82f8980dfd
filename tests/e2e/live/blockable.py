"""The operator, with two faults built in: its loop, or that of its watch, can be blocked for good.

By SIGUSR1 the one; the other by an object in a namespace whose name begins with `BLOCKS`.
"""

import asyncio
import os
import signal
import time
from dataclasses import fields, replace

from image_share_operator import process
from image_share_operator.settings import Settings
from image_share_operator.sharding import Shard
from image_share_operator.telemetry import logs

FOR_GOOD_S = 3600.0
BLOCKS = "blocks-the-watch"


class BlockingShard(Shard):
    """Never comes back to who asks for a namespace of the bad name. The watch asks."""

    def owns(self, namespace: str) -> bool:
        if namespace.startswith(BLOCKS):
            time.sleep(FOR_GOOD_S)
        return super().owns(namespace)


async def run(settings: Settings) -> None:
    """Run the operator as ever, with the faults at hand."""
    logs.configure(settings.log_format, settings.log_level, settings.log_areas)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, time.sleep, FOR_GOOD_S)
    whole = {field.name: getattr(settings.shard, field.name) for field in fields(Shard)}
    await process.run(replace(settings, shard=BlockingShard(**whole)))


if __name__ == "__main__":
    asyncio.run(run(Settings.from_env(os.environ)))
