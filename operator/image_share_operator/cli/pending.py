"""The command `pending`: lists the shares of a project as rows or as a manifest."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from image_share_operator.api.credentials import Identity
from image_share_operator.api.errors import CloudError
from image_share_operator.api.types import API_VERSION, KIND, REGIONS, Desired, Membership
from image_share_operator.cli import credentials, output, spec_validation, yaml_codec
from image_share_operator.cli.cloud import CloudConnection, code_of, insecure, list_offers
from image_share_operator.cli.exit_codes import CommandError
from image_share_operator.cloud.ims.listing import ListedImage
from image_share_operator.settings import Settings

ORDER = (Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED)
ANY_IMAGE = "00000000-0000-0000-0000-000000000000"
HEAD = ("IMAGE", "NAME", "OWNER", "SHARE", "OS", "CREATED")
DROP = ("CREATED", "OS", "SHARE", "OWNER")
"""Columns that a narrow terminal does not show, the first one first."""
DROP_OF_ALL = ("CREATED", "OS", "OWNER", "SHARE")
"""The same, for a table of shares with different memberships."""
OPTIONS = {
    "spec.projectID": "--project",
    "spec.region": "--region",
    "spec.endpoints.iam": "--iam",
    "spec.endpoints.ims": "--ims",
    "spec.credentialsSecretRef.name": "--secret-name",
}
"""The option for each field that has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """An image that another project shares with the project."""

    membership: Membership
    offer: ListedImage


def desired_of(asked: Namespace, settings: Settings) -> Desired:
    """Return the spec that the options describe, validated by the rules of the CRD.

    Raises:
        CommandError: an option is invalid.
    """
    faults = [*_place_faults(asked), *_manifest_faults(asked)]
    if faults:
        raise CommandError("; ".join(faults))
    spec = _spec(asked, [ANY_IMAGE])
    faults = [_by_option(fault) for fault in spec_validation.faults(spec)]
    if faults:
        raise CommandError("; ".join(faults))
    desired = Desired.parse(spec, 0)
    if insecure(desired.endpoints) and not settings.allow_insecure_endpoints:
        raise CommandError(
            "--iam, --ims: http:// requires --allow-insecure-endpoints; use https://"
        )
    return desired


def _place_faults(asked: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options that name the region or the endpoints."""
    known = " or ".join(REGIONS)
    if asked.region is None and asked.iam is None and asked.ims is None:
        yield f"--region is required: set it to {known}, or set --iam and --ims"
    elif asked.region is not None and (asked.iam is not None or asked.ims is not None):
        yield (
            "--region: not allowed with --iam and --ims, because the region determines the "
            "endpoints; remove one of them"
        )
    elif asked.region is not None and asked.region not in REGIONS:
        yield f"--region: {asked.region!r} is unknown; use {known}, or set --iam and --ims"
    elif asked.region is None and asked.iam is None:
        yield "--iam is required with --ims: set the base URL of IAM"
    elif asked.region is None and asked.ims is None:
        yield "--ims is required with --iam: set the base URL of IMS"


def _manifest_faults(asked: Namespace) -> Iterator[str]:
    if not spec_validation.SUBDOMAIN.fullmatch(asked.name):
        yield f"--name: {asked.name!r} is not a valid name of a resource"
    if asked.namespace is not None and not spec_validation.NAMESPACE.fullmatch(asked.namespace):
        yield f"--namespace: {asked.namespace!r} is not a valid name of a namespace"
    if asked.all and asked.output == "yaml":
        yield "--all: not allowed with -o yaml, whose manifest contains only pending images"


def _by_option(fault: str) -> str:
    """Return an error of a spec with the names of the options instead of the fields."""
    for field, option in OPTIONS.items():
        fault = fault.replace(field, option)
    return fault


def _spec(asked: Namespace, images: list[str]) -> dict[str, Any]:
    """Return a spec for these images, with the region or the endpoints of the options."""
    both = {"iam": asked.iam, "ims": asked.ims}
    endpoints = {name: url for name, url in both.items() if url is not None}
    return {
        **({"region": asked.region} if asked.region is not None else {}),
        **({"endpoints": endpoints} if endpoints else {}),
        "projectID": asked.project,
        "decision": asked.decision,
        "images": images,
        "credentialsSecretRef": {"name": asked.secret_name},
    }


async def find(
    connection: CloudConnection,
    desired: Desired,
    login: credentials.Login,
    wanted: Sequence[Membership],
) -> tuple[Share, ...]:
    """List the shares of the project.

    Raises:
        CommandError: a list could not be read.
    """
    identity = Identity(
        credentials=login.credentials,
        project_id=desired.project_id,
        endpoints=desired.endpoints,
        ca=login.ca,
    )
    ims = connection.ims(identity)
    try:
        lists = [(membership, await list_offers(ims, membership)) for membership in wanted]
    except CloudError as exc:
        raise CommandError(str(exc), code_of(exc)) from None
    return tuple(
        Share(membership=membership, offer=offer)
        for membership, offers in lists
        for offer in offers
    )


def show(shares: Sequence[Share], *, wide: bool) -> None:
    """Print the table; a narrow terminal shows fewer columns."""
    drop = DROP if len({share.membership for share in shares}) == 1 else DROP_OF_ALL
    dropped = output.table(HEAD, rows(shares), drop=() if wide else drop)
    if dropped:
        missing = ", ".join(title for title in HEAD if title in dropped)
        output.line()
        output.line(f"Columns that do not fit: {missing}. Use -o wide to show them.")


def rows(shares: Sequence[Share]) -> list[tuple[str, ...]]:
    """Return the rows of the table with the columns of `HEAD`."""
    return [
        (
            share.offer.image,
            share.offer.name or "-",
            share.offer.owner or "-",
            share.membership.value,
            _os(share.offer),
            share.offer.created_at or "-",
        )
        for share in shares
    ]


def _os(offer: ListedImage) -> str:
    name = offer.os or "-"
    return f"{name}, full server" if offer.whole else name


def as_data(project_id: str, shares: Sequence[Share]) -> Mapping[str, Any]:
    """Return the data for JSON output."""
    return {
        "project": project_id,
        "shares": [
            {
                "image": share.offer.image,
                "membership": share.membership.value,
                "name": share.offer.name,
                "owner": share.offer.owner,
                "status": share.offer.status,
                "os": share.offer.os,
                "minDiskGiB": share.offer.min_disk_gb,
                "createdAt": share.offer.created_at,
                "fullServer": share.offer.whole,
            }
            for share in shares
        ],
    }


def manifests(asked: Namespace, shares: Sequence[Share]) -> Iterator[str]:
    """Yield manifests for the shares, one per 500 images: the limit of spec.images."""
    most = spec_validation.MAX_IMAGES
    parts = [shares[start : start + most] for start in range(0, len(shares), most)]
    for number, part in enumerate(parts, 1):
        name = asked.name if len(parts) == 1 else f"{asked.name}-{number}"
        metadata = {"name": name} | ({"namespace": asked.namespace} if asked.namespace else {})
        document = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": metadata,
            "spec": _spec(asked, [share.offer.image for share in part]),
        }
        text = yaml_codec.dump(document)
        for share in part:  # add name and owner as a comment; each ID is in one line only
            note = f"{share.offer.name or 'without a name'}, owner {share.offer.owner}"
            vault = "; full-server image: set spec.vaultID" if share.offer.whole else ""
            row = f"  - {yaml_codec.scalar(share.offer.image)}"
            text = text.replace(f"{row}\n", f"{row} # {note}{vault}\n")
        yield text
