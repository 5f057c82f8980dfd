"""The command `pending`: lists the shares of a project as rows or as a manifest."""

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from image_share_operator.api import patterns
from image_share_operator.api.credentials import Identity
from image_share_operator.api.errors import CloudError
from image_share_operator.api.selector import ANY_NAME, DEFAULT_LIMIT
from image_share_operator.api.types import (
    API_VERSION,
    KIND,
    REGIONS,
    Decision,
    Desired,
    Membership,
    Share,
)
from image_share_operator.cli import (
    credentials,
    output,
    selector_proposal,
    spec_validation,
    yaml_codec,
)
from image_share_operator.cli.cloud import ImageClient, code_of, insecure, list_offers, list_shares
from image_share_operator.cli.exit_codes import CommandError
from image_share_operator.cli.selector_proposal import Proposal, ProposedTerm, TooManyImagesError
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
    "spec.openstack.authURL": "--auth-url",
    "spec.openstack.region": "--region",
    "spec.openstack.interface": "--interface",
    "spec.credentialsSecretRef.name": "--secret-name",
    "spec.agency.name": "--agency",
    "spec.agency.domainName": "--agency-domain-name",
    "spec.agency.domainID": "--agency-domain-id",
    "spec.agency": "--agency",
}
"""The option for each field that has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedShare:
    """An image that another project shares with the project."""

    membership: Membership
    offer: ListedImage


def desired_of(asked: Namespace, settings: Settings) -> Desired:
    """Return the spec that the options describe, validated by the rules of the CRD.

    Raises:
        CommandError: an option is invalid.
    """
    faults = [*_place_faults(asked), *_filter_faults(asked), *_manifest_faults(asked)]
    if faults:
        raise CommandError("; ".join(faults))
    spec = _spec(asked, {"images": [ANY_IMAGE]})
    faults = [_by_option(fault) for fault in spec_validation.faults(spec)]
    if faults:
        raise CommandError("; ".join(faults))
    desired = Desired.parse(spec, 0)
    if insecure(desired.endpoints) and not settings.allow_insecure_endpoints:
        options = "--iam, --ims" if asked.auth_url is None else "--auth-url"
        raise CommandError(f"{options}: http:// requires --allow-insecure-endpoints; use https://")
    return desired


def _place_faults(asked: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options that name the region or the endpoints."""
    known = " or ".join(REGIONS)
    if asked.auth_url is not None:
        if asked.iam is not None or asked.ims is not None:
            yield "--auth-url: not allowed with --iam and --ims; remove one of them"
        return
    if asked.interface is not None:
        yield "--interface: allowed only with --auth-url"
    if asked.region is None and asked.iam is None and asked.ims is None:
        yield f"--region is required: set it to {known}, or set --auth-url, or --iam and --ims"
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
    if asked.images_as == "selector":
        if asked.output not in ("yaml", "json"):
            yield "--as selector: requires -o yaml or -o json, which print the manifest"
        if asked.all:
            yield "--all: not allowed with --as selector, which always reads all shares"
    elif asked.all and asked.output == "yaml":
        yield "--all: not allowed with -o yaml, whose manifest contains only pending images"


def _filter_faults(asked: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options that leave out images."""
    for owner in asked.owner:
        if not selector_proposal.OWNER.fullmatch(owner):
            yield (
                f"--owner: {owner!r} is not a project ID, which is 32 lower-case hexadecimal "
                "digits or a UUID with dashes"
            )
    try:
        patterns.compile_glob(asked.image_name)
    except ValueError as exc:
        yield f"--image-name: {asked.image_name!r} {exc}"


def _by_option(fault: str) -> str:
    """Return an error of a spec with the names of the options instead of the fields."""
    for field, option in OPTIONS.items():
        fault = fault.replace(field, option)
    return fault


def _spec(asked: Namespace, images: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec with these fields, and the region or the endpoints of the options."""
    both = {"iam": asked.iam, "ims": asked.ims}
    endpoints = {name: url for name, url in both.items() if url is not None}
    cloud: dict[str, Any] = {}
    if asked.auth_url is not None:
        fields = {"region": asked.region, "interface": asked.interface}
        given = {name: text for name, text in fields.items() if text is not None}
        cloud = {"openstack": {"authURL": asked.auth_url, **given}}
    elif asked.region is not None:
        cloud = {"region": asked.region}
    elif endpoints:
        cloud = {"endpoints": endpoints}
    agency = {
        "name": asked.agency,
        "domainName": asked.agency_domain_name,
        "domainID": asked.agency_domain_id,
    }
    agency = {name: text for name, text in agency.items() if text is not None}
    return {
        **cloud,
        "projectID": asked.project,
        "decision": asked.decision,
        **images,
        "credentialsSecretRef": {"name": asked.secret_name},
        **({"agency": agency} if agency else {}),
    }


def identity_of(desired: Desired, login: credentials.Login) -> Identity:
    """Return who reads the lists, and where."""
    return Identity(
        credentials=login.credentials,
        project_id=desired.project_id,
        endpoints=desired.endpoints,
        ca=login.ca,
        agency=desired.agency,
    )


async def find(client: ImageClient, asked: Namespace) -> tuple[ListedShare, ...]:
    """List the shares of the project that the options ask for.

    Raises:
        CommandError: a list could not be read.
    """
    wanted = ORDER if asked.all else (Membership.PENDING,)
    try:
        lists = [(membership, await list_offers(client, membership)) for membership in wanted]
    except CloudError as exc:
        raise CommandError(str(exc), code_of(exc)) from None
    return tuple(
        ListedShare(membership=membership, offer=offer)
        for membership, offers in lists
        for offer in offers
        if _is_asked(asked, offer.owner, offer.name)
    )


async def find_all(client: ImageClient, asked: Namespace) -> tuple[Share, ...]:
    """List the shares for a selector: whatever their membership.

    Raises:
        CommandError: a list could not be read.
    """
    try:
        shares = await list_shares(client)
    except CloudError as exc:
        raise CommandError(str(exc), code_of(exc)) from None
    return tuple(share for share in shares if _is_asked(asked, share.owner, share.name))


def _is_asked(asked: Namespace, owner: str | None, name: str | None) -> bool:
    """Whether the options ask for images of this owner with this name."""
    by_owner = not asked.owner or owner in asked.owner
    by_name = asked.image_name == ANY_NAME or (
        name is not None and patterns.compile_glob(asked.image_name).match(name) is not None
    )
    return by_owner and by_name


def show(shares: Sequence[ListedShare], *, wide: bool) -> None:
    """Print the table; a narrow terminal shows fewer columns."""
    drop = DROP if len({share.membership for share in shares}) == 1 else DROP_OF_ALL
    dropped = output.table(HEAD, rows(shares), drop=() if wide else drop)
    if dropped:
        missing = ", ".join(title for title in HEAD if title in dropped)
        output.line()
        output.line(f"Columns that do not fit: {missing}. Use -o wide to show them.")


def rows(shares: Sequence[ListedShare]) -> list[tuple[str, ...]]:
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


def as_data(project_id: str, shares: Sequence[ListedShare]) -> Mapping[str, Any]:
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


def manifests(asked: Namespace, shares: Sequence[ListedShare]) -> Iterator[str]:
    """Yield manifests for the shares, one per 500 images: the limit of spec.images."""
    most = spec_validation.MAX_IMAGES
    parts = [shares[start : start + most] for start in range(0, len(shares), most)]
    for number, part in enumerate(parts, 1):
        name = asked.name if len(parts) == 1 else f"{asked.name}-{number}"
        images = [share.offer.image for share in part]
        text = yaml_codec.dump(_document(asked, name, {"images": images}))
        for share in part:  # add name and owner as a comment; each ID is in one line only
            note = f"{share.offer.name or 'without a name'}, owner {share.offer.owner}"
            vault = "; full-server image: set spec.vaultID" if share.offer.whole else ""
            row = f"  - {yaml_codec.scalar(share.offer.image)}"
            text = text.replace(f"{row}\n", f"{row} # {note}{vault}\n")
        yield text


def _document(asked: Namespace, name: str, images: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": asked.namespace} if asked.namespace else {})
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": _spec(asked, images),
    }


NO_MANIFEST: Mapping[str, Any] = {"apiVersion": "v1", "kind": "List", "items": []}
"""What is printed as JSON when there is no image to select; `kubectl apply` accepts it."""


def proposal_of(asked: Namespace, shares: Sequence[Share]) -> Proposal:
    """Propose a selector for the shares.

    Raises:
        CommandError: there are too many of them for one selector.
    """
    try:
        return selector_proposal.propose(shares, Decision(asked.decision))
    except TooManyImagesError as exc:
        raise CommandError(f"{exc}; set --owner or --image-name") from None


def selector_manifest(asked: Namespace, proposal: Proposal) -> Mapping[str, Any]:
    """Return the manifest with the proposed selector."""
    fields: dict[str, Any] = {
        "imageSelectorTerms": [
            {"owner": one.term.owner}
            | ({} if one.term.name == ANY_NAME else {"name": one.term.name})
            | ({"fullServer": True} if one.term.full_server else {})
            for one in proposal.terms
        ]
    }
    policy: dict[str, Any] = {}
    if proposal.group_by is not None:
        policy |= {"groupBy": proposal.group_by, "newest": proposal.newest}
    if proposal.exclude:
        policy["exclude"] = [share.id for share in proposal.exclude]
    if proposal.limit != DEFAULT_LIMIT:
        policy["limit"] = proposal.limit
    if policy:
        fields["imageSelectionPolicy"] = policy
    return _document(asked, asked.name, fields)


def selector_text(asked: Namespace, proposal: Proposal) -> str:
    """Return the manifest as YAML, with comments that say what is selected and what is not."""
    lines = yaml_codec.dump(selector_manifest(asked, proposal)).splitlines()
    notes = {
        f"    newest: {proposal.newest}": "all of today, and at least "
        f"{selector_proposal.MIN_NEWEST}; lower it to select fewer",
        **{f"    - {yaml_codec.scalar(one.id)}": _named(one) for one in proposal.exclude},
    }
    terms = iter(proposal.terms)
    text = [*_covered(proposal), *_left_out(proposal)]
    for line in lines:
        note = _term_note(next(terms)) if line.startswith("  - owner:") else notes.get(line)
        text.append(f"{line} # {note}" if note else line)
    return "\n".join(text)


def _named(share: Share) -> str:
    return f"{share.name or 'without a name'}, {share.membership}"


def _term_note(one: ProposedTerm) -> str:
    first = one.images[0].name or ""
    return first if len(one.images) == 1 else f"{len(one.images)} images, such as {first}"


def _covered(proposal: Proposal) -> Iterator[str]:
    count = Counter(share.membership for share in proposal.covered)
    words = " and ".join(_count(count[one], one) for one in ORDER if count[one])
    yield f"# This selector is for {words}, and for later ones that match."


def _left_out(proposal: Proposal) -> Iterator[str]:
    if proposal.full_servers:
        yield (
            f"# Left out: {_count(proposal.full_servers, 'full-server')}. Set fullServer: true in "
            "a term, and spec.vaultID."
        )
    if proposal.nameless:
        yield f"# Left out: {_count(proposal.nameless, 'shared')} without a name or a valid owner."


def _count(number: int, kind: str) -> str:
    return f"{number} {kind} {'image' if number == 1 else 'images'}"
