"""The entry point: runs the command of the command line, and imports only what it needs."""

import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence

from image_share_operator.cli import arguments
from image_share_operator.cli.exit_codes import CommandError, Exit
from image_share_operator.settings import Settings, SettingsError

OPTIONS = (("log_level", "--log-level", "ISA_LOG_LEVEL"), ("shard", "--shard", "ISA_SHARD"))
"""The options of `run` that take precedence over a variable."""


def kubectl_plugin() -> int:
    """Run as `kubectl isa`; return the exit code."""
    return main(program=arguments.PLUGIN)


def main(argv: Sequence[str] | None = None, program: str = arguments.PROGRAM) -> int:
    """Run the command; return the exit code."""
    asked = arguments.parse(sys.argv[1:] if argv is None else argv, program)
    try:
        settings = Settings.from_env(_environment(asked))
        return _run(asked, settings)
    except SettingsError as exc:
        return _failed(program, _by_option(asked, str(exc)), Exit.USAGE)
    except CommandError as exc:
        return _failed(program, str(exc), exc.code)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FINE


def _run(asked: Namespace, settings: Settings) -> int:
    # Import only what the command needs: the import of kopf alone takes 0.5 s.
    if asked.command == "run":
        from image_share_operator.telemetry import probe_port  # noqa: PLC0415

        try:
            port = probe_port.listen(settings.metrics_port)
        except probe_port.PortError as exc:
            raise CommandError(str(exc), Exit.NOT_FINE) from exc
        from image_share_operator import process  # noqa: PLC0415

        return process.serve(settings, port)
    from image_share_operator.cli import commands  # noqa: PLC0415

    code = commands.carry_out(asked, settings)
    sys.stdout.flush()
    return code


def _environment(asked: Namespace) -> dict[str, str]:
    """Return the environment, with the options in place of their variables."""
    env = dict(os.environ)
    if getattr(asked, "allow_insecure_endpoints", False):
        env["ISA_ALLOW_INSECURE_ENDPOINTS"] = "true"
    for name, _, variable in OPTIONS:
        if getattr(asked, name, None) is not None:
            env[variable] = getattr(asked, name)
    return env


def _by_option(asked: Namespace, message: str) -> str:
    """Return the message with the option instead of its variable, if the option was set."""
    for name, option, variable in OPTIONS:
        if getattr(asked, name, None) is not None:
            message = message.replace(variable, option)
    return message


def _failed(program: str, message: str, code: Exit) -> int:
    text = f"{program}: {message}"
    if sys.stderr.isatty():
        from image_share_operator.cli import output  # noqa: PLC0415 - see `_run`

        text = output.wrapped(text, shutil.get_terminal_size().columns, hang=2)
    sys.stderr.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
