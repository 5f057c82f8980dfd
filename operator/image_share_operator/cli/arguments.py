"""Parses the command line; contains the help texts."""

import argparse
from collections.abc import Callable, Sequence
from datetime import timedelta

from image_share_operator import __version__
from image_share_operator.api.fields import parse_duration

AddParser = Callable[..., argparse.ArgumentParser]
PROGRAM = "image-share-operator"
PLUGIN = "kubectl isa"
"""The program as a plugin of kubectl: the script `kubectl-isa`."""
FORMATS = ("table", "wide", "json", "yaml")
SHELLS = ("bash", "zsh", "fish")

EXITS = """\
exit codes:
  0  success
  1  an image is not shared, or a login, a permission or a Secret is missing
  2  the command line, a setting, a file or a spec is invalid
  3  the cloud API is unavailable"""

CLUSTER_EXITS = """\
exit codes:
  0  success; all resources are Ready
  1  a resource is not Ready or not found, or a permission is missing
  2  the command line is invalid, or there is no usable kubeconfig
  3  the API server is unavailable, or the timeout expired"""

CHECK_DESCRIPTION = """\
Checks each ImageShareAcceptance of the files: whether the spec is valid, whether the
login succeeds, which permission is missing, and what the operator would do with each
image. The command changes nothing in the cloud. It needs a cluster only for
--request-token, for resources with spec.serviceAccount."""

PENDING_DESCRIPTION = """\
Lists the images that other projects share with a project and that are pending. With
-o yaml, it prints an ImageShareAcceptance for these images. With --as selector, it
proposes a selector for the pending and the accepted images."""

CHECK = f"""\
examples:
  {PROGRAM} check shares.yaml                      # the file also contains the Secret
  {PROGRAM} check shares.yaml --secret secret.yaml
  {PROGRAM} check shares.yaml --os-cloud otc -o json
  {PROGRAM} check -f clusters/ -R                  # all manifests below a directory
  kustomize build . | {PROGRAM} check - --secret-dir /run/secrets/otc
  {PROGRAM} check shares.yaml --request-token      # of the ServiceAccount, by a kubeconfig

{EXITS}"""

PENDING = f"""\
examples:
  {PROGRAM} pending --region eu-de --project PROJECT_ID --secret secret.yaml
  OS_CLOUD=otc {PROGRAM} pending --region eu-de --project PROJECT_ID --all
  {PROGRAM} pending --region eu-de --project PROJECT_ID --os-cloud otc \\
      -o yaml --name base-images --namespace team-a > base-images.yaml
  {PROGRAM} pending --region eu-de --project PROJECT_ID --os-cloud otc \
      --as selector -o yaml --owner OWNER_ID --image-name 'ubuntu-*'

{EXITS}"""

STATUS_DESCRIPTION = """\
Lists the resources with their Ready condition. Below the table, it prints the messages of the
resources that are not Ready or suspended."""

RECONCILE_DESCRIPTION = """\
Requests a reconcile with the annotation ims.otc.dev/reconcile-at, and waits until each resource is
Ready or Stalled."""

SUSPEND_DESCRIPTION = """\
Sets spec.suspend to true: the operator accepts and rejects nothing more for the resource. If a
GitOps tool manages the resource, suspend it there too, or the tool reverts the change."""

RESUME_DESCRIPTION = """\
Sets spec.suspend to false, and waits until each resource is Ready or Stalled."""

STATUS = f"""\
examples:
  {PROGRAM} status -A
  {PROGRAM} status base-images --namespace team-a -o json

{CLUSTER_EXITS}"""

RECONCILE = f"""\
examples:
  {PROGRAM} reconcile base-images --namespace team-a
  {PROGRAM} reconcile --all --timeout 10m

{CLUSTER_EXITS}"""

SUSPEND = f"""\
examples:
  {PROGRAM} suspend base-images --namespace team-a
  {PROGRAM} suspend --all -A

{CLUSTER_EXITS}"""

RESUME = SUSPEND.replace("suspend", "resume")

COMPLETION = f"""\
examples:
  source <({PROGRAM} completion bash)                      # in ~/.bashrc
  {PROGRAM} completion zsh > "${{fpath[1]}}/_{PROGRAM}"
  {PROGRAM} completion fish > ~/.config/fish/completions/{PROGRAM}.fish"""

CREDENTIALS = """\
The first of these options that is set is used. Without an option, the command reads the
environment: OS_CLOUD; OS_TOKEN; OS_USERNAME, OS_PASSWORD and OS_USER_DOMAIN_NAME;
OS_USER_ID and OS_PASSWORD; or OS_ACCESS_KEY and OS_SECRET_KEY."""


def parse(argv: Sequence[str], program: str = PROGRAM) -> argparse.Namespace:
    """Parse a command line.

    Without a command, it is `run`: the image has no default arguments. The plugin of kubectl has
    no default command.
    """
    words = list(argv)
    no_command = not words or words[0].startswith("-")
    if program == PROGRAM and no_command and words[:1] not in (["-h"], ["--help"], ["--version"]):
        words.insert(0, "run")
    return parser(program).parse_args(words)


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Accepts or rejects Open Telekom Cloud image shares, as ImageShareAcceptance "
        "resources declare."
        + (" Without a command, it runs the operator." if program == PROGRAM else ""),
        epilog=f"Run '{program} COMMAND --help' for the options and examples of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    add = parser.add_subparsers(dest="command", metavar="COMMAND", required=True).add_parser
    _add_run(add)
    _add_check(add)
    _add_pending(add)
    _add_cluster_commands(add)
    _add_completion(add)
    version = add("version", help="print the version", allow_abbrev=False)
    _add_output(version, formats=("table", "json", "yaml"))
    return parser


def _add_run(add: AddParser) -> None:
    run = add(
        "run",
        help="run the operator (the default)",
        description="Runs the operator until SIGTERM. The settings are environment variables "
        "ISA_…; see docs/operations.md. An option takes precedence over its variable.",
        allow_abbrev=False,
    )
    _add_insecure(run)
    run.add_argument(
        "--log-level",
        metavar="LEVEL",
        help="debug, info, warning or error, also per component, such as info,cloud=debug "
        "(ISA_LOG_LEVEL)",
    )
    run.add_argument(
        "--shard", metavar="I/N", help="shard of the namespaces, such as 0/3 (ISA_SHARD)"
    )


def _add_check(add: AddParser) -> None:
    check = add(
        "check",
        help="compare manifests with the cloud, without changes and without a cluster",
        description=CHECK_DESCRIPTION,
        epilog=CHECK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    check.add_argument(
        "files", nargs="*", metavar="FILE", help="manifests in YAML or JSON; - for stdin"
    )
    check.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="file or directory with manifests; - for stdin; can be set more than once",
    )
    check.add_argument(
        "-R", "--recursive", action="store_true", help="also read the subdirectories of -f"
    )
    _add_credentials(check)
    cluster = check.add_argument_group("cluster, for resources with spec.serviceAccount")
    cluster.add_argument(
        "--request-token",
        action="store_true",
        help="request a token of the ServiceAccount, as the user of the kubeconfig, who needs the "
        "permission create serviceaccounts/token",
    )
    _add_kubeconfig(cluster)
    _add_insecure(check)
    _add_output(check)


def _add_pending(add: AddParser) -> None:
    pending = add(
        "pending",
        help="list the pending shares of a project; with -o yaml as a manifest",
        description=PENDING_DESCRIPTION,
        epilog=PENDING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    pending.add_argument(
        "--project", required=True, metavar="ID", help="ID of the recipient project"
    )
    _add_cloud(pending)
    _add_agency(pending)
    _add_filters(pending)
    _add_credentials(pending)
    _add_insecure(pending)
    _add_output(pending)
    _add_manifest(pending)


def _add_cloud(pending: argparse.ArgumentParser) -> None:
    pending.add_argument(
        "--region",
        help="eu-de or eu-nl; for other regions, set --iam and --ims; with --auth-url, the region "
        "of the image endpoint",
    )
    pending.add_argument("--iam", metavar="URL", help="base URL of IAM")
    pending.add_argument("--ims", metavar="URL", help="base URL of IMS")
    pending.add_argument(
        "--auth-url", metavar="URL", help="URL of Keystone, for a cloud with Keystone and Glance"
    )
    pending.add_argument(
        "--interface", help="interface of the image endpoint: public, internal or admin"
    )


def _add_agency(pending: argparse.ArgumentParser) -> None:
    pending.add_argument(
        "--agency", metavar="NAME", help="agency to assume, for a project of another account"
    )
    pending.add_argument(
        "--agency-domain-name", metavar="NAME", help="name of the account that owns the agency"
    )
    pending.add_argument(
        "--agency-domain-id", metavar="ID", help="ID of this account, instead of its name"
    )


def _add_filters(pending: argparse.ArgumentParser) -> None:
    pending.add_argument(
        "--all", action="store_true", help="also list accepted and rejected images"
    )
    pending.add_argument(
        "--owner",
        action="append",
        default=[],
        metavar="ID",
        help="only images that this project shares; can be set more than once",
    )
    pending.add_argument(
        "--image-name",
        metavar="PATTERN",
        default="*",
        help="only images with such a name; * and ? as in the spec; default: all",
    )


def _add_manifest(pending: argparse.ArgumentParser) -> None:
    manifest = pending.add_argument_group("manifest of -o yaml")
    manifest.add_argument(
        "--as",
        dest="images_as",
        choices=("list", "selector"),
        default="list",
        help="how the manifest names the images: as a list of IDs, or as a selector for these and "
        "later ones, also with -o json; default: %(default)s",
    )
    manifest.add_argument(
        "--name", default="pending-shares", help="name of the resource; default: %(default)s"
    )
    manifest.add_argument("--namespace", help="namespace of the resource; default: none")
    manifest.add_argument(
        "--secret-name",
        metavar="NAME",
        default="otc-credentials",
        help="name of the Secret with the credentials; default: %(default)s",
    )
    manifest.add_argument(
        "--decision",
        choices=("Accept", "Reject"),
        default="Accept",
        help="decision for the images; default: %(default)s",
    )


def _add_cluster_commands(add: AddParser) -> None:
    status = _add_cluster(
        add, "status", "list the resources of a cluster", STATUS_DESCRIPTION, STATUS
    )
    status.add_argument("names", nargs="*", metavar="NAME", help="name of a resource; default: all")
    _add_output(status)
    for command, summary, description, epilog in (
        ("reconcile", "request a reconcile, and wait", RECONCILE_DESCRIPTION, RECONCILE),
        ("suspend", "suspend resources", SUSPEND_DESCRIPTION, SUSPEND),
        ("resume", "resume suspended resources, and wait", RESUME_DESCRIPTION, RESUME),
    ):
        parser = _add_cluster(add, command, summary, description, epilog)
        parser.add_argument("names", nargs="*", metavar="NAME", help="name of a resource")
        parser.add_argument("--all", action="store_true", help="all resources of the namespace")
        if command != "suspend":
            parser.add_argument(
                "--timeout",
                type=_duration,
                default=timedelta(minutes=5),
                metavar="DURATION",
                help="longest wait, such as 90s or 10m; default: 5m",
            )
            parser.add_argument("--no-wait", action="store_true", help="do not wait")


def _add_cluster(
    add: AddParser, command: str, summary: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    parser = add(
        command,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    group = parser.add_argument_group("cluster")
    group.add_argument("-n", "--namespace", help="default: the namespace of the context")
    group.add_argument("-A", "--all-namespaces", action="store_true", help="all namespaces")
    _add_kubeconfig(group)
    return parser


def _add_kubeconfig(group: argparse._ArgumentGroup) -> None:  # pyright: ignore[reportPrivateUsage]  # argparse has no public name for it
    group.add_argument(
        "--kubeconfig", metavar="FILE", help="default: KUBECONFIG, then ~/.kube/config"
    )
    group.add_argument("--context", help="context of the kubeconfig; default: its current context")


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _add_completion(add: AddParser) -> None:
    completion = add(
        "completion",
        help="print the completion script of a shell",
        description="Prints a script that completes commands, options and files.",
        epilog=COMPLETION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def _add_credentials(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("credentials", CREDENTIALS)
    group.add_argument("--secret", metavar="FILE", help="file with the manifest of a Secret")
    group.add_argument(
        "--secret-dir", metavar="DIR", help="directory with one file per key of a Secret"
    )
    group.add_argument(
        "--os-cloud", metavar="NAME", help="name of a cloud in clouds.yaml (OS_CLOUD)"
    )


def _add_insecure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-insecure-endpoints",
        action="store_true",
        help="allow http:// endpoints; for tests and demos only",
    )


def _add_output(parser: argparse.ArgumentParser, formats: Sequence[str] = FORMATS) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=formats,
        default="table",
        help="output format; default: %(default)s",
    )
