"""The command `check`: reads the memberships and plans the next step, but submits nothing."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, assert_never, cast

from image_share_operator.api.credentials import Identity
from image_share_operator.api.errors import CloudError, InvalidSpecError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.selector import ImageSelector
from image_share_operator.api.types import (
    Decision,
    Desired,
    Membership,
    OpenStack,
    SelectionVerdict,
    Share,
    Status,
)
from image_share_operator.cli import spec_validation
from image_share_operator.cli.cloud import (
    CloudConnection,
    ImageClient,
    code_of,
    insecure,
    list_offers,
    now,
)
from image_share_operator.cli.credentials import Login
from image_share_operator.cli.exit_codes import Exit
from image_share_operator.cli.manifests import Resource
from image_share_operator.cloud.coalescing.membership_lookup import MembershipLookup
from image_share_operator.cloud.coalescing.share_lists import ShareLists
from image_share_operator.cloud.ims.listing import ListedImage
from image_share_operator.planning import matching, messages, planner
from image_share_operator.planning.model import (
    ImageState,
    ListShares,
    Observation,
    PollJob,
    ReadMemberships,
    Report,
    Submit,
    Verdict,
)
from image_share_operator.planning.requeue import Policy
from image_share_operator.planning.selection import Selection, select
from image_share_operator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """The names of what the user needs in the project, as an administrator grants it.

    Attributes:
        get: to read the membership of an image.
        list: to list the shares.
        share: to accept and reject.
    """

    get: str
    list: str
    share: str


IAM = Permissions(get="ims:images:get", list="ims:images:list", share="ims:images:share")
"""Permissions of a policy in IAM."""
GLANCE = Permissions(get="get_member", list="get_images", share="modify_member")
"""Rules of the policy of Glance. Source: Glance, default policies."""


class Granted(StrEnum):
    """Whether the user has a permission."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    NOT_TRIED = "notTried"
    """Only a write request can show it, and `check` sends none."""


class LoginState(StrEnum):
    """Whether IAM issued a token, or IMS accepted the given token. The value is printed."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The cloud did not respond, or the spec is invalid."""
    NOT_TRIED = "not tried"
    """Only a token of a ServiceAccount can log in, and `check` may not request one."""
    NO_CREDENTIALS = "no credentials"
    """There are no credentials, or they cannot be read. No login was sent."""


class Action(StrEnum):
    """The action that the operator would apply to an image."""

    ACCEPT = "accept"
    REJECT = "reject"
    NOTHING = "nothing"
    WAIT = "waitForShare"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFinding:
    """The result for one image: of the spec, or that an owner in its selector shares.

    Attributes:
        share: what IMS reports of it; ``None`` for a spec that lists images.
        selection: ``None`` for an image that matches no term, and for a spec that lists images.
        message: why nothing happens, or what is wrong.
    """

    id: str
    membership: Membership
    action: Action
    message: str | None = None
    share: Share | None = None
    selection: SelectionVerdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result for one resource.

    Attributes:
        faults: errors of the spec that the API server would report. If there are any, the cloud
            API is not called.
        error: error message of the failed request, as the operator would report it.
        step: a sentence that describes the next step of the operator.
        seen: images that the owners in the selector share; ``None`` for a spec that lists images.
    """

    resource: Resource
    code: Exit
    faults: tuple[str, ...] = ()
    login: LoginState = LoginState.UNKNOWN
    rights: Mapping[str, Granted]
    images: tuple[ImageFinding, ...] = ()
    error: str | None = None
    step: str | None = None
    seen: int | None = None


NEEDS_VAULT = "a full-server image: set spec.vaultID, or IMS refuses it"
NOT_SELECTED = (Reason.NOTHING_SELECTED, Reason.LIMIT_EXCEEDED)
"""Reasons for which the resource would not become Ready, although nothing failed."""
LOGIN_FAILED = (Reason.CREDENTIALS_INVALID, Reason.ACCOUNT_LOCKED)


def desired_of(resource: Resource, settings: Settings) -> Desired | Finding:
    """Return the parsed spec, or the errors for which the API server would reject it."""
    faults = spec_validation.manifest_faults(resource.document)
    if not faults:
        spec = spec_validation.without_nulls(resource.document["spec"])
        try:
            desired = Desired.parse(cast("Mapping[str, Any]", spec), 0)
        except InvalidSpecError as exc:
            faults = [str(exc)]
        else:
            if settings.allow_insecure_endpoints or not insecure(desired.endpoints):
                return desired
            field = next(iter(desired.endpoints.urls)).rpartition(".")[0]
            faults = [
                f"{field}: http:// requires --allow-insecure-endpoints; set it, or use https://"
            ]
    return Finding(
        resource=resource, code=Exit.USAGE, faults=tuple(faults), rights=rights_of(resource)
    )


def rights_of(
    resource: Resource, get: Granted = Granted.UNKNOWN, list_: Granted = Granted.UNKNOWN
) -> dict[str, Granted]:
    """Return the permissions by their names in the cloud of the resource."""
    spec = resource.document.get("spec")
    names = GLANCE if isinstance(spec, Mapping) and spec.get("openstack") else IAM
    return {names.get: get, names.list: list_, names.share: Granted.NOT_TRIED}


def no_login(
    resource: Resource, why: str, state: LoginState = LoginState.NO_CREDENTIALS
) -> Finding:
    """Return the result for a resource without credentials."""
    return Finding(
        resource=resource,
        code=Exit.NOT_FINE,
        login=state,
        rights=rights_of(resource),
        error=why,
    )


async def check_resource(
    connection: CloudConnection,
    resource: Resource,
    desired: Desired,
    login: Login,
    settings: Settings,
) -> Finding:
    """Log in, read the memberships and the list, and plan the next step. Changes nothing."""
    identity = Identity(
        credentials=login.credentials,
        project_id=desired.project_id,
        endpoints=desired.endpoints,
        ca=login.ca,
        agency=desired.agency,
    )
    client = connection.images(identity)
    try:
        await client.authorization.log_in()
    except CloudError as exc:
        login_state = LoginState.FAILED if isinstance(exc, TerminalError) else LoginState.UNKNOWN
        return Finding(
            resource=resource,
            code=code_of(exc),
            login=login_state,
            rights=rights_of(resource),
            error=str(exc),
        )
    if desired.selector is not None:
        return await _select(client, resource, desired, desired.selector, settings)
    members = await _members(client, desired.images)
    listed = await _listed(client)
    needs_vault = frozenset[str]()
    if not isinstance(listed, CloudError) and desired.vault_id is None:
        needs_vault = frozenset(share.image for share in listed if share.whole)
    rights = rights_of(resource, _granted(members), _granted(listed))
    found = Finding(resource=resource, code=Exit.FINE, login=LoginState.OK, rights=rights)
    if isinstance(members, CloudError):
        refused = isinstance(members, TerminalError) and members.reason in LOGIN_FAILED
        login_state = LoginState.FAILED if refused else LoginState.OK
        return replace(found, code=code_of(members), login=login_state, error=str(members))
    found = _planned(found, desired, _observe(members, settings), settings)
    if desired.decision is Decision.ACCEPT:
        found = _with_vaults(found, needs_vault)
    if isinstance(listed, CloudError):
        return replace(found, code=max(found.code, code_of(listed)), error=str(listed))
    return found


async def _select(
    client: ImageClient,
    resource: Resource,
    desired: Desired,
    selector: ImageSelector,
    settings: Settings,
) -> Finding:
    """List the shares of the owners in the selector, and plan the next step."""
    shares = await _shares(client, selector.owners)
    member = await _member(client, shares)
    get = Granted.UNKNOWN if member is None else _granted(member)
    rights = rights_of(resource, get, _granted(shares))
    found = Finding(resource=resource, code=Exit.FINE, login=LoginState.OK, rights=rights)
    if isinstance(shares, CloudError):
        return replace(found, code=code_of(shares), error=str(shares))
    selection = select(selector, shares, (), now())
    memberships = {one.share.id: one.share.membership for one in selection.matches}
    observation = replace(_observe(memberships, settings), selection=selection)
    found = _planned(found, replace(desired, images=selection.selected), observation, settings)
    images = (*_of_matches(selection, found.images), *_of_others(selector, selection, shares))
    found = replace(found, images=images, seen=selection.seen)
    if isinstance(member, CloudError):
        return replace(found, code=max(found.code, code_of(member)), error=str(member))
    return found


def _of_matches(selection: Selection, selected: Sequence[ImageFinding]) -> Iterator[ImageFinding]:
    """Yield the results for the images that a term matches, selected ones first."""
    by_id = {image.id: image for image in selected}
    for match in selection.matches:
        share = match.share
        found = by_id.get(share.id) or ImageFinding(
            id=share.id,
            membership=share.membership,
            action=Action.NOTHING,
            message=match.reason,
        )
        yield replace(found, share=share, selection=match.verdict)


def _of_others(
    selector: ImageSelector, selection: Selection, shares: Sequence[Share]
) -> Iterator[ImageFinding]:
    """Yield the results for the pending and accepted images that no term matches."""
    matching_ids = {match.share.id for match in selection.matches}
    for share in matching.newest_first(shares):
        if share.id not in matching_ids and share.membership is not Membership.REJECTED:
            yield ImageFinding(
                id=share.id,
                membership=share.membership,
                action=Action.NOTHING,
                message=_mismatch(selector, share),
                share=share,
            )


def _mismatch(selector: ImageSelector, share: Share) -> str:
    """Why no term matches an image of an owner that a term names: by the first of its terms."""
    terms = [term for term in selector.terms if term.owner == share.owner]
    why = matching.mismatch(terms[0], share)
    return f"no term matches: {why}" if len(terms) == 1 else f"no term matches; first term: {why}"


async def _shares(client: ImageClient, owners: tuple[str, ...]) -> tuple[Share, ...] | CloudError:
    lists = ShareLists(client)
    try:
        found = [await lists.read(owner) for owner in owners]
    except CloudError as exc:
        return exc
    return tuple(share for shares in found for share in shares)


async def _member(
    client: ImageClient, shares: tuple[Share, ...] | CloudError
) -> Membership | CloudError | None:
    """Read one membership to test the permission for it; ``None`` if there is no share."""
    if isinstance(shares, CloudError) or not shares:
        return None
    try:
        return await client.member(shares[0].id)
    except CloudError as exc:
        return exc


async def _members(
    client: ImageClient, images: tuple[str, ...]
) -> Mapping[str, Membership | CloudError] | CloudError:
    # One image first: a lookup of many images reads lists, which need another permission.
    try:
        await client.member(images[0])
    except CloudError as exc:
        if len(images) == 1:
            return exc
    try:
        return await MembershipLookup(client).read(images, timedelta())
    except CloudError as exc:
        return exc


async def _listed(client: ImageClient) -> tuple[ListedImage, ...] | CloudError:
    try:
        return await list_offers(client, Membership.PENDING)
    except CloudError as exc:
        return exc


def _granted(result: object) -> Granted:
    if not isinstance(result, CloudError):
        return Granted.YES
    denied = isinstance(result, TerminalError) and result.reason is Reason.PERMISSION_DENIED
    return Granted.NO if denied else Granted.UNKNOWN


def _observe(members: Mapping[str, Membership | CloudError], settings: Settings) -> Observation:
    """Return the observation of a resource that has no status yet."""
    observation = Observation(status=Status(), batch_limit=settings.batch_images)
    return observation.with_results(members)


def _planned(
    found: Finding, desired: Desired, observation: Observation, settings: Settings
) -> Finding:
    """Add the plan."""
    policy = Policy(batch_images=settings.batch_images)
    verdicts = planner.image_verdicts(desired, observation, now(), policy)
    step = planner.next_step(desired, observation, now(), policy)
    absent = (ImageState.NOT_SHARED, ImageState.UNREADABLE)
    missing = any(verdict.state in absent for verdict in verdicts)
    code = Exit.NOT_FINE if missing else Exit.FINE
    match step:
        case Submit():
            sentence = _sends(desired, verdicts, settings.batch_images)
            images = tuple(_image(verdict, desired.decision) for verdict in verdicts)
        case Report():
            sentence = step.ready_summary.message
            code = Exit.NOT_FINE if step.ready_summary.reason in NOT_SELECTED else code
            images = tuple(_reported(_image(verdict, None), step) for verdict in verdicts)
        case ListShares() | ReadMemberships() | PollJob():
            raise TypeError("unexpected step: the memberships are known, and there is no job")
        case _:
            assert_never(step)
    return replace(found, code=code, images=images, step=sentence)


def _reported(image: ImageFinding, report: Report) -> ImageFinding:
    """Add what a dry run reports of the image."""
    rows = {row.id: row.message for row in report.images or ()}
    message = rows.get(image.id)
    return replace(image, message=message) if messages.is_dry_run(message) else image


def _with_vaults(found: Finding, needs_vault: Collection[str]) -> Finding:
    """Mark the images that IMS would refuse because the spec has no vault."""
    images = tuple(
        replace(image, message=NEEDS_VAULT)
        if image.action is Action.ACCEPT and image.id in needs_vault
        else image
        for image in found.images
    )
    refused = any(image.message == NEEDS_VAULT for image in images)
    return replace(found, images=images, code=Exit.NOT_FINE if refused else found.code)


def _sends(desired: Desired, verdicts: Sequence[Verdict], most: int) -> str:
    """Describe how many images would be submitted, and how many are not shared yet."""
    count = Counter(_image(verdict, desired.decision).action for verdict in verdicts)
    sent = count[Action.ACCEPT] + count[Action.REJECT]
    images = "images" if desired.selector is None else "selected images"
    words = f"Would {desired.decision.lower()} {sent} of {len(verdicts)} {images}"
    if not isinstance(desired.endpoints, OpenStack):  # Glance sets one membership per request
        batches = -(-sent // most)
        words += f" in {batches} " + ("batch" if batches == 1 else "batches")
    waiting = count[Action.WAIT]
    return f"{words}; {waiting} not shared yet." if waiting else f"{words}."


def _image(verdict: Verdict, sends: Decision | None) -> ImageFinding:
    """Return the result for one image; ``sends`` is the decision that this step submits, if any."""
    match verdict.state:
        case ImageState.NOT_SHARED:
            action = Action.WAIT
        case (
            ImageState.DONE
            | ImageState.SETTLING
            | ImageState.IN_DOUBT
            | ImageState.OVERDUE
            | ImageState.FAILED
            | ImageState.UNREADABLE
        ):
            action = Action.NOTHING
        case ImageState.CONFLICT:  # found by the operator only, which knows all resources
            action = Action.NOTHING
        case ImageState.TO_SUBMIT | ImageState.DRIFTED | ImageState.CANDIDATE:
            action = Action(sends.lower()) if sends else Action.NOTHING
        case _:
            assert_never(verdict.state)
    return ImageFinding(
        id=verdict.image, membership=verdict.membership, action=action, message=verdict.message
    )
