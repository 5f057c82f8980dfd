"""``python -m otc_simulator``: prints one JSON line when ready, then serves until told to stop."""

import argparse
import asyncio
import json
import signal
import ssl
from pathlib import Path

from otc_simulator.defaults import SEED
from otc_simulator.server import Address, application, serve
from otc_simulator.settings import Settings, changed
from otc_simulator.world import World


def main() -> None:
    arguments = _parser().parse_args()
    settings = changed(
        Settings(),
        {
            "job_seconds": arguments.job_seconds,
            "latency_seconds": arguments.latency_seconds,
        },
    )
    seed = json.loads(arguments.seed.read_text("utf-8")) if arguments.seed else SEED
    address = Address(host=arguments.host, port=arguments.port, tls=_tls(arguments))
    asyncio.run(_run(World(settings, seed), address))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m otc_simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--job-seconds", type=float, default=1.0)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--tls-cert", type=Path, help="PEM; with --tls-key, serve https")
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--seed", type=Path, help="JSON, instead of the default accounts")
    return parser


def _tls(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if arguments.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(arguments.tls_cert, arguments.tls_key)
    return context


async def _run(world: World, address: Address) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(application(world), address, stop)


if __name__ == "__main__":
    main()
