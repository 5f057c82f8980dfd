"""Who may call IMS: the reference's 7.4, 7.5 and 9."""

import pytest

from contract.caller import JSON, TOKENS, Caller, code_of, password_login
from otc_simulator.client import Simulator
from otc_simulator.settings import TOKEN_FLAVOURS

LIST = "/v2/cloudimages"


def test_missing_token_is_reported(recipient: Caller) -> None:
    response = recipient.http.get(LIST)

    assert code_of(response) == (401, "APIGW.0301")
    assert "x-auth-token not found" in response.json()["error_msg"]
    assert response.json()["request_id"] == response.headers["X-Request-Id"]


def test_a_token_that_is_none_cannot_be_decrypted(recipient: Caller) -> None:
    response = recipient.http.get(LIST, headers={"X-Auth-Token": "MIIbogus"})

    assert code_of(response) == (401, "APIGW.0301")
    assert "decrypt token fail" in response.json()["error_msg"]


@pytest.mark.parametrize(
    ("flavour", "status", "content_type", "text"),
    [
        ("APIGW.0301", 401, "application/json", "token expires, expires_at:"),
        ("APIGW.0307", 401, "application/json", "The token must be updated."),
        ("keystone", 401, "application/json", "requires authentication"),
        ("html", 401, "text/html; charset=UTF-8", "<html>"),
        ("empty", 401, "", ""),
        ("IMG.0087", 400, "application/json", "IMG.0087"),
        ("IMG.0030", 400, "application/json", "IMG.0030"),
    ],
)
def test_an_expired_token_looks_as_chosen(
    recipient: Caller, sim: Simulator, flavour: str, status: int, content_type: str, text: str
) -> None:
    sim.settings(token_flavour=flavour)
    recipient.login()
    sim.expire_tokens()
    response = recipient.get(LIST)

    assert response.status_code == status
    assert response.headers.get("Content-Type", "") == content_type
    assert text in response.text
    assert bool(text) == bool(response.text)


def test_cycling_shows_every_form_of_an_expired_token(recipient: Caller, sim: Simulator) -> None:
    sim.settings(token_flavour="cycle")
    recipient.login()
    sim.expire_tokens()
    bodies = {recipient.get(LIST).text for _ in TOKEN_FLAVOURS}

    assert len(bodies) == len(TOKEN_FLAVOURS)


@pytest.mark.parametrize(("choice", "status"), [("401", 401), ("403", 403)])
def test_a_token_of_the_account_is_not_for_ims(
    recipient: Caller, sim: Simulator, choice: str, status: int
) -> None:
    sim.settings(domain_token=choice)
    body = password_login(sim.user, sim.password, sim.domain, {"domain": {"name": sim.domain}})
    token = recipient.http.post(TOKENS, json=body).headers["X-Subject-Token"]
    response = recipient.http.get(LIST, headers={"X-Auth-Token": token})

    assert response.status_code == status


def test_a_token_of_another_region_must_be_updated(recipient: Caller, sim: Simulator) -> None:
    elsewhere = sim.add_project("eu-nl", region="eu-nl")
    caller = Caller(sim, elsewhere)
    response = caller.get(LIST)
    caller.close()

    assert code_of(response) == (401, "APIGW.0307")
    assert recipient.get(LIST).status_code == 200


def test_a_user_with_list_only_can_list_but_not_answer(recipient: Caller, sim: Simulator) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    sim.change_user(policies={sim.project_id: ["list"]})

    assert recipient.get(LIST, member_status="pending").status_code == 200
    assert code_of(recipient.answer([image])) == (403, "IMG.0026")
    assert code_of(recipient.get(f"/v2/images/{image}")) == (403, "IMG.0026")
    assert sim.counters()["images_per_put"] == []


def test_native_members_need_get_and_share(recipient: Caller, sim: Simulator) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    path = f"/v2/images/{image}/members/{sim.project_id}"
    sim.change_user(policies={sim.project_id: ["share"]})

    assert code_of(recipient.get(path)) == (403, "IMG.0026")


def test_rights_in_one_project_are_none_in_another(recipient: Caller, sim: Simulator) -> None:
    other = sim.add_project("eu-de_other")
    sim.change_user(policies={other: ["share", "get", "list"]})

    assert code_of(recipient.get(LIST)) == (403, "IMG.0026")


def test_every_answer_has_its_own_request_id(recipient: Caller) -> None:
    responses = [
        recipient.login(),
        recipient.get(LIST),
        recipient.get("/v2/images/none"),
        recipient.get("/nowhere"),
        recipient.http.get(LIST),
    ]

    assert len({response.headers["X-Request-Id"] for response in responses}) == len(responses)


def test_a_path_that_is_not_published_is_the_gateway_s_404(recipient: Caller) -> None:
    assert code_of(recipient.get("/v1/nowhere")) == (404, "APIGW.0101")
    assert code_of(recipient.send("PATCH", LIST)) == (404, "APIGW.0101")


def test_the_root_lists_versions_with_300(recipient: Caller) -> None:
    for path in ("/", "/v2.0"):
        response = recipient.http.get(path, headers=JSON)
        assert response.status_code == 300
        assert response.json()["versions"]


def test_a_body_above_the_gateway_s_cap_is_413(recipient: Caller) -> None:
    response = recipient.send("PUT", "/v1/cloudimages/members", content=b"x" * (13 << 20))

    assert code_of(response) == (413, "APIGW.0201")
