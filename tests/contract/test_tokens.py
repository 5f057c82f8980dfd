"""IAM's side of the reference: section 1."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from contract.caller import TOKENS, Caller, code_of, password_login
from otc_simulator.client import Simulator


def log_in(caller: Caller, password: str, scope: dict[str, Any] | None = None) -> tuple[int, Any]:
    body = password_login(caller.sim.user, password, caller.sim.domain, scope)
    response = caller.http.post(TOKENS, json=body)
    return response.status_code, response


def test_a_token_comes_in_a_header_and_is_kilobytes_long(recipient: Caller) -> None:
    response = recipient.login()

    assert response.status_code == 201
    assert recipient.token.startswith("MII")
    assert len(recipient.token) >= 2048
    assert recipient.token not in response.text


def test_a_token_names_project_user_and_times(recipient: Caller, sim: Simulator) -> None:
    token = recipient.login().json()["token"]

    assert token["project"]["id"] == sim.project_id
    assert token["project"]["domain"]["name"] == sim.domain
    assert token["user"]["name"] == sim.user
    lasts = datetime.fromisoformat(token["expires_at"]) - datetime.fromisoformat(token["issued_at"])
    assert lasts == timedelta(hours=24)


def test_a_token_lasts_as_long_as_chosen(recipient: Caller, sim: Simulator) -> None:
    sim.settings(token_ttl_seconds=60)
    recipient.login()

    assert recipient.get("/v2/cloudimages").status_code == 200
    sim.advance(61)
    assert code_of(recipient.get("/v2/cloudimages")) == (401, "APIGW.0301")


def test_the_catalog_has_the_bare_image_endpoint(recipient: Caller, sim: Simulator) -> None:
    catalog = recipient.login().json()["token"]["catalog"]

    (image,) = (service for service in catalog if service["type"] == "image")
    assert image["endpoints"][0]["url"] == sim.url


def test_nocatalog_leaves_the_catalog_out(recipient: Caller, sim: Simulator) -> None:
    body = password_login(sim.user, sim.password, sim.domain, {"project": {"id": sim.project_id}})
    response = recipient.http.post(TOKENS, params={"nocatalog": "1"}, json=body)

    assert "catalog" not in response.json()["token"]


def test_a_wrong_password_is_refused_in_keystone_s_words(recipient: Caller) -> None:
    status, response = log_in(recipient, "wrong")

    assert status == 401
    error = {"code": 401, "message": "Unauthorized.", "title": "Unauthorized"}
    assert response.json() == {"error": error}
    assert "X-Subject-Token" not in response.headers


def test_five_bad_logins_lock_the_account_even_for_the_right_password(
    recipient: Caller, sim: Simulator
) -> None:
    for _ in range(5):
        log_in(recipient, "wrong")
    _, locked = log_in(recipient, sim.password)
    sim.advance(15 * 60 + 1)
    status, _ = log_in(recipient, sim.password)

    assert code_of(locked) == (401, "IAM.0061")
    assert status == 201
    assert sim.counters()["logins_failed"] == 6


def test_a_good_login_forgets_the_bad_ones(recipient: Caller, sim: Simulator) -> None:
    for password in ("wrong",) * 4 + (sim.password,) + ("wrong",) * 4:
        log_in(recipient, password)

    assert log_in(recipient, sim.password)[0] == 201


def test_bad_logins_older_than_a_quarter_of_an_hour_do_not_count(
    recipient: Caller, sim: Simulator
) -> None:
    for _ in range(4):
        log_in(recipient, "wrong")
    sim.advance(15 * 60 + 1)
    log_in(recipient, "wrong")

    assert log_in(recipient, sim.password)[0] == 201


@pytest.mark.parametrize(
    ("scope", "kind"),
    [
        pytest.param({"project": {"name": "eu-de_recipient"}}, "project", id="project by name"),
        pytest.param(
            {"project": {"name": "eu-de_recipient", "domain": {"name": Simulator.domain}}},
            "project",
            id="project by name and domain",
        ),
        pytest.param({"domain": {"name": Simulator.domain}}, "domain", id="the account"),
        pytest.param(None, "domain", id="no scope"),
        pytest.param(
            {"domain": {"name": "x"}, "project": {"id": Simulator.project_id}},
            "project",
            id="project wins over domain",
        ),
    ],
)
def test_a_scope_may_be_written_as(
    recipient: Caller, sim: Simulator, scope: dict[str, Any] | None, kind: str
) -> None:
    status, response = log_in(recipient, sim.password, scope)

    assert status == 201
    assert kind in response.json()["token"]


def test_a_user_may_be_named_by_id(recipient: Caller, sim: Simulator) -> None:
    user = {"id": sim.user_id, "password": sim.password}
    identity = {"methods": ["password"], "password": {"user": user}}
    response = recipient.http.post(TOKENS, json={"auth": {"identity": identity}})

    assert response.status_code == 201


def test_a_token_may_be_rescoped(recipient: Caller, sim: Simulator) -> None:
    recipient.login()
    identity = {"methods": ["token"], "token": {"id": recipient.token}}
    scope = {"project": {"id": sim.project_id}}
    auth = {"identity": identity, "scope": scope}

    assert recipient.http.post(TOKENS, json={"auth": auth}).status_code == 201


@pytest.mark.parametrize(
    ("choice", "told"),
    [("404", (404, "IAM.0004")), ("401", (401, "401")), ("IAM.1109", (400, "IAM.1109"))],
)
def test_a_project_of_another_account_is_unknown(
    recipient: Caller, sim: Simulator, choice: str, told: tuple[int, str]
) -> None:
    sim.settings(unknown_scope=choice)
    _, response = log_in(recipient, sim.password, {"project": {"id": sim.owner_project_id}})

    assert code_of(response) == told


@pytest.mark.parametrize(("choice", "status"), [("401", 401), ("404", 404)])
def test_an_unknown_account_is_refused(
    recipient: Caller, sim: Simulator, choice: str, status: int
) -> None:
    sim.settings(unknown_domain=choice)
    body = password_login(sim.user, sim.password, "nobody", None)

    assert recipient.http.post(TOKENS, json=body).status_code == status


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"{", "IAM.0011", id="not JSON"),
        pytest.param(b"{}", "IAM.0011", id="nothing in it"),
        pytest.param(
            b'{"auth": {"identity": {"methods": ["password"]}}}', "IAM.0072", id="no password"
        ),
        pytest.param(
            b'{"auth": {"identity": {"methods": ["magic"]}}}', "IAM.0073", id="unknown method"
        ),
    ],
)
def test_a_malformed_login_is_a_400(recipient: Caller, body: bytes, code: str) -> None:
    assert code_of(recipient.http.post(TOKENS, content=body)) == (400, code)


@pytest.mark.parametrize(
    ("change", "code"), [({"programmatic": False}, "IAM.0081"), ({"enabled": False}, "IAM.0082")]
)
def test_a_user_who_may_not_log_in_gets_403(
    recipient: Caller, sim: Simulator, change: dict[str, Any], code: str
) -> None:
    sim.change_user(**change)

    assert code_of(recipient.login()) == (403, code)


def test_a_token_can_be_checked_shown_and_revoked(recipient: Caller) -> None:
    recipient.login()
    subject = {"X-Subject-Token": recipient.token}

    assert recipient.send("HEAD", TOKENS, headers=subject).status_code == 200
    shown = recipient.send("GET", TOKENS, headers=subject)
    assert shown.json()["token"]["project"]["id"] == recipient.project_id
    assert recipient.send("DELETE", TOKENS, headers=subject).status_code == 204
    assert recipient.send("HEAD", TOKENS, headers=subject).status_code == 401
    assert recipient.get("/v2/cloudimages").status_code == 401


def test_a_token_shows_itself_without_the_catalog(recipient: Caller) -> None:
    recipient.login()
    subject = {"X-Subject-Token": recipient.token}

    shown = recipient.send("GET", TOKENS, headers=subject, params={"nocatalog": "true"})

    assert shown.json()["token"]["project"]["id"] == recipient.project_id
    assert "catalog" not in shown.json()["token"]
    assert "expires_at" in shown.json()["token"]


@pytest.mark.parametrize("choice", ["401", "403", "404", "503"])
def test_an_iam_may_show_no_tokens(recipient: Caller, sim: Simulator, choice: str) -> None:
    sim.settings(show_token=choice)
    recipient.login()

    shown = recipient.send("GET", TOKENS, headers={"X-Subject-Token": recipient.token})

    assert shown.status_code == int(choice)


def test_an_expired_token_can_still_be_revoked_by_itself(recipient: Caller, sim: Simulator) -> None:
    recipient.login()
    sim.expire_tokens()
    subject = {"X-Subject-Token": recipient.token}

    assert recipient.send("DELETE", TOKENS, headers=subject).status_code == 204


def test_another_user_s_token_is_not_his_to_revoke(recipient: Caller, owner: Caller) -> None:
    owner.login()
    response = recipient.send("DELETE", TOKENS, headers={"X-Subject-Token": owner.token})

    assert response.status_code == 403
    assert owner.get("/v2/cloudimages").status_code == 200


@pytest.mark.parametrize(
    ("choice", "told"),
    [("IAM.0066", (401, "IAM.0066")), ("IAM.0067", (401, "IAM.0067")), ("403", (403, "403"))],
)
def test_a_dead_token_looks_to_iam_as_chosen(
    recipient: Caller, sim: Simulator, choice: str, told: tuple[int, str]
) -> None:
    sim.settings(iam_dead_token=choice)
    recipient.login()
    sim.expire_tokens()

    assert code_of(recipient.get("/v3/auth/projects")) == told


def test_a_new_token_leaves_the_old_one_alive(recipient: Caller) -> None:
    recipient.login()
    old = recipient.token
    recipient.login()

    assert old != recipient.token
    response = recipient.send("GET", "/v2/cloudimages", headers={"X-Auth-Token": old})
    assert response.status_code == 200


def test_a_changed_password_kills_old_tokens_after_the_grace_time(
    recipient: Caller, sim: Simulator
) -> None:
    sim.settings(invalidation_seconds=600)
    recipient.login()
    sim.set_password("another")

    assert recipient.get("/v2/cloudimages").status_code == 200
    sim.advance(601)
    assert recipient.get("/v2/cloudimages").status_code == 401
    assert recipient.login().status_code == 401


def test_projects_are_found_by_name(recipient: Caller, sim: Simulator) -> None:
    told = recipient.get("/v3/projects", name=sim.project).json()

    assert [row["id"] for row in told["projects"]] == [sim.project_id]
    assert recipient.get("/v3/projects", name="none").json()["projects"] == []


def test_the_catalog_can_be_asked_for(recipient: Caller) -> None:
    told = recipient.get("/v3/auth/catalog").json()

    assert {service["type"] for service in told["catalog"]} == {"image", "identity"}


def test_a_skewed_cloud_shows_times_in_the_past(recipient: Caller, sim: Simulator) -> None:
    sim.settings(clock_skew_seconds=-2 * 86400)
    response = recipient.login()
    expires = datetime.fromisoformat(response.json()["token"]["expires_at"])

    assert expires < datetime.now(expires.tzinfo)
    assert recipient.get("/v2/cloudimages").status_code == 200


def test_a_token_may_be_past_its_end_when_issued(recipient: Caller, sim: Simulator) -> None:
    sim.settings(token_ttl_seconds=-1)
    recipient.login()

    assert recipient.get("/v2/cloudimages").status_code == 401
