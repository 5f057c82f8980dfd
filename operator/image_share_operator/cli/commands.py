"""Runs the commands and prints their results."""

import asyncio
import logging
import os
import platform
import warnings
from argparse import Namespace
from collections.abc import Sequence

from image_share_operator import __version__
from image_share_operator.api.types import (
    API_VERSION,
    Desired,
    SecretRef,
    ServiceAccountRef,
    Share,
)
from image_share_operator.cli import (
    check,
    check_report,
    completion,
    credentials,
    manifests,
    output,
    pending,
)
from image_share_operator.cli.check import Finding
from image_share_operator.cli.cloud import CloudConnection, connect
from image_share_operator.cli.exit_codes import CommandError, Exit
from image_share_operator.cli.manifests import Manifests, Resource
from image_share_operator.settings import Settings


def carry_out(asked: Namespace, settings: Settings) -> int:
    """Run the command; return the exit code.

    Raises:
        CommandError: the command cannot run.
    """
    # Logs and warnings of libraries must not appear in the output of a command.
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    match asked.command:
        case "completion":
            output.line(completion.script(asked.shell))
            return Exit.FINE
        case "status" | "reconcile" | "suspend" | "resume":
            # Imported here: no other command needs the Kubernetes client.
            from image_share_operator.cli import cluster_commands  # noqa: PLC0415

            return asyncio.run(cluster_commands.run(asked, settings))
        case "check":
            return asyncio.run(_check(asked, settings))
        case "pending":
            return asyncio.run(_pending(asked, settings))
        case _:
            return _version(asked)


def _version(asked: Namespace) -> int:
    if asked.output == "table":
        output.line(__version__)
    else:
        versions = {"version": __version__, "api": API_VERSION, "python": platform.python_version()}
        output.data(versions, asked.output)
    return Exit.FINE


async def _pending(asked: Namespace, settings: Settings) -> int:
    desired = pending.desired_of(asked, settings)
    login = await asyncio.to_thread(credentials.given, asked, os.environ)
    if login is None:
        raise CommandError(credentials.NONE)
    async with connect(settings) as connection:
        client = connection.images(pending.identity_of(desired, login))
        if asked.images_as == "selector":
            return _propose(asked, desired, await pending.find_all(client, asked))
        shares = await pending.find(client, asked)
    if asked.output == "json":
        output.data(pending.as_data(desired.project_id, shares), "json")
    elif not shares:
        kind = "is shared" if asked.all else "is pending"
        comment = "# " if asked.output == "yaml" else ""
        output.line(f"{comment}No image {kind} in project {desired.project_id}.")
    elif asked.output == "yaml":
        output.line("---\n".join(pending.manifests(asked, shares)).rstrip())
    else:
        pending.show(shares, wide=asked.output == "wide")
    return Exit.FINE


def _propose(asked: Namespace, desired: Desired, shares: Sequence[Share]) -> int:
    proposal = pending.proposal_of(asked, shares)
    if asked.output == "json":
        found = (
            pending.selector_manifest(asked, proposal) if proposal.terms else pending.NO_MANIFEST
        )
        output.data(found, "json")
    elif proposal.terms:
        output.line(pending.selector_text(asked, proposal))
    else:
        wanted = desired.decision.wanted
        output.line(f"# No image is pending or {wanted} in project {desired.project_id}.")
    return Exit.FINE


async def _check(asked: Namespace, settings: Settings) -> int:
    named = [*asked.files, *(file for row in asked.filename for file in row.split(",") if file)]
    if not named:
        raise CommandError("no manifests: set FILE, or -f FILE or -f DIRECTORY; - means stdin")
    files = manifests.expand(named, recursive=asked.recursive)
    found = await asyncio.to_thread(
        manifests.read, files + ([asked.secret] if asked.secret else [])
    )
    if not found.resources:
        raise CommandError(f"found no ImageShareAcceptance in {', '.join(named)}")
    if asked.secret and all(secret.file != asked.secret for secret in found.secrets):
        raise CommandError(f"--secret: {asked.secret} has no Secret (kind: Secret)")
    asked.secret = None  # from here on, the Secret is selected by its name, as in the operator
    async with connect(settings) as connection:
        findings = [
            await _finding(asked, settings, connection, found, one) for one in found.resources
        ]
    code = max(finding.code for finding in findings)
    if asked.output in ("table", "wide"):
        check_report.text(findings, wide=asked.output == "wide")
    else:
        output.data(check_report.as_data(findings), asked.output)
    return code


async def _finding(
    asked: Namespace,
    settings: Settings,
    connection: CloudConnection,
    found: Manifests,
    resource: Resource,
) -> Finding:
    desired = check.desired_of(resource, settings)
    if isinstance(desired, Finding):
        return desired
    try:
        login = await asyncio.to_thread(_login, asked, found, resource, desired)
    except ValueError as exc:
        return check.no_login(resource, f"{desired.credentials}: {exc}")
    if login is None:
        return check.no_login(resource, _missing(found, desired))
    return await check.check_resource(connection, resource, desired, login, settings)


def _missing(found: Manifests, desired: Desired) -> str:
    """Which credentials are missing, and how to pass them."""
    match desired.credentials:
        case SecretRef():
            held = ", ".join(secret.name for secret in found.secrets) or "none"
            return (
                f"{credentials.NONE}; or add {desired.credentials} to the files "
                f"(Secrets in the files: {held})"
            )
        case ServiceAccountRef():
            return (
                f"{credentials.NONE}. Only the operator can request tokens of {desired.credentials}"
            )


def _login(
    asked: Namespace, found: Manifests, resource: Resource, desired: Desired
) -> credentials.Login | None:
    """Return the credentials of the command line, or those of the Secret of the spec."""
    if asked.secret_dir is None and asked.os_cloud is None:
        for secret in found.secrets:
            elsewhere = secret.namespace and resource.namespace not in (None, secret.namespace)
            if desired.credentials == SecretRef(name=secret.name) and not elsewhere:
                return credentials.of_data(secret.data)
    return credentials.given(asked, os.environ)
