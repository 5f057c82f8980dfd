"""Agencies: a user of one account acts for another one (reference, 1.6)."""

from typing import Any

import httpx
import pytest

from contract.caller import TOKENS, Caller, code_of, password_login
from otc_simulator.client import Simulator

CUSTOMER = "customer"
AGENCY = "image-sharing"


@pytest.fixture
def project(sim: Simulator) -> str:
    """A project of a customer whose agency trusts the default account."""
    project = sim.add_project("eu-de_customer", domain=CUSTOMER)
    sim.add_agency(AGENCY, CUSTOMER)
    sim.add_user("agent", "pw", agent_operator=True)
    return project


def base_token(caller: Caller, user: str = "agent", scope: Any = "own") -> str:
    domain = {"domain": {"name": caller.sim.domain}}
    body = password_login(user, "pw", caller.sim.domain, domain if scope == "own" else scope)
    response = caller.http.post(TOKENS, json=body)
    assert response.status_code == 201, response.text
    return response.headers["X-Subject-Token"]


def assume(caller: Caller, base: str, project: str, **changes: str | None) -> httpx.Response:
    raw = {"domain_name": CUSTOMER, "agency_name": AGENCY, **changes}
    role = {name: value for name, value in raw.items() if value is not None}
    identity = {"methods": ["assume_role"], "assume_role": role}
    body = {"auth": {"identity": identity, "scope": {"project": {"id": project}}}}
    return caller.http.post(TOKENS, json=body, headers={"X-Auth-Token": base})


def test_an_agency_token_works_in_the_project_of_the_other_account(
    recipient: Caller, project: str, sim: Simulator
) -> None:
    image = sim.add_image(shared_with=[project])

    response = assume(recipient, base_token(recipient), project)

    assert response.status_code == 201
    token = response.json()["token"]
    assert token["user"]["name"] == f"{CUSTOMER}/{AGENCY}"
    assert token["assumed_by"]["user"]["name"] == "agent"
    headers = {"X-Auth-Token": response.headers["X-Subject-Token"]}
    read = recipient.http.get(f"/v2/images/{image}/members/{project}", headers=headers)
    assert read.json()["status"] == "pending"


@pytest.mark.parametrize("field", ["agency_name", "xrole_name"])
def test_only_the_chosen_field_names_an_agency(
    recipient: Caller, project: str, sim: Simulator, field: str
) -> None:
    other = "agency_name" if field == "xrole_name" else "xrole_name"
    sim.settings(agency_field=field)
    base = base_token(recipient)

    taken = assume(recipient, base, project, **{other: None, field: AGENCY})
    refused = assume(recipient, base, project, **{field: None, other: AGENCY})

    assert taken.status_code == 201
    assert code_of(refused) == (400, "IAM.0072")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"agency_name": "another"}, 404),
        ({"domain_name": "nobody"}, 404),
        ({"agency_name": None}, 400),
    ],
    ids=["unknown agency", "unknown account", "no agency"],
)
def test_a_wrong_agency_is_refused(
    recipient: Caller, project: str, changes: dict[str, str | None], status: int
) -> None:
    assert assume(recipient, base_token(recipient), project, **changes).status_code == status


def test_an_agency_does_not_reach_other_accounts(
    recipient: Caller, project: str, sim: Simulator
) -> None:
    del project

    assert assume(recipient, base_token(recipient), sim.project_id).status_code == 404


def test_an_agency_needs_the_right_and_the_trust(
    recipient: Caller, project: str, sim: Simulator
) -> None:
    sim.add_user("plain", "pw")
    sim.add_agency("for-others", CUSTOMER, trusts=sim.owner_domain)

    assert assume(recipient, base_token(recipient, "plain"), project).status_code == 403
    untrusted = assume(recipient, base_token(recipient), project, agency_name="for-others")
    assert untrusted.status_code == 403


def test_an_agency_needs_a_token_of_the_own_account(
    recipient: Caller, project: str, sim: Simulator
) -> None:
    in_project = base_token(recipient, scope={"project": {"id": sim.project_id}})
    assert assume(recipient, in_project, project).status_code == 403
    assert assume(recipient, base_token(recipient, scope=None), project).status_code == 201

    sim.settings(absent_scope="unscoped")

    assert assume(recipient, base_token(recipient, scope=None), project).status_code == 403
    assert assume(recipient, "dead", project).status_code == 401
