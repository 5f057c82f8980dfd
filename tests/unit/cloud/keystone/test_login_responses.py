"""Logins at Keystone: request bodies, tokens, and what a refusal tells the user."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from image_share_operator.api.credentials import (
    ApplicationCredentials,
    Credentials,
    PasswordCredentials,
    TokenCredentials,
)
from image_share_operator.api.errors import RetryableError, TerminalError, ThrottledError
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http.refusal import parse_refusal
from image_share_operator.cloud.keystone import codec, error_mapping

USER = PasswordCredentials(user_name="ci", password="s3cret", domain_name="Default")
APPLICATION = ApplicationCredentials(id="c0ffee", secret="s3cret")
GIVEN = TokenCredentials(token="gAAAAA")
ANY_REFUSAL = "The request you have made requires authentication."


def response(status: int, body: object, **headers: str) -> httpx.Response:
    request = httpx.Request("POST", "https://host/identity/v3/auth/tokens")
    content = body if isinstance(body, str) else json.dumps(body)
    return httpx.Response(
        status,
        content=content,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        request=request,
    )


def error(status: int, text: str, credentials: Credentials = USER) -> Exception:
    body = {"error": {"code": status, "title": "Refused", "message": text}}
    return error_mapping.login_error(parse_refusal(response(status, body)), credentials)


def test_application_credential_is_sent_without_a_scope() -> None:
    assert codec.login_body(APPLICATION, "project") == {
        "auth": {
            "identity": {
                "methods": ["application_credential"],
                "application_credential": {"id": "c0ffee", "secret": "s3cret"},
            }
        }
    }


def test_password_is_sent_with_the_scope_of_the_project() -> None:
    auth = codec.login_body(USER, "project")["auth"]

    assert auth["scope"] == {"project": {"id": "project"}}
    assert auth["identity"]["password"]["user"]["domain"] == {"name": "Default"}


TOKEN = {
    "token": {
        "expires_at": "2026-05-04T04:00:00.000000Z",
        "issued_at": "2026-05-04T03:00:00.000000Z",
        "project": {"id": "project"},
        "catalog": [
            {
                "type": "image",
                "endpoints": [
                    {"region_id": "one", "interface": "public", "url": "https://image.test/v2"}
                ],
            }
        ],
    }
}


def test_login_has_token_project_and_image_endpoints() -> None:
    login = codec.read_login(response(201, TOKEN, X_Subject_Token="gBBBBB"), USER)

    assert login.token.value == "gBBBBB"
    assert login.token.expires_at - (login.token.issued_at or datetime.max.replace(tzinfo=UTC)) == (
        timedelta(hours=1)
    )
    assert login.project_id == "project"
    assert [one.url for one in login.endpoints] == ["https://image.test"]
    assert "gBBBBB" not in repr(login)


def test_token_of_a_secret_ends_by_its_expiry_time_alone() -> None:
    login = codec.read_login(response(200, TOKEN), GIVEN)

    assert login.token.value == "gAAAAA"
    assert login.token.issued_at is None


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (TOKEN, {}),
        ({"token": {}}, {"X-Subject-Token": "gBBBBB"}),
        ({"token": {"expires_at": "soon"}}, {"X-Subject-Token": "gBBBBB"}),
        ("<html>It works</html>", {}),
    ],
    ids=["no header", "no time", "no valid time", "a page"],
)
def test_response_without_a_token_names_the_auth_url(body: object, headers: dict[str, str]) -> None:
    with pytest.raises(RetryableError, match=r"without a token; check spec\.openstack\.authURL"):
        codec.read_login(response(200, body, **headers), USER)


def test_token_that_can_not_be_sent_is_refused() -> None:
    answer = response(201, TOKEN)
    answer.headers = httpx.Headers([(b"X-Subject-Token", "tökèn".encode())])

    with pytest.raises(RetryableError, match="without a token"):
        codec.read_login(answer, USER)


@pytest.mark.parametrize(
    ("credentials", "status", "text", "reason", "remedy"),
    [
        (USER, 401, ANY_REFUSAL, Reason.CREDENTIALS_INVALID, "disabled, locked or without a role"),
        (
            USER,
            401,
            "The password is expired and needs to be changed for user: c0ffee.",
            Reason.CREDENTIALS_INVALID,
            "the password has expired; change it in Keystone",
        ),
        (USER, 403, "Forbidden", Reason.PERMISSION_DENIED, "Keystone denies the login"),
        (USER, 400, "Expecting to find auth", Reason.INVALID_REQUEST, "spec.openstack.authURL"),
        (APPLICATION, 401, ANY_REFUSAL, Reason.CREDENTIALS_INVALID, "it has expired, its secret"),
        (
            APPLICATION,
            404,
            "Could not find Application Credential: c0ffee.",
            Reason.CREDENTIALS_INVALID,
            "it was deleted, or the ID is wrong",
        ),
        (GIVEN, 401, ANY_REFUSAL, Reason.CREDENTIALS_INVALID, "expired, revoked or not of this"),
        (GIVEN, 404, "Could not find token", Reason.CREDENTIALS_INVALID, "expired, revoked"),
    ],
)
def test_refused_login_tells_what_to_do(
    credentials: Credentials, status: int, text: str, reason: Reason, remedy: str
) -> None:
    found = error(status, text, credentials)

    assert isinstance(found, TerminalError)
    assert found.reason is reason
    assert remedy in str(found)
    assert f"HTTP {status}" in str(found)
    assert text not in str(found)


def test_second_factor_is_named() -> None:
    refusal = parse_refusal(response(401, "", Openstack_Auth_Receipt="receipt"))

    assert "use an application credential" in str(error_mapping.login_error(refusal, USER))


@pytest.mark.parametrize("status", [404, 405, 400])
def test_server_that_is_no_keystone_is_named_by_its_field(status: int) -> None:
    refusal = parse_refusal(response(status, "<html>nginx</html>"))
    found = error_mapping.login_error(refusal, USER)

    assert isinstance(found, TerminalError)
    assert found.reason is Reason.INVALID_REQUEST
    assert "not from Keystone v3; check spec.openstack.authURL" in str(found)


def test_outage_and_throttling_are_retried() -> None:
    assert isinstance(error(503, "down"), RetryableError)
    assert isinstance(error(429, "slow down"), ThrottledError)
    redirect = parse_refusal(response(302, ""))
    assert isinstance(error_mapping.login_error(redirect, USER), RetryableError)


@pytest.mark.parametrize(
    ("credentials", "project", "fault"),
    [
        (
            APPLICATION,
            "other",
            "application credential c0ffee is for project other",
        ),
        (
            GIVEN,
            None,
            "the token of the Secret has no project",
        ),
    ],
)
def test_token_of_another_project_is_named(
    credentials: Credentials, project: str | None, fault: str
) -> None:
    assert str(error_mapping.other_project(credentials, project, "project")) == (
        f"{fault}, but spec.projectID is project; correct the Secret or spec.projectID"
    )
