"""The command line: what may be asked for, with examples."""

import argparse
from collections.abc import Callable, Sequence

from image_share_operator import __version__

AddParser = Callable[..., argparse.ArgumentParser]
PROGRAM = "image-share-operator"
FORMATS = ("table", "json", "yaml")

EXITS = """\
exit codes: 0 fine; 1 something would not succeed (no share, right, login or Secret);
2 wrong usage, file or spec; 3 the cloud gave no usable answer"""

CHECK = f"""\
examples:
  {PROGRAM} check shares.yaml                      # the Secret is in the file, too
  {PROGRAM} check shares.yaml --secret secret.yaml
  {PROGRAM} check shares.yaml --os-cloud otc -o json
  kustomize build . | {PROGRAM} check - --secret-dir /run/secrets/otc

{EXITS}"""

PENDING = f"""\
examples:
  {PROGRAM} pending --region eu-de --project PROJECT_ID --secret secret.yaml
  OS_CLOUD=otc {PROGRAM} pending --region eu-de --project PROJECT_ID --all
  {PROGRAM} pending --region eu-de --project PROJECT_ID --os-cloud otc \\
      -o yaml --name base-images --namespace team-a > base-images.yaml

{EXITS}"""

CREDENTIALS = """\
The first that is given counts. Without any of them: OS_CLOUD, or OS_USERNAME (or OS_USER_ID),
OS_PASSWORD and OS_USER_DOMAIN_NAME, or OS_TOKEN of the environment."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line; without a command it is `run`, as in the image's entrypoint."""
    words = list(argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "run")
    return _parser().parse_args(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Answers Open Telekom Cloud image shares as ImageShareAcceptance resources "
        "say. Without a command it runs the operator.",
        epilog=f"{PROGRAM} COMMAND --help tells more, with examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    add = parser.add_subparsers(dest="command", metavar="COMMAND", required=True).add_parser
    _add_run(add)
    _add_check(add)
    _add_pending(add)
    version = add("version", help="say which version this is", allow_abbrev=False)
    _add_output(version)
    return parser


def _add_run(add: AddParser) -> None:
    run = add(
        "run",
        help="run the operator (the default)",
        description="Runs the operator until SIGTERM. All settings are ISA_… environment "
        "variables, see docs/operations.md; an option here goes before its variable.",
        allow_abbrev=False,
    )
    _add_insecure(run)
    run.add_argument(
        "--log-level",
        metavar="LEVEL",
        help="debug, info, warning or error; of a part with its name, as in info,cloud=debug "
        "(ISA_LOG_LEVEL)",
    )
    run.add_argument(
        "--shard", metavar="I/N", help="serve this part of the namespaces, such as 0/3 (ISA_SHARD)"
    )


def _add_check(add: AddParser) -> None:
    check = add(
        "check",
        help="compare manifests with the cloud, without a cluster; change nothing",
        description="Says of each ImageShareAcceptance whether its spec is valid, whether the "
        "login works, which right is missing, and what the operator would do with each image. "
        "Nothing is sent that changes anything, and no cluster is needed.",
        epilog=CHECK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    check.add_argument(
        "files", nargs="+", metavar="FILE", help="manifests in YAML or JSON; - for stdin"
    )
    _add_credentials(check)
    _add_insecure(check)
    _add_output(check)


def _add_pending(add: AddParser) -> None:
    pending = add(
        "pending",
        help="list the shares that wait for a project; as a manifest with -o yaml",
        description="Lists the images that others share with a project and that nobody has "
        "answered. -o yaml prints an ImageShareAcceptance that answers them, ready to commit.",
        epilog=PENDING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    pending.add_argument("--project", required=True, metavar="ID", help="the recipient project")
    pending.add_argument("--region", help="eu-de or eu-nl; else both --iam and --ims")
    pending.add_argument("--iam", metavar="URL", help="endpoint of IAM")
    pending.add_argument("--ims", metavar="URL", help="endpoint of IMS")
    pending.add_argument("--all", action="store_true", help="the accepted and rejected ones, too")
    _add_credentials(pending)
    _add_insecure(pending)
    _add_output(pending)
    manifest = pending.add_argument_group("the manifest of -o yaml")
    manifest.add_argument("--name", default="pending-shares", help="default: %(default)s")
    manifest.add_argument("--namespace", help="default: none, where it is applied decides")
    manifest.add_argument("--secret-name", default="otc-credentials", help="default: %(default)s")
    manifest.add_argument(
        "--decision", choices=("Accept", "Reject"), default="Accept", help="default: %(default)s"
    )


def _add_credentials(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("credentials", CREDENTIALS)
    group.add_argument("--secret", metavar="FILE", help="manifest of a Secret")
    group.add_argument("--secret-dir", metavar="DIR", help="a Secret as files: one for each key")
    group.add_argument("--os-cloud", metavar="NAME", help="a cloud of clouds.yaml (OS_CLOUD)")


def _add_insecure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-insecure-endpoints",
        action="store_true",
        help="take http:// endpoints; for tests and demos only",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=FORMATS, default="table", help="%(default)s")
