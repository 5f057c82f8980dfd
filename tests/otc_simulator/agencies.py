"""IAM: agencies, by which a user acts for another account (reference, 1.6)."""

from collections.abc import Mapping
from typing import Any

from otc_simulator import answers
from otc_simulator.identity import Account, Token, User
from otc_simulator.world import World

FIELDS = ("agency_name", "xrole_name")


def assumed(world: World, caller: Token, identity: Mapping[str, Any]) -> User:
    """Return the user of the agency that the caller assumes; raises RefusalError."""
    directory = world.cloud.directory
    raw = identity.get("assume_role")
    if not isinstance(raw, Mapping):
        raise answers.iam(400, "IAM.0072", "'assume_role' is a required property.")
    name = _agency_name(world, raw)
    user = directory.users[caller.user_id]
    if caller.project_id is not None or caller.unscoped or not user.agent_operator:
        raise answers.iam(403, "IAM.0002", "You are not authorized to perform the action.")
    account = _account(world, raw)
    agency = None if account is None else directory.agencies.get((account.id, name))
    if agency is None:
        raise answers.iam(404, "IAM.0004", "Could not find the requested object.")
    if agency.trusted_account_id != caller.account_id:
        raise answers.iam(403, "IAM.0003", "Policy doesn't allow the action to be performed.")
    return directory.users[agency.user_id]


def _agency_name(world: World, raw: Mapping[str, Any]) -> str:
    chosen = world.settings.agency_field
    known = FIELDS if chosen == "both" else (chosen,)
    found = next((raw[field] for field in known if field in raw), None)
    if not isinstance(found, str) or set(raw) & set(FIELDS) - set(known):
        raise answers.iam(400, "IAM.0072", f"{known[0]!r} is a required property.")
    return found


def _account(world: World, raw: Mapping[str, Any]) -> Account | None:
    directory = world.cloud.directory
    if "domain_id" in raw:
        return directory.accounts.get(raw["domain_id"])
    return directory.account_named(raw.get("domain_name", ""))
