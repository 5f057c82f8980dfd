"""Runs the commands and prints their results."""

import asyncio
import logging
import os
import platform
import shlex
import warnings
from argparse import Namespace
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from image_share_operator import __version__
from image_share_operator.api.credentials import ServiceAccountCredentials
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
from image_share_operator.cli.check import Finding, LoginState
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
    async with _connect(asked, settings) as (connection, namespace):
        findings = [
            await _finding(asked, settings, connection, found, _placed(one, namespace))
            for one in found.resources
        ]
    code = max(finding.code for finding in findings)
    if asked.output in ("table", "wide"):
        check_report.text(findings, wide=asked.output == "wide")
    else:
        output.data(check_report.as_data(findings), asked.output)
    return code


@asynccontextmanager
async def _connect(
    asked: Namespace, settings: Settings
) -> AsyncGenerator[tuple[CloudConnection, str | None]]:
    """Open the cloud, and the cluster if it is asked; yield the namespace of its context, too."""
    if not _asks_cluster(asked):
        async with connect(settings) as connection:
            yield connection, None
        return
    # Imported here: without the option, `check` needs no Kubernetes client.
    from image_share_operator.cli import id_tokens  # noqa: PLC0415

    async with (
        id_tokens.connect(asked, settings) as requester,
        connect(settings, requester) as connection,
    ):
        yield connection, requester.namespace


def _asks_cluster(asked: Namespace) -> bool:
    """Whether tokens are requested; a kubeconfig has no other use in this command."""
    return bool(asked.request_token or asked.kubeconfig or asked.context)


def _placed(resource: Resource, namespace: str | None) -> Resource:
    """Add the namespace of the context, as kubectl does."""
    return replace(resource, namespace=resource.namespace or namespace)


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
        match desired.credentials:
            case SecretRef():
                return check.no_login(resource, _missing(found, desired.credentials))
            case ServiceAccountRef():
                why = _not_tried(resource, desired.credentials)
                return check.no_login(resource, why, LoginState.NOT_TRIED)
    return await check.check_resource(connection, resource, desired, login, settings)


def _missing(found: Manifests, ref: SecretRef) -> str:
    """Which credentials are missing, and how to pass them."""
    held = ", ".join(secret.name for secret in found.secrets) or "none"
    return f"{credentials.NONE}; or add {ref} to the files (Secrets in the files: {held})"


def _not_tried(resource: Resource, ref: ServiceAccountRef) -> str:
    """Say that no token was requested, and how to request one."""
    place = f" --namespace {shlex.quote(resource.namespace)}" if resource.namespace else ""
    command = f"kubectl create token {ref.name}{place} --audience {shlex.quote(ref.audience)}"
    return (
        f"not tried: the login with a token of {ref}, and all reads with it. Set --request-token: "
        f"the command requests a token as the user of the kubeconfig, like `{command}`. Or set "
        "other credentials, such as --os-cloud, to read the images with them"
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
        ref = desired.credentials
        if isinstance(ref, ServiceAccountRef) and _asks_cluster(asked):
            account = ServiceAccountCredentials(
                namespace=resource.namespace or "",
                name=ref.name,
                identity_provider=ref.identity_provider,
                audience=ref.audience,
            )
            return credentials.Login(credentials=account)
    return credentials.given(asked, os.environ)
