"""Credentials from a clouds.yaml in a Secret."""

import pytest

from image_share_operator.api import clouds_yaml
from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    PasswordCredentials,
    TokenCredentials,
)

PASSWORD = "hunter2-in-the-yaml"


def document(auth: str, *, beside: str = "", more: str = "") -> bytes:
    return f"""
clouds:
  otc:
    auth: {{auth_url: "https://elsewhere.test/v3", {auth}}}
    region_name: eu-de
    {beside}
{more}
""".encode()


USER = f"username: op, password: {PASSWORD}"
NAMED = f"{USER}, user_domain_name: OTC-1, project_name: other"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            document(NAMED),
            PasswordCredentials(user_name="op", domain_name="OTC-1", password=PASSWORD),
        ),
        (
            document(f"{USER}, domain_name: OTC-2"),
            PasswordCredentials(user_name="op", domain_name="OTC-2", password=PASSWORD),
        ),
        (
            document(f"{USER}, user_domain_id: d1"),
            PasswordCredentials(user_name="op", domain_id="d1", password=PASSWORD),
        ),
        (
            document(f"{USER}, user-domain-id: d1, user_domain_name: OTC-1"),
            PasswordCredentials(user_name="op", domain_id="d1", password=PASSWORD),
        ),
        (
            document(f"user_id: u1, password: {PASSWORD}"),
            PasswordCredentials(user_id="u1", password=PASSWORD),
        ),
        (document("token: abc"), TokenCredentials(token="abc")),
        (document("token: abc", beside="auth_type: v3token"), TokenCredentials(token="abc")),
        (
            document(f"{NAMED}, token: abc", beside="auth_type: password"),
            PasswordCredentials(user_name="op", domain_name="OTC-1", password=PASSWORD),
        ),
        (
            document("username: op", beside=f"password: {PASSWORD}\n    user_domain_name: OTC-1"),
            PasswordCredentials(user_name="op", domain_name="OTC-1", password=PASSWORD),
        ),
        (
            document("username: op, password: 'p{a}ss{', user_domain_name: OTC-1"),
            PasswordCredentials(user_name="op", domain_name="OTC-1", password="p{a}ss{"),
        ),
        (
            document(NAMED, beside="obs_endpoint: 'https://obs.{region_name}.test'"),
            PasswordCredentials(user_name="op", domain_name="OTC-1", password=PASSWORD),
        ),
        (
            document(
                "username: 'op', password: \"0123\"", beside="user_domain_name: |-\n      007\n"
            ),
            PasswordCredentials(user_name="op", domain_name="007", password="0123"),
        ),
        (
            document("username: op, password: !!str 0123, user_domain_name: 1e3"),
            PasswordCredentials(user_name="op", domain_name="1e3", password="0123"),
        ),
        (
            document(NAMED, beside="regions: [eu-de, {name: eu-nl, values: {x: 1}}]"),
            PasswordCredentials(user_name="op", domain_name="OTC-1", password=PASSWORD),
        ),
        (
            b"\xef\xbb\xbf" + document(NAMED),
            PasswordCredentials(user_name="op", domain_name="OTC-1", password=PASSWORD),
        ),
    ],
    ids=[
        "user and domain of the user",
        "user and domain",
        "ID of the domain",
        "ID and name of the domain",
        "user id",
        "token",
        "token by its type",
        "password by its type",
        "beside auth",
        "braces in the password",
        "braces that the client fills",
        "quoted and block scalars",
        "string by its tag",
        "regions with equal credentials",
        "byte order mark",
    ],
)
def test_clouds_yaml_is_read_as_credentials(text: bytes, expected: object) -> None:
    assert clouds_yaml.read(text, None) == expected


KEYS = AccessKeyCredentials(access_key="AK1", secret_key="sk1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (document("ak: AK1, sk: sk1"), KEYS),
        (document("ak: AK1, sk: sk1", beside="auth_type: aksk"), KEYS),
        (document("", beside="access_key: AK1\n    secret_key: sk1"), KEYS),
        (
            document("ak: AK1, sk: sk1, security_token: st1"),
            AccessKeyCredentials(access_key="AK1", secret_key="sk1", security_token="st1"),
        ),
        (document(f"{NAMED}, ak: AK1, sk: sk1", beside="auth_type: aksk"), KEYS),
        (
            document(NAMED, beside="ak: AK1\n    sk: sk1"),
            PasswordCredentials(user_name="op", domain_name="OTC-1", password=PASSWORD),
        ),
        (document("token: abc, ak: AK1, sk: sk1"), TokenCredentials(token="abc")),
        (document("token: abc, ak: AK1, sk: sk1", beside="auth_type: aksk"), KEYS),
    ],
    ids=[
        "of gophertelekomcloud",
        "with its type",
        "of python-otcextensions",
        "temporary",
        "type before user",
        "user before key",
        "token before key",
        "type before token",
    ],
)
def test_clouds_yaml_is_read_as_an_access_key(text: bytes, expected: object) -> None:
    assert clouds_yaml.read(text, None) == expected


def test_clouds_yaml_reads_the_named_cloud() -> None:
    text = document(NAMED, more="  two: {auth: {token: abc}}")

    assert clouds_yaml.read(text, "two") == TokenCredentials(token="abc")


REGIONS = """regions:
      - {name: eu-de, values: {auth: {password: of-eu-de}}}
      - {name: eu-nl, values: {auth: {password: of-eu-nl}}}
"""


ERRORS: list[tuple[bytes, str | None, str]] = [
    (b"clouds: [1, : {", None, r"is not YAML \(line 1\)"),
    (b"\xff\xfec\x00", None, "is UTF-16 text; save it as UTF-8"),
    (b"\xff\x00", None, "is not UTF-8 text"),
    (b"hello", None, "has no clouds"),
    (b"clouds: {}", None, "has no clouds"),
    (document(NAMED), "absent", "no cloud with the name in the key cloud"),
    (document(NAMED, more="  two: {}"), None, "several clouds"),
    (document(f"password: {PASSWORD}"), None, "auth.username"),
    (document(USER), None, "auth.user_domain_name"),
    (document("username: op"), None, "no auth.password, auth.token or auth.ak"),
    (document("ak: AK1"), None, "auth.sk of cloud otc is missing: an access key needs auth.ak and"),
    (document("sk: hunter2"), None, "auth.ak of cloud otc is missing"),
    (document("ak: hunter2 x, sk: x"), None, "auth.ak of cloud otc has characters"),
    (document("ak: x, sk: 'hunter2 x'"), None, "auth.sk of cloud otc has characters"),
    (document("ak: 123, sk: x"), None, "auth.ak of cloud otc is not a string: quote it"),
    (document("ak: x, sk: x", beside="auth_type: password"), None, "no auth.password"),
    (document(NAMED, beside="auth_type: aksk"), None, "auth_type aksk and no auth.ak"),
    (b"clouds: {otc: {auth: 7}}", None, "auth of cloud otc is not a mapping"),
    (b"clouds: {otc: 7}", None, "cloud otc is not a mapping"),
    (b"clouds: {otc: {profile: 'https://evil.test'}}", None, "must not be a URL"),
    (
        document(NAMED, beside="obs: 'https://obs.{region}.test'"),
        None,
        "cloud otc can't be read: a field has braces",
    ),
    (
        document(NAMED, beside="obs_endpoint: '{region_name:>200000000}'"),
        None,
        "cloud otc can't be read: obs_endpoint has braces",
    ),
    (document(NAMED, beside="obs_endpoint: 'a } b'"), None, "obs_endpoint has braces"),
    (
        document("username: 007, password: 0123456, user_domain_name: 00001"),
        None,
        "auth.password of cloud otc is not a string: quote it",
    ),
    (document(f"{USER}, user_domain_name: 2026-01-01"), None, "not a string: quote it"),
    (document("password: 12:30:45"), None, "auth.password of cloud otc is not a string"),
    (document("password: 1_000.5"), None, "auth.password of cloud otc is not a string"),
    (document("token: yes"), None, "auth.token of cloud otc is not a string: quote it"),
    (document("password: [a]"), None, "auth.password of cloud otc is not a string"),
    (document("password: !!binary aGk="), None, "tags are not supported"),
    (document("password: !vault x"), None, "tags are not supported"),
    (document(NAMED, beside="note: &a {k: v}\n    other: *a"), None, "aliases"),
    (document(NAMED, beside="<<: {a: b}"), None, "merge keys are not supported"),
    (document(f"{NAMED}, password: other"), None, "the same key is there twice"),
    (document(f"{NAMED}, user-domain-name: other"), None, "user_domain_name .* twice"),
    (document(NAMED) + b"---\na: b\n", None, "several documents"),
    (document(NAMED, beside="? {a: b}\n    : c"), None, "can't be a key"),
    (document(NAMED, beside="auth_type: v3multifactor"), None, "v3multifactor is not supp"),
    (
        document(NAMED, beside="auth_type: v3applicationcredential"),
        None,
        "cloud otc needs auth.application_credential_id and auth.application_credential_secret; a",
    ),
    (document(NAMED, beside="auth_type: hunter2"), None, "auth_type of cloud otc is not supp"),
    (document(NAMED, beside="auth_type: token"), None, "auth_type token and no auth.token"),
    (
        document("application_credential_id: a, application_credential_secret: b"),
        None,
        "cloud otc has an application credential; set auth_type to v3applicationcredential",
    ),
    (document(NAMED, beside="verify: false"), None, "verify: false of cloud otc"),
    (document(NAMED, beside="insecure: 'True'"), None, "insecure: true of cloud otc"),
    (
        document("username: op, user_domain_name: OTC-1", beside=REGIONS),
        None,
        "the regions of cloud otc have different credentials",
    ),
    (document(NAMED, beside="regions: 7"), None, "regions of cloud otc is not a list"),
    (document(NAMED, beside="regions: [[a]]"), None, "a region of cloud otc is neither"),
    (
        document("password: 'ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]'"),
        None,
        "auth.password of cloud otc is still encrypted",
    ),
    (
        b'{"data": "ENC[AES256_GCM,data:eA==,type:str]", "sops": {"mac": "x"}}',
        None,
        "clouds.yaml is still encrypted",
    ),
    (b"<path:kv/data/otc#clouds>", None, "clouds.yaml is a placeholder"),
    (document(f"password: {'x' * 5000}"), None, "longer than 4096 characters"),
    (document(NAMED) + b"#" * 65536, None, "larger than 64 KiB"),
    (b"[" * 20, None, "nested deeper than 16 levels"),
    (b"[" + b"a," * 11000 + b"]", None, "more than 10000 values"),
]


@pytest.mark.parametrize(("text", "cloud", "message"), ERRORS, ids=[row[2] for row in ERRORS])
def test_clouds_yaml_error_names_the_field_and_never_a_value(
    text: bytes, cloud: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        clouds_yaml.read(text, cloud)

    shown = str(caught.value)
    assert shown.startswith("clouds.yaml")
    assert "\n" not in shown
    assert PASSWORD not in shown
    assert "hunter2" not in shown
    assert caught.value.__cause__ is None


def test_clouds_yaml_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_USERNAME", "intruder")
    monkeypatch.setenv("OS_PASSWORD", "intruder")

    assert "intruder" not in str(clouds_yaml.read(document(NAMED), None))
