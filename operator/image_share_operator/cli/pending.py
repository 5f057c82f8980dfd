"""Which shares wait for a project: as rows, or as a manifest that answers them."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from image_share_operator.api.credentials import Identity
from image_share_operator.api.errors import CloudError
from image_share_operator.api.types import API_VERSION, KIND, Desired, Membership
from image_share_operator.cli import credentials, spec_validation
from image_share_operator.cli.cloud import CloudConnection, code_of, insecure, list_offers
from image_share_operator.cli.exit_codes import CommandError
from image_share_operator.cloud.ims.listing import ListedImage
from image_share_operator.settings import Settings

ORDER = (Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED)
ANY_IMAGE = "00000000-0000-0000-0000-000000000000"
HEAD = ("IMAGE", "NAME", "OWNER", "SHARE", "OS", "CREATED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """An image that another project shares with ours."""

    membership: Membership
    offer: ListedImage


def desired_of(asked: Namespace, settings: Settings) -> Desired:
    """What the command line asks about, checked by the rules of a spec.

    Raises:
        CommandError: an option is wrong.
    """
    spec = _spec(asked, [ANY_IMAGE])
    faults = spec_validation.faults(spec)
    if not spec_validation.SUBDOMAIN.fullmatch(asked.name):
        faults.append(f"--name: {asked.name!r} is not the name of an object")
    if asked.namespace is not None and not spec_validation.NAMESPACE.fullmatch(asked.namespace):
        faults.append(f"--namespace: {asked.namespace!r} is not the name of a namespace")
    if asked.all and asked.output == "yaml":
        faults.append("--all: the manifest of -o yaml answers pending shares only")
    if faults:
        raise CommandError("; ".join(faults))
    desired = Desired.parse(spec, 0)
    if insecure(desired.endpoints) and not settings.allow_insecure_endpoints:
        raise CommandError("--iam, --ims: http:// needs --allow-insecure-endpoints")
    return desired


def _spec(asked: Namespace, images: list[str]) -> dict[str, Any]:
    """The spec that answers these images; endpoints by region where one is given."""
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
    reach: CloudConnection, desired: Desired, login: credentials.Login, wanted: Sequence[Membership]
) -> tuple[Share, ...]:
    """List the shares of the project.

    Raises:
        CommandError: the cloud did not tell.
    """
    identity = Identity(
        credentials=login.credentials,
        project_id=desired.project_id,
        endpoints=desired.endpoints,
        ca=login.ca,
    )
    ims = reach.ims(identity)
    try:
        lists = [(membership, await list_offers(ims, membership)) for membership in wanted]
    except CloudError as exc:
        raise CommandError(str(exc), code_of(exc)) from None
    return tuple(
        Share(membership=membership, offer=offer)
        for membership, offers in lists
        for offer in offers
    )


def rows(shares: Sequence[Share]) -> list[tuple[str, ...]]:
    """For a table, under `HEAD`."""
    return [
        (
            share.offer.image,
            share.offer.name or "-",
            share.offer.owner or "-",
            share.membership.value,
            share.offer.os or "-",
            share.offer.created_at or "-",
        )
        for share in shares
    ]


def as_data(project_id: str, shares: Sequence[Share]) -> Mapping[str, Any]:
    """For programs."""
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
    """Manifests that answer the shares: one for each 500 images, which is as many as fit."""
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
        text = yaml.safe_dump(document, sort_keys=False)
        for share in part:  # what an image is, beside its id; an id is in one line only
            note = f"{share.offer.name or 'without a name'}, of project {share.offer.owner}"
            vault = "; full server: needs spec.vaultID" if share.offer.whole else ""
            text = text.replace(
                f"  - {share.offer.image}\n", f"  - {share.offer.image} # {note}{vault}\n"
            )
        yield text
