"""Fault modes of connections, time and lists: the reference's last section."""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection

import httpx
import pytest

from contract.caller import MEMBERS, Caller, memberships
from otc_simulator.client import Simulator

PUT = f"PUT {MEMBERS}"
JOB = "GET /v1/{project_id}/jobs/{job_id}"
MEMBER = "GET /v2/images/{image_id}/members/{member_id}"
LIST = "GET /v2/cloudimages"


@pytest.mark.parametrize(("handle", "after"), [(False, "pending"), (True, "accepted")])
def test_a_connection_may_be_reset_before_or_after_the_work(
    recipient: Caller, sim: Simulator, images: list[str], handle: bool, after: str
) -> None:
    recipient.login()
    sim.fault(PUT, reset=True, handle=handle, count=1)
    with pytest.raises(httpx.ReadError):
        recipient.answer(images)
    sim.advance(5)

    assert memberships(sim, images) == [after] * 3
    assert [call["status"] for call in sim.journal(PUT)] == [0]
    assert recipient.answer(images).status_code == 200


def test_json_may_be_cut_short_in_a_well_framed_body(recipient: Caller, sim: Simulator) -> None:
    sim.fault(LIST, truncate="body")
    response = recipient.get("/v2/cloudimages")

    assert response.status_code == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        response.json()


def test_a_body_may_end_before_its_announced_length(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    recipient.login()
    sim.fault(PUT, truncate="connection", count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        recipient.answer(images)
    sim.advance(5)

    assert memberships(sim, images) == ["accepted"] * 3


def test_an_answer_may_be_late(recipient: Caller, sim: Simulator) -> None:
    recipient.login()
    sim.fault(LIST, delay_seconds=5)
    with pytest.raises(httpx.ReadTimeout):
        recipient.send("GET", "/v2/cloudimages", timeout=0.1)


def test_a_body_may_drip(recipient: Caller, sim: Simulator, images: list[str]) -> None:
    recipient.login()
    sim.fault(LIST, drip_seconds=0.4)
    start = time.monotonic()
    response = recipient.get("/v2/cloudimages", member_status="pending")

    assert time.monotonic() - start >= 0.3
    assert len(response.json()["images"]) == len(images)


def test_a_kept_connection_may_be_closed_unannounced(recipient: Caller, sim: Simulator) -> None:
    recipient.login()
    sim.fault(LIST, close=True)
    host, port = sim.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=5)
    connection.request("GET", "/v2/cloudimages", headers={"X-Auth-Token": recipient.token})
    response = connection.getresponse()
    response.read()

    assert (response.status, response.headers["Connection"], response.will_close) == (
        200,
        None,
        False,
    )
    assert connection.sock.recv(1) == b""
    connection.close()


def test_a_token_may_die_mid_poll(recipient: Caller, sim: Simulator, images: list[str]) -> None:
    sim.fault(JOB, when={"nth": 2}, expire_token=True)
    job_id = recipient.submit(images)
    first, second, third = (recipient.job(job_id).status_code for _ in range(3))
    recipient.login()

    assert (first, second, third) == (200, 401, 401)
    assert recipient.job(job_id).status_code == 200
    assert sim.counters()["tokens_issued"] == 2


def test_a_member_may_be_missing_for_a_while(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    sim.fault(MEMBER, status=404, when={"for_seconds": 30}, images=images[:1])
    hidden = f"/v2/images/{images[0]}/members/{sim.project_id}"
    shown = f"/v2/images/{images[1]}/members/{sim.project_id}"

    assert recipient.get(hidden).status_code == 404
    assert recipient.get(shown).status_code == 200
    sim.advance(31)
    assert recipient.get(hidden).status_code == 200


def test_a_skewed_clock_shows_in_date_and_jobs(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    sim.settings(clock_skew_seconds=86400)
    response = recipient.answer(images)
    begin = recipient.job(response.json()["job_id"]).json()["begin_time"]

    assert (parsedate_to_datetime(response.headers["Date"]) - datetime.now(UTC)).days >= 0
    assert datetime.fromisoformat(begin) > datetime.now(UTC)


def test_a_page_may_repeat_whatever_the_marker(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    sim.fault(LIST, ignore_query=["marker"])
    first = recipient.listed(member_status="pending", limit="2")
    second = recipient.listed(member_status="pending", limit="2", marker=first[-1])

    assert second == first
    assert set(first) < set(images)


def test_a_list_may_be_null(recipient: Caller, sim: Simulator) -> None:
    sim.fault(LIST, patch={"images": None})

    assert recipient.get("/v2/cloudimages").json() == {"images": None}


def test_rows_may_lack_keys_have_others_or_be_missing(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    sim.fault(LIST, patch_rows={"new": 1}, drop_row_keys=["name", "owner"], max_rows=2)
    rows = recipient.get("/v2/cloudimages", member_status="pending").json()["images"]

    assert len(rows) == len(images) - 1
    assert all(row["new"] == 1 and "name" not in row and "owner" not in row for row in rows)
