"""The two image lists: the reference's section 5."""

import pytest

from contract.caller import Caller
from otc_simulator.client import Simulator

LISTS = ("/v2/cloudimages", "/v2/images")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("status", ["pending", "accepted", "rejected"])
def test_a_list_shows_the_shares_of_the_asked_status(
    recipient: Caller, sim: Simulator, path: str, status: str
) -> None:
    images = {
        each: sim.add_image(shared_with=[sim.project_id], status=each)
        for each in ("pending", "accepted", "rejected")
    }

    assert recipient.listed(path, member_status=status) == [images[status]]


def test_without_a_status_accepted_ones_are_listed(recipient: Caller, sim: Simulator) -> None:
    sim.add_image(shared_with=[sim.project_id])
    accepted = sim.add_image(shared_with=[sim.project_id], status="accepted")

    assert recipient.listed() == [accepted]


def test_shares_of_other_projects_are_not_listed(recipient: Caller, sim: Simulator) -> None:
    sim.add_image(shared_with=[sim.add_project("eu-de_other")])

    assert recipient.listed(member_status="pending") == []


def test_own_images_that_are_shared_out_are_listed_too(recipient: Caller, sim: Simulator) -> None:
    own = sim.add_image(owner=sim.project_id, shared_with=[sim.owner_project_id])
    private = sim.add_image(owner=sim.project_id)

    assert recipient.listed(member_status="pending") == [own]
    rows = recipient.get("/v2/cloudimages", owner=sim.project_id).json()["images"]
    assert {row["id"] for row in rows} == {own, private}


def test_rows_tell_owner_and_type_but_no_member_status(recipient: Caller, sim: Simulator) -> None:
    sim.add_image(shared_with=[sim.project_id])
    response = recipient.get("/v2/cloudimages", member_status="pending")
    (row,) = response.json()["images"]

    assert list(response.json()) == ["images"]
    assert row["owner"] == sim.owner_project_id
    assert (row["visibility"], row["__imagetype"], row["status"]) == ("shared", "shared", "active")
    assert "member_status" not in row
    assert "__whole_image" not in row


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({"name": "wanted"}, True, id="name, exact"),
        pytest.param({"name": "want"}, False, id="name, in part"),
        pytest.param({"owner": Simulator.owner_project_id}, True, id="owner"),
        pytest.param({"owner": Simulator.project_id}, False, id="another owner"),
        pytest.param({"status": "active"}, True, id="status"),
        pytest.param({"status": "killed"}, False, id="another status"),
        pytest.param({"__whole_image": "true"}, True, id="full-ECS"),
        pytest.param({"__whole_image": "false"}, False, id="not full-ECS"),
        pytest.param({"visibility": "public"}, False, id="public"),
        pytest.param({"__imagetype": "private"}, False, id="private"),
        pytest.param({"no_such_filter": "x"}, True, id="unknown filters narrow nothing"),
    ],
)
def test_a_list_is_narrowed_by(
    recipient: Caller, sim: Simulator, query: dict[str, str], found: bool
) -> None:
    image = sim.add_image(shared_with=[sim.project_id], name="wanted", whole=True)
    rows = recipient.get("/v2/cloudimages", member_status="pending", **query).json()["images"]

    assert [row["id"] for row in rows] == ([image] if found else [])


def test_a_list_is_narrowed_to_one_id(recipient: Caller, sim: Simulator) -> None:
    first, _ = sim.add_images(2, shared_with=[sim.project_id])

    assert recipient.listed(member_status="pending", id=first) == [first]


def test_public_images_are_everybody_s(recipient: Caller, sim: Simulator) -> None:
    image = sim.add_image(public=True)
    rows = recipient.get("/v2/images", visibility="public").json()["images"]

    assert [(row["id"], row["__imagetype"]) for row in rows] == [(image, "gold")]


def test_the_newest_comes_first_unless_asked_otherwise(recipient: Caller, sim: Simulator) -> None:
    old = sim.add_image(shared_with=[sim.project_id], created_at="2024-01-01T00:00:00+00:00")
    new = sim.add_image(shared_with=[sim.project_id], created_at="2025-01-01T00:00:00+00:00")

    assert recipient.listed(member_status="pending") == [new, old]
    assert recipient.listed(member_status="pending", sort_dir="asc") == [old, new]


@pytest.mark.parametrize(("path", "default"), [("/v2/cloudimages", 500), ("/v2/images", 25)])
def test_a_page_has_the_default_length(
    recipient: Caller, sim: Simulator, path: str, default: int
) -> None:
    sim.add_images(501, shared_with=[sim.project_id])

    assert len(recipient.listed(path, member_status="pending")) == default


def test_markers_lead_through_all_pages_without_doubles(recipient: Caller, sim: Simulator) -> None:
    images = sim.add_images(7, shared_with=[sim.project_id])
    pages = [recipient.listed(member_status="pending", limit="3")]
    while len(pages[-1]) == 3:
        marker = pages[-1][-1]
        pages.append(recipient.listed(member_status="pending", limit="3", marker=marker))

    assert [len(page) for page in pages] == [3, 3, 1]
    assert {image for page in pages for image in page} == set(images)


def test_next_links_are_relative_and_lead_through_all_pages(
    recipient: Caller, sim: Simulator
) -> None:
    images = sim.add_images(60, shared_with=[sim.project_id])
    link = "/v2/images?member_status=pending&visibility=shared&__imagetype=shared"
    seen: list[str] = []
    while link:
        assert link.startswith("/v2/images?")
        told = recipient.send("GET", link).json()
        seen += [row["id"] for row in told["images"]]
        link = told.get("next", "")

    assert len(seen) == 60
    assert set(seen) == set(images)


@pytest.mark.parametrize(
    "query",
    [
        {"marker": "11111111-2222-4333-8444-555555555555"},
        {"limit": "-1"},
        {"limit": "many"},
        {"member_status": "all"},
        {"visibility": "hidden"},
        {"sort_key": "nonsense"},
    ],
)
@pytest.mark.parametrize("path", LISTS)
def test_a_list_refuses(
    recipient: Caller, sim: Simulator, path: str, query: dict[str, str]
) -> None:
    sim.add_image(shared_with=[sim.project_id])
    asked = {"member_status": "pending"} | query

    assert recipient.send("GET", path, params=asked).status_code == 400


def test_a_page_is_never_longer_than_the_chosen_most(recipient: Caller, sim: Simulator) -> None:
    sim.settings(max_limit=2)
    sim.add_images(3, shared_with=[sim.project_id])

    assert len(recipient.listed(member_status="pending", limit="100")) == 2
    assert "next" in recipient.get("/v2/images", member_status="pending", limit="100").json()


def test_the_type_filter_may_hide_pending_shares(recipient: Caller, sim: Simulator) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    sim.settings(imagetype_hides_pending=True)
    rows = recipient.get("/v2/cloudimages", member_status="pending", visibility="shared").json()

    assert recipient.listed(member_status="pending") == []
    assert [row["id"] for row in rows["images"]] == [image]


def test_a_list_shows_each_change_at_once(recipient: Caller, sim: Simulator) -> None:
    def pending() -> list[str]:
        rows = recipient.get("/v2/cloudimages", member_status="pending").json()["images"]
        return sorted(row["name"] for row in rows)

    first = sim.publish("a", shared_with=[sim.project_id])
    assert pending() == ["a"]
    second = sim.publish("b", shared_with=[sim.project_id])
    third = sim.publish("c", shared_with=[sim.project_id])
    assert pending() == ["a", "b", "c"]
    sim.rename(first, "d")
    assert pending() == ["b", "c", "d"]
    sim.set_membership(first, sim.project_id, "accepted")
    assert pending() == ["b", "c"]
    sim.withdraw(second, sim.project_id)
    assert pending() == ["c"]
    sim.delete_image(third)
    assert pending() == []
