"""Responses of IMS, IAM and the API gateway: error mapping, codecs and request bodies."""

import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from image_share_operator.api.credentials import PasswordCredentials
from image_share_operator.api.errors import (
    ImagesRefusedError,
    OutcomeUnknownError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Decision, JobState, Membership
from image_share_operator.cloud.http.error_codes import RefusalKind, kind_of, kind_of_batch
from image_share_operator.cloud.http.payload import MAX_VALUES, error_of, one_line, parse_body
from image_share_operator.cloud.http.refusal import Refusal, parse_refusal
from image_share_operator.cloud.iam import codec as iam_codec
from image_share_operator.cloud.iam.authorization import TOKEN_REFUSED
from image_share_operator.cloud.iam.error_mapping import login_error, password_words
from image_share_operator.cloud.ims import codec
from image_share_operator.cloud.ims.error_mapping import batch_error, member_error, to_error

BROWSER = (
    "This server could not verify that you are authorized to access the document you requested. "
    "Either you supplied the wrong credentials (e.g., bad password), or your browser does not "
    "understand how to supply the credentials required."
)
TOKEN = "MIItoken-" + "x" * 2000
DEMO = password_words("demo")


def make_response(
    status: int = 200, body: object = None, *, text: str | None = None, **headers: str
) -> httpx.Response:
    request = httpx.Request("PUT", "https://ims.test/v1/x?q=1", headers={"X-Auth-Token": TOKEN})
    content = json.dumps(body) if text is None else text
    return httpx.Response(
        status,
        content=content,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        request=request,
    )


def make_refusal(status: int, body: object = None, **headers: str) -> Refusal:
    return parse_refusal(make_response(status, body, **headers))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "IMG.0060", RefusalKind.THROTTLED),
        (400, "IMG.0187", RefusalKind.THROTTLED),
        (429, "APIGW.0308", RefusalKind.THROTTLED),
        (429, None, RefusalKind.THROTTLED),
        (400, "IMG.0087", RefusalKind.TOKEN),
        (401, "APIGW.0301", RefusalKind.TOKEN),
        (401, "APIGW.0307", RefusalKind.TOKEN),
        (401, None, RefusalKind.TOKEN),
        (400, "IMG.0030", RefusalKind.MISMATCH),
        (400, "IMG.0026", RefusalKind.DENIED),
        (403, "IMG.0026", RefusalKind.DENIED),
        (403, None, RefusalKind.DENIED),
        (400, "IMG.0027", RefusalKind.IMAGES),
        (400, "IMG.0144", RefusalKind.IMAGES),
        (404, None, RefusalKind.IMAGES),
        (400, "IMG.0112", RefusalKind.RETRY),
        (500, None, RefusalKind.RETRY),
        (503, "APIGW.0613", RefusalKind.RETRY),
        (409, "IMG.0035", RefusalKind.RETRY),
        (413, "APIGW.0201", RefusalKind.TOO_LARGE),
        (494, None, RefusalKind.INVALID),
        (400, "IMG.0182", RefusalKind.INVALID),
        (400, "IMG.9999", RefusalKind.INVALID),
        (400, None, RefusalKind.INVALID),
        (302, None, RefusalKind.INVALID),
        (401, "IAM.0061", RefusalKind.LOCKED),
        (500, "IMG.0060", RefusalKind.THROTTLED),
    ],
)
def test_kind_of_checks_the_code_before_the_status(
    status: int, code: str | None, kind: RefusalKind
) -> None:
    assert kind_of(status, code) is kind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "IMG.0027", RefusalKind.IMAGES),
        (400, "IMG.0001", RefusalKind.IMAGES),
        (400, "IMG.0182", RefusalKind.IMAGES),
        (400, "IMG.9999", RefusalKind.IMAGES),
        (400, "IMG.0165", RefusalKind.IMAGES),
        (400, None, RefusalKind.IMAGES),
        (400, "IMG.0046", RefusalKind.RETRY),
        (400, "IMG.0060", RefusalKind.THROTTLED),
        (400, "IMG.0026", RefusalKind.DENIED),
        (400, "IMG.0030", RefusalKind.MISMATCH),
        (400, "IMG.0067", RefusalKind.INVALID),
        (404, "APIGW.0101", RefusalKind.INVALID),
        (405, None, RefusalKind.INVALID),
        (494, "APIGW.0201", RefusalKind.INVALID),
        (302, None, RefusalKind.INVALID),
        (418, None, RefusalKind.INVALID),
        (418, "IMG.9999", RefusalKind.INVALID),
        (422, "IMG.9999", RefusalKind.IMAGES),
    ],
)
def test_kind_of_batch_takes_unknown_codes_for_a_failing_image(
    status: int, code: str | None, kind: RefusalKind
) -> None:
    assert kind_of_batch(status, code) is kind


def test_kind_of_does_not_take_unknown_codes_for_a_failing_image() -> None:
    assert kind_of(400, "IMG.0046") is not RefusalKind.IMAGES
    assert kind_of(400, None) is not RefusalKind.IMAGES


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"code": "IMG.0027", "message": "m"}}, ("IMG.0027", "m")),
        ({"error": {"code": 401, "message": "m", "title": "Unauthorized"}}, (None, "m")),
        ({"error_code": "APIGW.0301", "error_msg": "m", "request_id": "r"}, ("APIGW.0301", "m")),
        ({"errorCode": "IMG.0001", "errorMsg": "m"}, ("IMG.0001", "m")),
        ({"code": "IMG.0001", "message": "m"}, ("IMG.0001", "m")),
        ({"badRequest": {"code": "IMG.0001", "message": "m"}}, ("IMG.0001", "m")),
        ({"message": "m<br /><br />\n\n\n", "code": "403 Forbidden"}, (None, "m")),
        ({"message": f"{BROWSER}<br /><br />", "code": "401 Unauthorized"}, (None, None)),
        ({"error": {"code": "IMG.0027", "message": "<html>no</html>"}}, ("IMG.0027", None)),
        ({"error": {"code": " img.0027", "message": "a < b"}}, ("IMG.0027", "a < b")),
        ([1, 2], (None, None)),
        ({"error": "text"}, (None, None)),
        (None, (None, None)),
    ],
    ids=[
        "IMS",
        "Keystone with an integer code",
        "gateway",
        "camel case",
        "bare",
        "wrapped",
        "Glance",
        "Glance's advice to a web browser",
        "page in JSON",
        "lower case",
        "list",
        "text",
        "null",
    ],
)
def test_error_of_reads_each_shape(body: object, expected: tuple[str | None, str | None]) -> None:
    assert error_of(make_response(400, body)) == expected


@pytest.mark.parametrize("text", ["", "<html>no</html>", "<?xml version='1.0'?><e/>", "{", "\x00"])
def test_error_of_returns_nothing_when_the_body_is_not_json(text: str) -> None:
    assert error_of(make_response(500, text=text)) == (None, None)


def test_one_line_cuts_long_words_lines_and_control_characters() -> None:
    assert one_line(f"a\n{'t' * 65}\x07b") == "a (cut)"
    assert one_line("x\x07y") == "x?y"
    assert len(one_line("word " * 100)) == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"Retry_After": "7"}, 7, id="seconds"),
        pytest.param({}, None, id="missing"),
        pytest.param({"Retry_After": "99999999999999"}, 3600, id="too long"),
        pytest.param({"Retry_After": "-5"}, None, id="negative"),
        pytest.param({"Retry_After": "soon"}, None, id="text"),
        pytest.param(
            {
                "Date": "Sat, 31 Jan 2026 12:00:00 GMT",
                "Retry_After": "Sat, 31 Jan 2026 12:00:30 GMT",
            },
            30,
            id="date",
        ),
        pytest.param(
            {
                "Date": "Sat, 31 Jan 2026 12:00:00 GMT",
                "Retry_After": "Sat, 31 Jan 2026 11:00:00 GMT",
            },
            0,
            id="past date",
        ),
        pytest.param({"Retry_After": "Sat, 31 Jan 2026 12:00:30 GMT"}, None, id="no Date header"),
    ],
)
def test_retry_after_reads_seconds_and_dates(
    headers: dict[str, str], expected: float | None
) -> None:
    wait = make_refusal(429, **headers).retry_after

    assert wait == (None if expected is None else timedelta(seconds=expected))


@pytest.mark.parametrize(
    ("status", "code", "error", "reason"),
    [
        (400, "IMG.0060", ThrottledError, Reason.THROTTLED),
        (502, None, RetryableError, Reason.CLOUD_UNAVAILABLE),
        (403, "IMG.0026", TerminalError, Reason.PERMISSION_DENIED),
        (401, "APIGW.0301", TerminalError, Reason.CREDENTIALS_INVALID),
        (400, "IMG.0030", TerminalError, Reason.INVALID_REQUEST),
        (400, "IMG.0182", TerminalError, Reason.INVALID_REQUEST),
    ],
)
def test_refusal_has_error_class_and_reason_by_code(
    status: int, code: str | None, error: type[Exception], reason: Reason
) -> None:
    found = to_error(make_refusal(status, {"error": {"code": code, "message": "why"}}))

    assert type(found) is error
    assert getattr(found, "reason", None) is reason
    assert "PUT /v1/x" in str(found)
    assert "?q" not in str(found)


@pytest.mark.parametrize(
    "body", [{"error": {"code": "IMG.0041", "message": "why"}}, None], ids=["IMS", "a page"]
)
def test_denied_membership_says_that_the_image_may_not_be_shared(body: object) -> None:
    found = member_error(make_refusal(403, body))

    assert isinstance(found, TerminalError)
    assert found.reason is Reason.PERMISSION_DENIED
    assert "the user lacks a permission" in str(found)
    assert "the image is not a shared one" in str(found)


@pytest.mark.parametrize("status", [401, 410, 500])
def test_other_errors_of_a_membership_are_those_of_any_request(status: int) -> None:
    refusal = make_refusal(status, {"message": "why"})

    assert str(member_error(refusal)) == str(to_error(refusal))


def test_refusal_for_an_image_is_an_images_refused_error() -> None:
    found = to_error(make_refusal(400, {"error": {"code": "IMG.0027", "message": "m"}}))

    assert isinstance(found, ImagesRefusedError)


@pytest.mark.parametrize("kind", RefusalKind)
def test_each_kind_of_refusal_has_an_error(kind: RefusalKind) -> None:
    found = to_error(replace(make_refusal(400, {"message": "why"}), kind=kind))

    if isinstance(found, RetryableError):
        assert str(found) == "ims.test:443: HTTP 400 why (PUT /v1/x)"
        assert found.cause == "ims.test:443: HTTP 400"
    else:
        assert str(found).startswith("PUT /v1/x: HTTP 400 why")


@pytest.mark.parametrize("echo", [TOKEN, f"token {TOKEN} is dead", TOKEN[:60] + " " + TOKEN])
def test_refusal_never_shows_the_token(echo: str) -> None:
    refusal = make_refusal(401, {"error_code": "APIGW.0301", "error_msg": echo})
    found = to_error(refusal)

    assert TOKEN not in str(found) + repr(refusal)
    assert "xxxxxxxx" * 10 not in str(found)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, {"error": {"code": 401, "message": "secret"}}, Reason.CREDENTIALS_INVALID),
        (401, {"error_code": "IAM.0061", "error_msg": "secret"}, Reason.ACCOUNT_LOCKED),
        (403, {"error_code": "IAM.0081", "error_msg": "secret"}, Reason.PERMISSION_DENIED),
        (404, {"error_code": "IAM.0004", "error_msg": "secret"}, Reason.INVALID_REQUEST),
        (400, {"error_code": "IAM.1109", "error_msg": "secret"}, Reason.INVALID_REQUEST),
        (429, {"error_code": "IAM.0012", "error_msg": "secret"}, Reason.THROTTLED),
        (503, "secret", Reason.CLOUD_UNAVAILABLE),
        (410, {"error_code": "IAM.0020", "error_msg": "secret"}, Reason.CLOUD_UNAVAILABLE),
        (302, "<html>secret</html>", Reason.CLOUD_UNAVAILABLE),
    ],
)
def test_login_refusal_shows_the_code_and_never_the_text(
    status: int, body: object, reason: Reason
) -> None:
    refusal = make_refusal(status, body)
    found = login_error(refusal, DEMO)

    assert getattr(found, "reason", None) is reason
    assert "secret" not in str(found) + repr(refusal)


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (401, {"error_code": "APIGW.0301", "error_msg": "token expires"}, True),
        (401, {"error_code": "APIGW.0307", "error_msg": "The token must be updated."}, True),
        (401, {"error": {"message": "requires authentication", "code": 401}}, True),
        (401, None, True),
        (400, {"error": {"code": "IMG.0087", "message": "m"}}, True),
        (400, {"error": {"code": "IMG.0030", "message": "m"}}, True),
        (403, {"error": {"code": "IMG.0026", "message": "m"}}, False),
        (400, {"error": {"code": "IMG.0027", "message": "m"}}, False),
    ],
)
def test_token_refused_knows_each_code_of_an_expired_token(
    status: int, body: object, *, refused: bool
) -> None:
    assert (make_refusal(status, body).kind in TOKEN_REFUSED) is refused


PAGE = "<html><body>your browser is blocked by the firewall</body></html>"


@pytest.mark.parametrize("text", [PAGE, "", "Method Not Allowed", "[1, 2]", '"no"', "<e/>"])
@pytest.mark.parametrize(
    ("status", "error", "remedy"),
    [
        *[
            (status, TerminalError, "the response is not from IMS; check spec.endpoints.ims")
            for status in (301, 302, 400, 402, 404, 405, 407, 410, 418, 422, 451, 494, 499)
        ],
        (403, TerminalError, "a proxy or firewall rejects the request"),
        (408, RetryableError, "HTTP 408"),
        (409, RetryableError, "HTTP 409"),
        (511, OutcomeUnknownError, "HTTP 511"),
    ],
)
def test_batch_refused_by_another_server_is_not_about_its_images(
    status: int, error: type[Exception], remedy: str, text: str
) -> None:
    found = batch_error(parse_refusal(make_response(status, text=text)))

    assert type(found) is error
    assert remedy in str(found)
    assert "browser" not in str(found)


WRONG = "user, password, domain or spec.projectID is wrong"
MFA = "HTTP 401: the user needs multi-factor authentication (MFA); use a technical user without MFA"
LOCKED = "the account is locked after failed logins"


@pytest.mark.parametrize(
    ("status", "text", "reason", "hint"),
    [
        (401, "mfa totp code verify fail", Reason.CREDENTIALS_INVALID, MFA),
        (401, "Multi-factor authentication is required.", Reason.CREDENTIALS_INVALID, MFA),
        (
            401,
            "The password is expired and needs to be changed for user: hunter2.",
            Reason.CREDENTIALS_INVALID,
            "the password has expired",
        ),
        (401, "Your password must be changed.", Reason.CREDENTIALS_INVALID, "password has expired"),
        (401, "The account is disabled for user: hunter2", Reason.CREDENTIALS_INVALID, "disabled"),
        (403, "The user is disabled.", Reason.PERMISSION_DENIED, "disabled; enable it in IAM"),
        (403, "Programmatic access is disabled.", Reason.PERMISSION_DENIED, "programmatic access"),
        (401, "The account is locked for user: hunter2", Reason.ACCOUNT_LOCKED, LOCKED),
        (
            401,
            "User hunter2 has no access to project 0123",
            Reason.CREDENTIALS_INVALID,
            "grant a role",
        ),
        (404, "Could not find project: hunter2.", Reason.INVALID_REQUEST, "grant a role"),
        (401, "The username or password is wrong.", Reason.CREDENTIALS_INVALID, WRONG),
        (401, "The request you have made requires authentication.", None, WRONG),
        (401, "hunter2", None, WRONG),
    ],
)
def test_login_error_has_a_hint_and_never_the_text_of_iam(
    status: int, text: str, reason: Reason | None, hint: str
) -> None:
    body = {"error": {"code": status, "message": text, "title": "Unauthorized"}}

    found = login_error(make_refusal(status, body), DEMO)

    assert hint in str(found)
    assert getattr(found, "reason", None) is (reason or Reason.CREDENTIALS_INVALID)
    assert text not in str(found)
    assert "hunter2" not in str(found)


def test_login_with_a_receipt_of_keystone_needs_another_factor() -> None:
    body = {"receipt": {"methods": ["password"]}, "required_auth_methods": [["password", "totp"]]}

    found = login_error(make_refusal(401, body, Openstack_Auth_Receipt="secret"), DEMO)

    assert MFA in str(found)


def test_login_refused_by_another_server_names_the_endpoint() -> None:
    for status in (403, 404, 405, 418):
        found = login_error(parse_refusal(make_response(status, text=PAGE)), DEMO)

        assert getattr(found, "reason", None) is Reason.INVALID_REQUEST
        assert "the response is not from IAM; check spec.endpoints.iam" in str(found)


@pytest.mark.parametrize(
    ("credentials", "user"),
    [
        (
            PasswordCredentials(user_name="u", password="p", domain_name="d"),
            {"name": "u", "password": "p", "domain": {"name": "d"}},
        ),
        (PasswordCredentials(user_id="i", password="p"), {"id": "i", "password": "p"}),
    ],
    ids=["by name", "by id"],
)
def test_login_body_has_the_project_as_its_only_scope(
    credentials: PasswordCredentials, user: dict[str, object]
) -> None:
    body = iam_codec.login_body(credentials, iam_codec.project_scope("pid"))

    assert body["auth"]["identity"]["password"]["user"] == user
    assert body["auth"]["scope"] == {"project": {"id": "pid"}}


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (Decision.ACCEPT, {"status": "accepted", "vault_id": "v"}),
        (Decision.REJECT, {"status": "rejected"}),
    ],
)
def test_update_members_body_has_a_vault_only_when_accepting(
    decision: Decision, expected: dict[str, str]
) -> None:
    body = codec.update_members_body("pid", decision, "v", ("a", "b"))

    assert body == {"images": ["a", "b"], "project_id": "pid", **expected}


@pytest.mark.parametrize(
    ("status", "state", "odd_status"),
    [
        ("INIT", JobState.INIT, None),
        ("SUCCESS", JobState.SUCCESS, None),
        ("success", JobState.SUCCESS, None),
        ("FAIL", JobState.FAIL, None),
        ("failed", JobState.FAIL, None),
        ("PENDING", JobState.RUNNING, "PENDING"),
    ],
)
def test_read_job_ignores_case_and_takes_unknown_states_for_running(
    status: str, state: JobState, odd_status: str | None
) -> None:
    job = codec.read_job(make_response(200, {"status": status, "end_time": "", "error_code": None}))

    assert (job.state, job.odd_status, job.end_time, job.error_code) == (
        state,
        odd_status,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("results", "failed"),
    [
        ([{"image_id": "a", "status": "success"}], set[str]()),
        ([{"image_id": "a", "status": "SUCCESS"}, {"image_id": "b", "status": "FAIL"}], {"b"}),
        ([{"image_id": "a", "status": "failed"}] * 2, {"a"}),
        ([], set[str]()),
        (None, set[str]()),
        ("text", set[str]()),
        ([None, 1, {"status": "FAIL"}, {"image_id": 3, "status": "FAIL"}], set[str]()),
    ],
    ids=["success", "upper case", "duplicate", "empty", "missing", "text", "invalid rows"],
)
def test_read_job_reads_failed_rows_from_any_results(results: object, failed: set[str]) -> None:
    job = codec.read_job(make_response(200, {"status": "FAIL", "entities": {"results": results}}))

    assert set(job.failed_rows) == failed


@pytest.mark.parametrize("body", [{}, {"status": None}, {"status": 7}, [], None])
def test_read_job_raises_retryable_error_without_a_status(body: object) -> None:
    with pytest.raises(RetryableError):
        codec.read_job(make_response(200, body))


@pytest.mark.parametrize("body", [{}, {"job_id": None}, {"job_id": ""}, [], None])
def test_read_job_id_raises_unknown_outcome_without_an_id(body: object) -> None:
    with pytest.raises(OutcomeUnknownError):
        codec.read_job_id(make_response(200, body))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "<html>log in</html>", "[" * 50_000])
def test_read_member_names_the_endpoint_when_there_is_no_status(text: str) -> None:
    with pytest.raises(RetryableError, match=r"HTTP 200 without a member status; check spec\.endp"):
        codec.read_member(make_response(200, text=text), "image", "project")


def test_read_member_accepts_three_statuses_only() -> None:
    assert (
        codec.read_member(make_response(200, {"status": "accepted"}), "a", "b")
        is Membership.ACCEPTED
    )
    with pytest.raises(RetryableError, match="dancing"):
        codec.read_member(make_response(200, {"status": "dancing"}), "a", "b")


def test_read_token_reads_expiry_with_and_without_fractions() -> None:
    for text in ("2026-01-31T12:00:00.000000Z", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00"):
        token = iam_codec.read_token(
            make_response(201, {"token": {"expires_at": text}}, X_Subject_Token=TOKEN)
        )

        assert token.expires_at.isoformat() == "2026-01-31T12:00:00+00:00"
        assert TOKEN not in repr(token)


@pytest.mark.parametrize("body", [{}, {"token": {}}, {"token": {"expires_at": "soon"}}, None])
def test_read_token_raises_retryable_error_without_an_expiry(body: object) -> None:
    with pytest.raises(RetryableError):
        iam_codec.read_token(make_response(201, body, X_Subject_Token=TOKEN))


@pytest.mark.parametrize(
    "rows",
    [
        ",".join(["{}"] * MAX_VALUES),
        ",".join(["0"] * MAX_VALUES),
        ",".join(["[]"] * MAX_VALUES),
        "[" * MAX_VALUES + "]" * MAX_VALUES,
    ],
    ids=["objects", "numbers", "lists", "deep"],
)
def test_body_with_too_many_values_is_not_parsed(rows: str) -> None:
    response = make_response(200, text=f'{{"images": [{rows}]}}')

    assert parse_body(response) == {}
    with pytest.raises(RetryableError, match="no list of images"):
        codec.read_shares(response, "pid", 500)


def test_read_shares_reads_500_images_with_60_fields_each() -> None:
    row = {f"__field_{n}": "a text with a comma, and [brackets]" for n in range(60)}
    listed = [{"id": f"image-{n}", "owner": "o", "tags": [], **row} for n in range(500)]

    page = codec.read_shares(make_response(200, {"images": listed}), "pid", 500)

    assert len(page.images) == 500


def rows(count: int) -> dict[str, object]:
    return {"images": [{"id": f"Image-{n}", "owner": "o"} for n in range(count)]}


def test_read_shares_reads_the_link_to_the_next_page() -> None:
    body = {**rows(2), "next": "/v2/cloudimages?marker=image-1"}

    assert codec.read_shares(make_response(200, body), "pid", 500).has_next


def test_read_shares_refuses_more_rows_than_the_limit() -> None:
    page = codec.read_shares(make_response(200, rows(5)), "pid", 5)

    assert page.images == tuple(f"image-{n}" for n in range(5))
    assert page.marker == "image-4"
    with pytest.raises(RetryableError, match="6 images, the limit is 5"):
        codec.read_shares(make_response(200, rows(6)), "pid", 5)


@pytest.mark.parametrize("text", ["", "<html>", "[]", "{}", '{"images": 5}', '{"images": {}}'])
def test_read_shares_raises_when_the_body_is_not_a_list(text: str) -> None:
    with pytest.raises(RetryableError, match="no list of images"):
        codec.read_shares(make_response(200, text=text), "pid", 500)


@pytest.mark.parametrize("body", [{"images": []}, {"images": None}])
def test_read_shares_accepts_an_empty_list(body: object) -> None:
    assert codec.read_shares(make_response(200, body), "pid", 500) == codec.SharePage(
        images=(), rows=0, marker=None
    )


def test_read_shares_leaves_out_own_images_and_invalid_rows() -> None:
    listed = [
        {"id": "mine", "owner": "pid"},
        {"id": "x" * 65},
        {"id": 5},
        "text",
        {"id": "other", "owner": "o"},
    ]

    page = codec.read_shares(make_response(200, {"images": listed}), "pid", 500)

    assert page.images == ("other",)
    assert (page.rows, page.marker, page.has_next) == (5, "other", False)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ubuntu-24.04", "ubuntu-24.04"),
        ("\x1b[31mred\r\n", "?[31mred??"),
        ("a\u202eb\u200fc", "a?b?c"),
        ("x" * 4096, "x" * 127 + "…"),
        ("", None),
        (7, None),
    ],
    ids=["plain", "control characters", "direction marks", "4 KiB", "empty", "no text"],
)
def test_read_details_makes_names_safe_to_print(name: object, shown: str | None) -> None:
    details = codec.read_details({"name": name, "owner": "b" * 32})

    assert (details.name, details.owner) == (shown, "b" * 32)


@pytest.mark.parametrize("key", ["image_id", "member_id"])
def test_member_of_another_image_or_project_is_not_believed(key: str) -> None:
    body = {"status": "accepted", "image_id": "a", "member_id": "b", key: "other"}

    with pytest.raises(RetryableError, match=f"the response is for {key} other"):
        codec.read_member(make_response(200, body), "a", "b")


def test_html_page_for_a_login_names_the_proxy_too() -> None:
    found = login_error(parse_refusal(make_response(401, text=PAGE)), DEMO)

    assert "or check whether a proxy rejects the request" in str(found)
