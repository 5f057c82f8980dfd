"""Credentials from a clouds.yaml, through the library that owns the format."""

import pytest

from image_share_operator.api import clouds_yaml
from image_share_operator.api.credentials import PasswordCredentials, TokenCredentials

PASSWORD = "hunter2-in-the-yaml"


def document(auth: str, *, more: str = "") -> bytes:
    return f"""
clouds:
  otc:
    auth: {{auth_url: "https://elsewhere.test/v3", {auth}}}
    region_name: eu-de
{more}
""".encode()


NAMED = f"username: op, password: {PASSWORD}, user_domain_name: OTC-1, project_name: other"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (NAMED, PasswordCredentials(user_name="op", domain_name="OTC-1", password=PASSWORD)),
        (
            f"username: op, password: {PASSWORD}, domain_name: OTC-2",
            PasswordCredentials(user_name="op", domain_name="OTC-2", password=PASSWORD),
        ),
        (
            f"user_id: u1, password: {PASSWORD}",
            PasswordCredentials(user_id="u1", password=PASSWORD),
        ),
        ("token: abc", TokenCredentials(token="abc")),
    ],
    ids=["user and domain of the user", "user and domain", "user id", "token"],
)
def test_clouds_yaml_is_read_as_credentials(auth: str, expected: object) -> None:
    assert clouds_yaml.read(document(auth), None) == expected


def test_clouds_yaml_reads_the_named_cloud() -> None:
    text = document(NAMED, more="  two: {auth: {token: abc}}")

    assert clouds_yaml.read(text, "two") == TokenCredentials(token="abc")


@pytest.mark.parametrize(
    ("text", "cloud", "message"),
    [
        (b"clouds: [1, : {", None, "is not YAML"),
        (b"\xff\xfe\x00", None, "is not YAML"),
        (b"hello", None, "has no clouds"),
        (b"clouds: {}", None, "has no clouds"),
        (document(NAMED), "absent", "has no cloud absent"),
        (document(NAMED, more="  two: {}"), None, "several clouds"),
        (document(f"password: {PASSWORD}"), None, "auth.username"),
        (document(f"username: op, password: {PASSWORD}"), None, "auth.user_domain_name"),
        (document("username: op"), None, "neither auth.password nor auth.token"),
        (b"clouds: {otc: {auth: 7}}", None, "otc"),
        (b"clouds: {otc: {profile: 'https://evil.test'}}", None, "must not be a URL"),
    ],
    ids=[
        "not YAML",
        "not text",
        "no mapping",
        "no cloud",
        "another cloud",
        "several clouds",
        "no user",
        "no domain",
        "no password",
        "invalid auth",
        "profile URL",
    ],
)
def test_clouds_yaml_error_names_the_field_and_never_a_value(
    text: bytes, cloud: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        clouds_yaml.read(text, cloud)

    assert PASSWORD not in str(caught.value)


def test_clouds_yaml_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_USERNAME", "intruder")
    monkeypatch.setenv("OS_PASSWORD", "intruder")

    assert "intruder" not in str(clouds_yaml.read(document(NAMED), None))
