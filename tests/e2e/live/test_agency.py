"""One user acts for the projects of other accounts, by their agencies."""

import pytest

from e2e.live.world import LOGIN, World

AGENCY = "image-sharing"


@pytest.fixture
def account(world: World) -> str:
    """The account of another team, with a project; our user may assume agencies."""
    account = f"team-{world.namespace}"
    world.project = world.sim.add_project("eu-de_team", domain=account)
    world.user = f"agent-{world.namespace}"
    world.user_id = world.sim.add_user(world.user, world.password, agent_operator=True)
    world.secret()
    return account


def agency(account: str, name: str = AGENCY) -> dict[str, str]:
    return {"name": name, "domainName": account}


@pytest.mark.parametrize("field", ["agency_name", "xrole_name"])
def test_agency_accepts_the_shares_of_another_account(
    world: World, account: str, field: str
) -> None:
    world.sim.settings(agency_field=field)
    world.sim.add_agency(AGENCY, account)

    image = world.accept(agency=agency(account))

    assert world.membership(image) == "accepted"
    assert world.status()["actingAs"] == f"agency {AGENCY} of account {account}"
    assert f"as agency {AGENCY} of account {account}" in note(world, "Submitted")
    world.sim.settings(agency_field="both")


def test_projects_of_an_agency_share_one_base_login(world: World, account: str) -> None:
    world.sim.add_agency(AGENCY, account)
    projects = [world.project, *(world.sim.add_project(f"p-{n}", domain=account) for n in range(4))]
    before = world.sim.calls(LOGIN)

    for number, project in enumerate(projects):
        image = world.sim.add_image(shared_with=[project])
        world.apply([image], name=f"web-{number}", projectID=project, agency=agency(account))
    for number in range(len(projects)):
        world.wait_for("Accepted", f"web-{number}")

    assert world.sim.calls(LOGIN) - before == 1 + len(projects)


def test_unknown_agency_is_named_and_assumed_when_it_exists(world: World, account: str) -> None:
    world.sim.add_agency(AGENCY, account)
    world.apply([world.image()], agency=agency(account, "another"))
    ready = world.wait_for("InvalidRequest")

    assert f"as agency another of account {account}: HTTP 404" in ready["message"]
    assert "correct spec.agency" in ready["message"]
    assert "actingAs" not in world.status()

    world.edit(agency={"name": AGENCY})

    world.wait_for("Accepted")


def note(world: World, reason: str) -> str:
    url = f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    rows = world.control_plane.http.get(url).raise_for_status().json()["items"]
    return next(str(row["note"]) for row in rows if row["reason"] == reason)
