"""What Keystone and Glance do: the same tests for real servers and for the simulator.

Where the simulator answers as IAM and IMS of the Open Telekom Cloud do, a test says so. `suite.py`
explains the clouds.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest

from openstack_cloud.conftest import of_openstack
from openstack_cloud.keystone import LOCKOUT_ATTEMPTS
from openstack_cloud.suite import Cloud, login_body, token_of

ACCEPTED = {"status": "accepted"}
SCOPES = {"project", "domain"}
UNKNOWN_ID = "0" * 32
UNKNOWN_IMAGE = "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"


def member(image: str, project: str) -> str:
    return f"/v2/images/{image}/members/{project}"


def listed(cloud: Cloud, token: str, **query: str) -> httpx.Response:
    """A list of shares, pending unless the query says otherwise."""
    asked = httpx.QueryParams({"visibility": "shared", "member_status": "pending"} | query)
    return cloud.send("GET", f"/v2/images?{asked}", token)


def ids(answer: httpx.Response) -> list[str]:
    return [row["id"] for row in answer.raise_for_status().json()["images"]]


def outcome(answer: httpx.Response) -> tuple[int, str]:
    """The status, and the error code or else the text."""
    body: dict[str, Any] = answer.json()
    error = body.get("error", body)
    return answer.status_code, str(error.get("error_code") or error.get("message"))


def without_a_role(cloud: Cloud) -> httpx.Response:
    return cloud.log_in(login_body(cloud.user(), cloud.project))


def in_an_unknown_project(cloud: Cloud) -> httpx.Response:
    return cloud.log_in(login_body(cloud.user_id, UNKNOWN_ID))


def as_a_disabled_user(cloud: Cloud) -> httpx.Response:
    user = cloud.user(cloud.project)
    cloud.disable(user)
    return cloud.log_in(login_body(user, cloud.project))


def wrong_password(cloud: Cloud, user_id: str = "") -> httpx.Response:
    """A login with a wrong password, by default of a new user: five of them lock one."""
    user_id = user_id or cloud.user(cloud.project)
    return cloud.log_in(login_body(user_id, cloud.project, "wrong"))


@pytest.mark.parametrize(
    ("log_in", "of_iam"),
    [
        (without_a_role, None),
        (in_an_unknown_project, (404, "IAM.0004")),
        (as_a_disabled_user, (403, "IAM.0082")),
    ],
)
def test_refused_login_looks_like_a_wrong_password(
    cloud: Cloud,
    log_in: Callable[[Cloud], httpx.Response],
    of_iam: tuple[int, str] | None,
) -> None:
    """The login fails; IAM has a code for each cause, and gives a token without a role."""
    answer = log_in(cloud)
    if not cloud.has_ims:
        assert answer.status_code == 401
        assert answer.json() == wrong_password(cloud).json()
    elif of_iam is not None:
        assert outcome(answer) == of_iam
    else:
        token = answer.raise_for_status().headers["X-Subject-Token"]
        assert listed(cloud, token).status_code == 403


def test_locked_user_looks_like_a_wrong_password(cloud: Cloud) -> None:
    user = cloud.user(cloud.project)
    refused = [wrong_password(cloud, user) for _ in range(LOCKOUT_ATTEMPTS)]
    locked = cloud.log_in(login_body(user, cloud.project))

    assert outcome(locked) == ((401, "IAM.0061") if cloud.has_ims else outcome(refused[0]))


def test_expired_password_is_named(cloud: Cloud) -> None:
    user = cloud.user(cloud.project)
    cloud.expire_password(user)
    status, text = outcome(cloud.log_in(login_body(user, cloud.project)))

    assert status == 401
    assert text == f"The password is expired and needs to be changed for user: {user}."
    assert "expired" not in wrong_password(cloud, user).text


def application_login(credential: dict[str, str], **auth: Any) -> dict[str, Any]:
    methods = {"methods": ["application_credential"], "application_credential": credential}
    return {"auth": {"identity": methods, **auth}}


@of_openstack
def test_application_credential_has_its_project(cloud: Cloud) -> None:
    answer = cloud.log_in(application_login(cloud.application_credential()))

    assert answer.status_code == 201
    assert answer.json()["token"]["project"]["id"] == cloud.project


@of_openstack
def test_unusable_application_credential_is_refused(cloud: Cloud) -> None:
    credential = cloud.application_credential()
    scope = {"project": {"id": cloud.project}}
    unknown = cloud.log_in(application_login({**credential, "id": UNKNOWN_ID}))
    wrong = cloud.log_in(application_login({**credential, "secret": "wrong"}))
    scoped = cloud.log_in(application_login(credential, scope=scope))
    expired = cloud.log_in(application_login(cloud.application_credential(expired=True)))

    assert outcome(unknown) == (404, f"Could not find Application Credential: {UNKNOWN_ID}.")
    assert scoped.status_code == 401
    assert "cannot request a scope" in outcome(scoped)[1]
    assert (wrong.status_code, expired.status_code) == (401, 401)
    assert wrong.json() == expired.json()


class Revoked(NamedTuple):
    """A token that was used, revoked and used again; ``is_cached``: within the cache time."""

    token: str
    before: int
    after: int
    is_cached: bool


def revoked_token(cloud: Cloud) -> Revoked:
    token = token_of(cloud, cloud.user_id, cloud.project)
    cached_at = time.monotonic()
    before = listed(cloud, token).status_code
    cloud.revoke(token)
    after = listed(cloud, token).status_code
    return Revoked(token, before, after, cloud.is_within_cache_time(cached_at))


def test_revoked_token_is_used_until_the_cache_time_is_over(cloud: Cloud) -> None:
    """IMS refuses it at once."""
    revoked = revoked_token(cloud)
    for _ in range(2):
        if not revoked.is_cached:  # a slow machine may need longer than the cache time
            revoked = revoked_token(cloud)
    cloud.wait_for_cache()

    assert revoked.before == 200
    assert revoked.after == (401 if cloud.has_ims else 200) or not revoked.is_cached
    assert listed(cloud, revoked.token).status_code == 401


@pytest.mark.parametrize("value", [None, "unknown"])
def test_request_without_a_valid_token_is_refused_in_json(cloud: Cloud, value: str | None) -> None:
    answer = cloud.send("GET", member(UNKNOWN_IMAGE, cloud.project), value)
    login = wrong_password(cloud)

    assert (answer.status_code, login.status_code) == (401, 401)
    assert answer.headers["Content-Type"].startswith("application/json")
    if cloud.has_ims:
        assert outcome(answer)[1] == "APIGW.0301"
    else:
        assert answer.headers["WWW-Authenticate"].startswith('Keystone uri="http')
        assert answer.json()["title"] == "Unauthorized"


def test_response_has_a_request_id(cloud: Cloud, token: str) -> None:
    name = "X-Request-Id" if cloud.has_ims else "X-Openstack-Request-Id"
    refused = cloud.send("GET", member(UNKNOWN_IMAGE, cloud.project), token)

    assert listed(cloud, token).headers[name]
    assert (refused.status_code, bool(refused.headers[name])) == (404, True)


def test_token_without_a_project_finds_no_share(cloud: Cloud) -> None:
    """IMS refuses the token."""
    path = member(cloud.image(), cloud.project)
    login = cloud.log_in(login_body(cloud.user_id, None))
    unscoped = login.headers["X-Subject-Token"]
    answers = [
        cloud.send("GET", path, unscoped).status_code,
        cloud.send("PUT", path, unscoped, ACCEPTED).status_code,
    ]

    assert login.json()["token"].keys().isdisjoint({"project"} if cloud.has_ims else SCOPES)
    assert answers == ([401, 401] if cloud.has_ims else [404, 404])


def test_token_of_another_project_finds_no_share(cloud: Cloud, token: str) -> None:
    path = member(cloud.image(), cloud.project)
    user = cloud.user(cloud.other_project)
    other = token_of(cloud, user, cloud.other_project)

    assert cloud.send("GET", path, other).status_code == 404
    assert cloud.send("PUT", path, other, ACCEPTED).status_code == 404
    assert cloud.send("GET", path, token).json()["status"] == "pending"


def test_marker_may_be_any_image_that_the_project_sees(cloud: Cloud, token: str) -> None:
    """The simulator of IMS takes only images of the list."""
    older, accepted, newer = (cloud.image() for _ in range(3))
    cloud.send("PUT", member(accepted, cloud.project), token, ACCEPTED).raise_for_status()
    answer = listed(cloud, token, marker=accepted)
    if cloud.has_ims:
        assert answer.status_code == 400
    else:
        assert older in ids(answer)
        assert newer not in ids(answer)


def test_marker_that_the_project_can_not_see_is_refused(cloud: Cloud, token: str) -> None:
    foreign = listed(cloud, token, marker=cloud.image(shared=False))
    unknown = listed(cloud, token, marker=UNKNOWN_IMAGE)

    assert foreign.status_code == (400 if cloud.has_ims else 403)
    assert unknown.status_code == 400


def test_image_type_of_ims_is_a_property_for_glance(cloud: Cloud, token: str) -> None:
    """IMS filters by it."""
    image = cloud.image()

    assert image in ids(listed(cloud, token))
    assert (image in ids(listed(cloud, token, __imagetype="shared"))) == cloud.has_ims


@of_openstack
def test_hidden_image_is_found_but_not_listed(cloud: Cloud, token: str) -> None:
    image = cloud.image()
    cloud.hide(image)

    assert image not in ids(listed(cloud, token))
    assert ids(listed(cloud, token, os_hidden="true")) == [image]
    assert cloud.send("GET", f"/v2/images/{image}", token).status_code == 200
    assert cloud.send("PUT", member(image, cloud.project), token, ACCEPTED).status_code == 200


@of_openstack
def test_membership_is_kept_while_the_image_is_not_shared(cloud: Cloud, token: str) -> None:
    image = cloud.image()
    path = member(image, cloud.project)
    cloud.send("PUT", path, token, ACCEPTED).raise_for_status()
    seen = {}
    for visibility in ("private", "shared", "community", "shared"):
        cloud.set_visibility(image, visibility)
        seen[visibility] = [
            cloud.send("GET", f"/v2/images/{image}", token).status_code,
            cloud.send("GET", path, token).status_code,
            cloud.send("PUT", path, token, ACCEPTED).status_code,
            int(image in ids(listed(cloud, token, member_status="accepted"))),
        ]

    assert seen == {
        "private": [404, 404, 404, 0],
        "community": [200, 404, 403, 0],
        "shared": [200, 200, 200, 1],
    }


@of_openstack
def test_community_image_is_listed_only_as_such(cloud: Cloud, token: str) -> None:
    image = cloud.image(shared=False)
    cloud.set_visibility(image, "community")

    assert image in ids(cloud.send("GET", "/v2/images?visibility=community&limit=100", token))
    assert image not in ids(cloud.send("GET", "/v2/images?limit=100", token))
