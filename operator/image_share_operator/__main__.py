"""The entry: from the command line to the command. Each imports what it needs, and no more."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from image_share_operator.cli import arguments
from image_share_operator.cli.exit_codes import CommandError, Exit
from image_share_operator.settings import Settings, SettingsError


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command; return the exit code."""
    asked = arguments.parse(sys.argv[1:] if argv is None else argv)
    try:
        settings = Settings.from_env(_environment(asked))
        return _run(asked, settings)
    except SettingsError as exc:
        return _refused(str(exc), Exit.USAGE)
    except CommandError as exc:
        return _refused(str(exc), exc.code)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FINE


def _run(asked: Namespace, settings: Settings) -> int:
    # The operator does not pay for the commands, nor they for it: kopf alone takes half a second.
    if asked.command == "run":
        from image_share_operator import process  # noqa: PLC0415

        return process.serve(settings)
    from image_share_operator.cli import commands  # noqa: PLC0415

    code = commands.carry_out(asked, settings)
    sys.stdout.flush()
    return code


def _environment(asked: Namespace) -> dict[str, str]:
    """The environment, with what the command line says in its place."""
    env = dict(os.environ)
    if getattr(asked, "allow_insecure_endpoints", False):
        env["ISA_ALLOW_INSECURE_ENDPOINTS"] = "true"
    for option, variable in (("log_level", "ISA_LOG_LEVEL"), ("shard", "ISA_SHARD")):
        if getattr(asked, option, None) is not None:
            env[variable] = getattr(asked, option)
    return env


def _refused(message: str, code: Exit) -> int:
    sys.stderr.write(f"{arguments.PROGRAM}: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
