"""Fault modes of answers, and which calls they concern: the reference's last section."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from contract.caller import MEMBERS, TOKENS, Caller, code_of, memberships
from otc_simulator.client import Simulator

PUT = f"PUT {MEMBERS}"
JOB = "GET /v1/{project_id}/jobs/{job_id}"
MEMBER = "GET /v2/images/{image_id}/members/{member_id}"
LIST = "GET /v2/cloudimages"


@pytest.mark.parametrize(
    ("do", "told"),
    [
        ({"status": 403, "code": "IMG.0026"}, (403, "IMG.0026")),
        ({"status": 403, "code": "APIGW.0306"}, (403, "APIGW.0306")),
        ({"status": 400, "code": "IMG.0060"}, (400, "IMG.0060")),
        ({"status": 401, "code": "EPS.0003"}, (401, "EPS.0003")),
        ({"status": 409}, (409, "409")),
        ({"status": 503, "code": "APIGW.0613"}, (503, "APIGW.0613")),
        ({"status": 413, "code": "APIGW.0201"}, (413, "APIGW.0201")),
    ],
)
def test_a_call_may_be_refused_with(
    recipient: Caller, sim: Simulator, images: list[str], do: dict[str, Any], told: tuple[int, str]
) -> None:
    sim.fault(PUT, **do)
    response = recipient.answer(images)
    sim.advance(5)

    assert code_of(response) == told
    assert response.headers["X-Request-Id"]
    assert memberships(sim, images) == ["pending"] * 3


@pytest.mark.parametrize(
    ("body", "content_type", "head"),
    [
        ("html", "text/html; charset=UTF-8", "<html>"),
        ("xml", "application/xml", "<?xml"),
        ("text", "application/json", "not json"),
        ("empty", "", ""),
    ],
)
def test_a_refusal_may_have_a_body_of(
    recipient: Caller, sim: Simulator, body: str, content_type: str, head: str
) -> None:
    sim.fault(LIST, status=502, body=body, text="not json")
    response = recipient.get("/v2/cloudimages")

    assert response.status_code == 502
    assert response.headers.get("Content-Type", "") == content_type
    assert response.text.startswith(head)
    assert bool(response.text) == bool(head)


def test_throttling_may_say_when_to_come_back(recipient: Caller, sim: Simulator) -> None:
    sim.fault(LIST, status=429, code="APIGW.0308", retry_after=7, when={"nth": 1})
    sim.fault(LIST, status=429, code="APIGW.0308", retry_after_date=60, when={"nth": 2})
    sim.fault(LIST, status=429, code="APIGW.0308", when={"nth": 3})
    in_seconds, as_date, none, passed = (recipient.get("/v2/cloudimages") for _ in range(4))

    assert in_seconds.headers["Retry-After"] == "7"
    date = parsedate_to_datetime(as_date.headers["Retry-After"])
    assert 50 < (date - datetime.now(UTC)).total_seconds() <= 60
    assert (none.status_code, "Retry-After" in none.headers) == (429, False)
    assert passed.status_code == 200


def test_iam_may_throttle(recipient: Caller, sim: Simulator) -> None:
    sim.fault(f"POST {TOKENS}", status=429, code="IAM.0012", count=1)

    assert code_of(recipient.login()) == (429, "IAM.0012")
    assert recipient.login().status_code == 201


def test_a_redirect_names_its_target(recipient: Caller, sim: Simulator) -> None:
    sim.fault(LIST, status=302, body="empty", headers={"Location": "http://elsewhere.invalid/"})
    response = recipient.get("/v2/cloudimages")

    assert response.status_code == 302
    assert response.headers["Location"] == "http://elsewhere.invalid/"


@pytest.mark.parametrize(
    ("do", "text"),
    [
        ({"status": 200, "body": "text", "text": "<html>hello</html>"}, "<html>hello</html>"),
        ({"status": 200, "body": "text", "text": "null"}, "null"),
        ({"status": 200, "body": "empty"}, ""),
        ({"drop": ["job_id"]}, "{}"),
        ({"patch": {"job_id": None}}, '{"job_id": null}'),
        ({"patch": {"job_id": "0" * 32}}, '{"job_id": "%s"}' % ("0" * 32)),
    ],
)
def test_a_200_may_be_malformed(
    recipient: Caller, sim: Simulator, images: list[str], do: dict[str, Any], text: str
) -> None:
    sim.fault(PUT, **do)
    response = recipient.answer(images)

    assert (response.status_code, response.text) == (200, text)


def test_a_success_may_have_another_status(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    sim.fault(PUT, success_status=202, count=1)
    response = recipient.answer(images)

    assert (response.status_code, set(response.json())) == (202, {"job_id"})


@pytest.mark.parametrize("do", [{"status": 502, "body": "html"}, {"status": 500}])
def test_a_call_may_take_effect_although_it_is_refused(
    recipient: Caller, sim: Simulator, images: list[str], do: dict[str, Any]
) -> None:
    sim.fault(PUT, handle=True, **do)
    response = recipient.answer(images)
    sim.advance(5)

    assert response.status_code == do["status"]
    assert memberships(sim, images) == ["accepted"] * 3


def test_a_fault_may_concern_some_images_or_projects(
    recipient: Caller, sim: Simulator, images: list[str]
) -> None:
    sim.fault(PUT, images=images[:1], status=500)
    sim.fault(PUT, projects=[sim.owner_project_id], status=501)

    assert recipient.answer(images[1:]).status_code == 200
    assert recipient.answer(images).status_code == 500


def test_a_star_concerns_every_route_but_not_the_control_api(
    recipient: Caller, sim: Simulator
) -> None:
    sim.fault("*", status=503)

    assert recipient.login().status_code == 503
    assert recipient.get("/").status_code == 503
    sim.clear_faults()
    assert recipient.login().status_code == 201


@pytest.mark.parametrize(
    "rule",
    [
        {"do": {"no_such_effect": 1}},
        {"do": {"job": {"no_such_part": 1}}},
        {"do": {"truncate": "everything"}},
        {"do": {}, "when": {"sometimes": 1}},
        {"do": {}, "often": True},
        {},
    ],
)
def test_a_rule_with_a_mistake_is_refused(sim: Simulator, rule: dict[str, Any]) -> None:
    response = httpx.post(f"{sim.control_url}/__sim/faults", json={"route": PUT} | rule)

    assert response.status_code == 400
    assert response.json()["error"]
