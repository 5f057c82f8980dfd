"""What owners do with the images that they share, and what lists show of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract.caller import Caller
from otc_simulator.client import Simulator

LIST = "GET /v2/cloudimages"
OTHER_OWNER = "cccccccccccccccccccccccccccccc10"
MONDAY = datetime(2026, 1, 5, 4, 30, tzinfo=UTC)


def pending(recipient: Caller, **query: str) -> list[dict[str, Any]]:
    response = recipient.get(
        "/v2/cloudimages",
        visibility="shared",
        __imagetype="shared",
        member_status="pending",
        **query,
    )
    return list(response.json()["images"])


def publish(sim: Simulator, name: str = "ubuntu-20260105", **image: Any) -> str:
    return sim.publish(name, shared_with=[sim.project_id], **image)


def test_a_published_image_is_listed_as_its_owner_built_it(
    recipient: Caller, sim: Simulator
) -> None:
    image = publish(sim, created_at=MONDAY, os_type="Windows", whole=True, status="queued")
    (row,) = pending(recipient)

    assert {
        "id": image,
        "name": "ubuntu-20260105",
        "owner": sim.owner_project_id,
        "created_at": "2026-01-05T04:30:00Z",
        "__os_type": "Windows",
        "__whole_image": "true",
        "status": "queued",
    }.items() <= row.items()


def test_a_published_image_is_shared_as_late_as_shares_become_visible(
    recipient: Caller, sim: Simulator
) -> None:
    sim.settings(share_lag_seconds=60)
    publish(sim)

    assert pending(recipient) == []
    sim.advance(61)
    assert len(pending(recipient)) == 1


def test_a_renamed_image_keeps_id_shares_and_time_of_creation(
    recipient: Caller, sim: Simulator
) -> None:
    image = publish(sim, created_at=MONDAY)
    (before,) = pending(recipient)
    sim.advance(2)
    sim.rename(image, "retired")
    (row,) = pending(recipient)

    assert (row["id"], row["name"], row["created_at"]) == (image, "retired", "2026-01-05T04:30:00Z")
    assert row["updated_at"] > before["updated_at"]


def test_an_image_that_is_shared_again_is_pending_again(recipient: Caller, sim: Simulator) -> None:
    image = publish(sim)
    recipient.settled(recipient.submit([image]))
    sim.withdraw(image, sim.project_id)
    assert recipient.listed(member_status="accepted") == []

    sim.share(image, sim.project_id)

    assert recipient.listed(member_status="accepted") == []
    assert recipient.listed(member_status="pending") == [image]


def test_an_image_that_is_shared_twice_keeps_its_status(recipient: Caller, sim: Simulator) -> None:
    image = publish(sim)
    recipient.settled(recipient.submit([image]))
    sim.share(image, sim.project_id)

    assert recipient.listed(member_status="accepted") == [image]


def test_a_deactivated_image_is_listed_but_not_accepted(recipient: Caller, sim: Simulator) -> None:
    image = publish(sim)
    sim.deactivate(image)
    recipient.settled(recipient.submit([image]))

    assert [row["status"] for row in pending(recipient)] == ["deactivated"]

    sim.reactivate(image)
    recipient.settled(recipient.submit([image]))
    assert recipient.listed(member_status="accepted") == [image]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({"__os_type": "Windows"}, True, id="OS type"),
        pytest.param({"__os_type": "Linux"}, False, id="another OS type"),
        pytest.param({"created_at": "gte:2026-01-05T04:30:00Z"}, True, id="from then on"),
        pytest.param({"created_at": "gt:2026-01-05T04:30:00Z"}, False, id="later"),
        pytest.param({"created_at": "lte:2026-01-05T04:30:00Z"}, True, id="until then"),
        pytest.param({"created_at": "lt:2026-01-05T04:30:00Z"}, False, id="earlier"),
        pytest.param({"created_at": "eq:2026-01-05T04:30:00Z"}, True, id="then"),
        pytest.param({"created_at": "neq:2026-01-05T04:30:00Z"}, False, id="not then"),
        pytest.param({"created_at": "2026-01-05T04:30:00Z"}, True, id="no operator"),
        pytest.param({"updated_at": "lt:2026-01-06T00:00:00Z"}, False, id="time of the update"),
    ],
)
def test_a_list_is_narrowed_by_what_owners_set(
    recipient: Caller, sim: Simulator, query: dict[str, str], found: bool
) -> None:
    image = publish(sim, created_at=MONDAY, os_type="Windows")

    assert [row["id"] for row in pending(recipient, **query)] == ([image] if found else [])


def test_a_list_refuses_a_time_that_is_none(recipient: Caller, sim: Simulator) -> None:
    publish(sim)
    query = {"member_status": "pending", "created_at": "gte:yesterday"}

    assert recipient.get("/v2/cloudimages", **query).status_code == 400


def test_a_list_is_narrowed_to_one_of_two_owners(recipient: Caller, sim: Simulator) -> None:
    publish(sim)
    other = publish(sim, owner=OTHER_OWNER)

    assert [row["id"] for row in pending(recipient, owner=OTHER_OWNER)] == [other]


def test_the_owner_filter_may_be_ignored(recipient: Caller, sim: Simulator) -> None:
    images = {publish(sim), publish(sim, owner=OTHER_OWNER)}
    sim.fault(LIST, ignore_query=["owner"])
    rows = pending(recipient, owner=OTHER_OWNER)

    assert {row["id"] for row in rows} == images
    assert {row["owner"] for row in rows} == {OTHER_OWNER, sim.owner_project_id}


def test_only_the_later_pages_of_one_list_may_fail(recipient: Caller, sim: Simulator) -> None:
    sim.settings(max_limit=1)
    first, second = publish(sim), publish(sim)
    sim.set_membership(first, sim.project_id, "accepted")
    sim.fault(LIST, query={"marker": None, "member_status": "pending"}, status=503)
    asked = {"member_status": "pending", "marker": second}

    assert [row["id"] for row in pending(recipient)] == [second]
    assert recipient.get("/v2/cloudimages", **asked).status_code == 503
    asked = {"member_status": "accepted", "marker": first}
    assert recipient.get("/v2/cloudimages", **asked).status_code == 200


def test_an_image_may_be_withdrawn_between_two_pages(recipient: Caller, sim: Simulator) -> None:
    days = [MONDAY + timedelta(days=day) for day in range(4)]
    oldest, old, new, newest = (publish(sim, created_at=day) for day in days)
    sim.fault(LIST, withdraw=[new, oldest], count=1)
    page = [row["id"] for row in pending(recipient, limit="2")]
    query = {"member_status": "pending", "limit": "2"}

    assert page == [newest, new]
    assert recipient.get("/v2/cloudimages", marker=new, **query).status_code == 400
    assert [row["id"] for row in pending(recipient, marker=newest)] == [old]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("n" * 4096, id="4 KiB"),
        pytest.param("two\nlines\x1b[31m\x07\x00", id="control characters"),
        pytest.param("\u202egpj.exe\u2066\u200f", id="marks of right-to-left text"),
        pytest.param("", id="empty"),
    ],
)
def test_a_name_is_returned_as_its_owner_chose_it(
    recipient: Caller, sim: Simulator, name: str
) -> None:
    publish(sim, name)

    assert [row["name"] for row in pending(recipient)] == [name]


def test_a_row_may_lack_the_time_of_creation(recipient: Caller, sim: Simulator) -> None:
    publish(sim, "hidden", hidden=["created_at"], created_at=MONDAY)
    publish(sim, "empty", extra={"created_at": ""})
    rows = {row["name"]: row for row in pending(recipient)}

    assert "created_at" not in rows["hidden"]
    assert rows["empty"]["created_at"] == ""


def test_a_row_without_an_owner_is_still_found_by_its_owner(
    recipient: Caller, sim: Simulator
) -> None:
    image = publish(sim, hidden=["owner"], extra={"__os_version": "Ubuntu 24.04"})
    (row,) = pending(recipient, owner=sim.owner_project_id)

    assert (row["id"], "owner" in row) == (image, False)


def test_images_are_created_by_the_clock_of_the_cloud(recipient: Caller, sim: Simulator) -> None:
    sim.settings(clock_skew_seconds=3600)
    publish(sim)
    (row,) = pending(recipient)

    ahead = datetime.fromisoformat(row["created_at"]) - datetime.now(UTC)
    assert timedelta(minutes=55) < ahead <= timedelta(hours=1)


def test_what_owners_can_not_change_is_refused(sim: Simulator) -> None:
    image = publish(sim)

    with pytest.raises(ValueError, match="unknown keys in image: \\['owner'\\]"):
        sim.change_image(image, owner=OTHER_OWNER)
    with pytest.raises(ValueError, match="no image x"):
        sim.rename("x", "name")
    with pytest.raises(ValueError, match="no image x"):
        sim.share("x", sim.project_id)
