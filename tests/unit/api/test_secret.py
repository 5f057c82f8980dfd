"""Credentials and certificates from the keys of a Secret."""

import base64
import ssl
from collections.abc import Mapping

import pytest
import trustme

from image_share_operator.api import secret
from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    ApplicationCredentials,
    PasswordCredentials,
    TokenCredentials,
)

PASSWORD = "hunter2-of-the-user"
NAMED = {"username": "op", "password": PASSWORD, "domainName": "OTC-1"}
SOPS = "ENC[AES256_GCM,data:d29ybGQ=,iv:MTIzNDU2Nzg5MDEy,tag:MTIzNDU2Nzg5MDEyMzQ1Ng==,type:str]"
TOKEN = "MII" + "A" * 100
APPLICATION = {"applicationCredentialID": "c0ffee", "applicationCredentialSecret": "hunter2"}
KEYS = {"accessKey": "AKHUNTER2", "secretKey": "sk-hunter2"}


def encoded(data: Mapping[str, str | bytes]) -> dict[str, bytes]:
    return {
        key: value if isinstance(value, bytes) else value.encode() for key, value in data.items()
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"token": TOKEN}, TokenCredentials(token=TOKEN)),
        (NAMED, PasswordCredentials(user_name="op", password=PASSWORD, domain_name="OTC-1")),
        (
            {"username": "op", "password": PASSWORD, "domainID": "d1"},
            PasswordCredentials(user_name="op", password=PASSWORD, domain_id="d1"),
        ),
        (
            {**NAMED, "domainID": "d1"},
            PasswordCredentials(user_name="op", password=PASSWORD, domain_name="OTC-1"),
        ),
        (
            {"userID": "u1", "password": PASSWORD},
            PasswordCredentials(user_id="u1", password=PASSWORD),
        ),
        (
            {"token": TOKEN, "cloud": "x", "domainName": "d", "note": "", "ca.crt": ""},
            TokenCredentials(token=TOKEN),
        ),
        (
            {
                "username": "op\r\n",
                "password": b"\xef\xbb\xbf" + PASSWORD.encode(),
                "domainID": "d",
            },
            PasswordCredentials(user_name="op", password=PASSWORD, domain_id="d"),
        ),
        (
            {**NAMED, "password": "aGVsbG8="},
            PasswordCredentials(user_name="op", password="aGVsbG8=", domain_name="OTC-1"),
        ),
        (
            {**NAMED, "password": "$a{b}<c>%d{{"},
            PasswordCredentials(user_name="op", password="$a{b}<c>%d{{", domain_name="OTC-1"),
        ),
        (
            {"accessKey": "AKHUNTER2\n", "secretKey": "sk+hunter2"},
            AccessKeyCredentials(access_key="AKHUNTER2", secret_key="sk+hunter2"),
        ),
        (
            {**KEYS, "securityToken": TOKEN},
            AccessKeyCredentials(
                access_key="AKHUNTER2", secret_key="sk-hunter2", security_token=TOKEN
            ),
        ),
        (APPLICATION, ApplicationCredentials(id="c0ffee", secret="hunter2")),
    ],
    ids=[
        "token",
        "user and domain",
        "ID of the domain",
        "name and ID of the domain",
        "user ID",
        "keys that are no credentials",
        "line end and byte order mark",
        "password that looks like base64",
        "password with special characters",
        "permanent access key",
        "temporary access key",
        "application credential",
    ],
)
def test_secret_is_read_as_credentials(data: Mapping[str, str | bytes], expected: object) -> None:
    assert secret.parse(encoded(data)) == expected


ERRORS: list[tuple[Mapping[str, str | bytes], str]] = [
    ({}, "needs the keys of one of these: token; clouds.yaml; userID and password; username,"),
    ({"hunter2": "x"}, "needs the keys of one of these"),
    ({"user-name": "op", "PASSWORD": "x"}, "rename the key PASSWORD to password, user-name to use"),
    ({"username": "op", "pass": "x"}, "key password is missing; rename the key pass to password"),
    ({"password": PASSWORD}, "key username is missing"),
    ({"username": "op", "password": PASSWORD}, "key domainName is missing"),
    ({"userID": "u"}, "key password is missing"),
    ({**NAMED, "token": TOKEN}, "has several credentials, keys token and username; keep those of"),
    ({"token": TOKEN, "password": PASSWORD}, "keys token and password"),
    ({**NAMED, "userID": "u1"}, "keys userID and username"),
    ({**NAMED, "clouds.yaml": "x", "token": "y"}, "keys token, clouds.yaml and username"),
    ({**NAMED, **KEYS}, "keys username and accessKey; keep those of one"),
    ({"token": TOKEN, "secretKey": "sk"}, "keys token and secretKey"),
    ({**KEYS, "password": PASSWORD}, "keys accessKey and password"),
    ({**NAMED, **APPLICATION}, "keys username and applicationCredentialID; keep those of one"),
    ({"applicationCredentialID": "a"}, "key applicationCredentialSecret is missing"),
    ({"applicationCredentialSecret": "s"}, "key applicationCredentialID is missing"),
    ({**APPLICATION, "applicationCredentialSecret": ""}, "key applicationCredentialSecret is em"),
    ({"accessKey": "AK"}, "key secretKey is missing"),
    ({"secretKey": "sk", "securityToken": "t"}, "key accessKey is missing"),
    ({"securityToken": "t"}, "key accessKey is missing"),
    ({"AK": "a", "secret_access_key": "s"}, "rename the key AK to accessKey, secret_access_key to"),
    ({**KEYS, "sessionToken": "t"}, "rename the key sessionToken to securityToken"),
    ({**KEYS, "accessKey": ""}, "key accessKey is empty"),
    ({**KEYS, "accessKey": "AK HUNTER2"}, "key accessKey has characters that are not allowed in"),
    ({**KEYS, "secretKey": " sk-hunter2"}, "key secretKey has characters that are not allowed in"),
    ({**KEYS, "accessKey": "AK/hunter2"}, "key accessKey has characters"),
    ({**KEYS, "secretKey": "sk-hunter2ü"}, "key secretKey has characters"),
    ({**KEYS, "accessKey": "A" * 129}, "key accessKey has characters"),
    ({**KEYS, "securityToken": "hunter2\nx"}, "key securityToken has characters"),
    ({**KEYS, "securityToken": "x" * 40_000}, "key securityToken is longer than 32768 characters"),
    ({**KEYS, "secretKey": SOPS}, r"key secretKey is still encrypted \(SOPS\)"),
    ({**NAMED, "password": ""}, "key password is empty"),
    ({**NAMED, "password": "\r\n"}, "key password is empty"),
    ({**NAMED, "password": b"\xff"}, "key password is not UTF-8 text"),
    ({**NAMED, "password": PASSWORD.encode("utf-16")}, "key password is UTF-16 text; save it as"),
    ({**NAMED, "password": "x" * 4097}, "key password is longer than 4096 characters"),
    ({**NAMED, "password": "x" * 900_000}, "key password is longer than 4096 characters"),
    ({"token": "x" * 40_000}, "key token is longer than 32768 characters"),
    ({"token": f"{PASSWORD}\n{PASSWORD}"}, "key token has characters that are not allowed"),
    ({**NAMED, "password": SOPS}, r"key password is still encrypted \(SOPS\)"),
    ({**NAMED, "username": SOPS}, r"key username is still encrypted \(SOPS\)"),
    ({**NAMED, "domainName": SOPS}, r"key domainName is still encrypted \(SOPS\)"),
    ({"token": SOPS}, r"key token is still encrypted \(SOPS\)"),
    ({"clouds.yaml": "x", "cloud": SOPS}, r"key cloud is still encrypted \(SOPS\)"),
    (
        {**NAMED, "password": base64.b64encode(SOPS.encode())},
        "key password is encoded in base64 twice",
    ),
    ({"token": base64.b64encode(TOKEN.encode())}, "key token is encoded in base64 twice"),
    ({"clouds.yaml": base64.b64encode(b"clouds:\n  x: y")}, "clouds.yaml is encoded in base64 tw"),
    ({**NAMED, "password": "<path:kv/data/otc#password>"}, "is a placeholder of a Vault plugin"),
    ({**NAMED, "password": "${OTC_PASSWORD:-x}"}, "key password is a placeholder"),
    ({**NAMED, "password": "$(PASSWORD)"}, "key password is a placeholder"),
    ({**NAMED, "password": "{{ .password }}"}, "key password is a template"),
    ({**NAMED, "password": "ref+vault://kv/otc#password"}, "is a reference of helm-secrets"),
    ({**NAMED, "password": "vault:secret/data/otc#password"}, "is a reference to a Vault path"),
    ({**NAMED, "password": "op://team/otc/password"}, "is a reference to 1Password"),
    ({**NAMED, "password": "AgB" + "a" * 700}, r"is still encrypted \(Sealed Secrets\)"),
    ({**NAMED, "password": "$ANSIBLE_VAULT;1.1;AES256\n6162"}, r"encrypted \(Ansible Vault\)"),
    ({**NAMED, "password": "-----BEGIN AGE ENCRYPTED FILE-----\nx"}, r"encrypted \(age or PGP\)"),
]


@pytest.mark.parametrize(("data", "message"), ERRORS, ids=[row[1] for row in ERRORS])
def test_secret_error_names_the_key_and_never_a_value(
    data: Mapping[str, str | bytes], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        secret.parse(encoded(data))

    shown = str(caught.value)
    assert "\n" not in shown
    assert "hunter2" not in shown
    assert "AES256" not in shown
    assert caught.value.__cause__ is None


def test_access_key_is_not_in_the_repr() -> None:
    found = secret.parse(encoded({**KEYS, "securityToken": TOKEN}))

    assert repr(found) == "AccessKeyCredentials()"


@pytest.fixture(scope="module")
def pems() -> tuple[str, str]:
    return tuple(trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.bytes().decode() for _ in "ab")  # type: ignore[return-value]  # two of them


@pytest.mark.parametrize(
    "form",
    [
        "{one}{two}",
        "{one_bare}{two_bare}",
        "\ufeff{one}\n# Müller's authority\n{two}",
        "  {one_indented}\r\n{two}",
        "{two}{one}{two}",
    ],
    ids=["one after another", "no newline between", "byte order mark", "indented", "twice"],
)
def test_all_certificates_of_ca_crt_are_read(pems: tuple[str, str], form: str) -> None:
    one, two = pems
    text = form.format(
        one=one,
        two=two,
        one_bare=one.strip(),
        two_bare=two.strip(),
        one_indented=one.replace("\n", "\r\n  "),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    context.load_verify_locations(cadata=secret.parse_ca({"ca.crt": text.encode()}))

    assert set(context.get_ca_certs(binary_form=True)) == {
        ssl.PEM_cert_to_DER_cert(pem) for pem in pems
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no certificates in PEM form"),
        ("hello", "has no certificates in PEM form"),
        (
            "{one}-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----",
            "certificate 2 of",
        ),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----{one}", "certificate 1 of 2"),
        ("{one}{cut}", "certificate 2 of 2 has no end line"),
        ("{encoded}", "is encoded in base64 twice"),
        ("#" * 300_000, "is larger than 256 KiB"),
        ("-----BEGIN CERTIFICATE-----\n" * 201, "more than 200 certificates"),
    ],
    ids=["empty", "text", "no certificate", "no base64", "cut", "base64 twice", "large", "many"],
)
def test_ca_crt_error_names_the_certificate(pems: tuple[str, str], text: str, message: str) -> None:
    one, two = pems
    filled = text.format(one=one, cut=two[:200], encoded=base64.b64encode(one.encode()).decode())

    with pytest.raises(ValueError, match=f"key ca.crt.*{message}"):
        secret.parse_ca({"ca.crt": filled.encode()})


def test_ca_crt_in_utf_16_is_named(pems: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"key ca\.crt is UTF-16 text"):
        secret.parse_ca({"ca.crt": pems[0].encode("utf-16")})


def test_secret_without_ca_crt_has_no_certificates() -> None:
    assert secret.parse_ca({"token": b"x"}) is None
