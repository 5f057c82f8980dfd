"""A cloud of the user: found and read as the OpenStack client does."""

import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from cli.command import Ended
from image_share_operator.api import clouds_yaml
from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    ApplicationCredentials,
    PasswordCredentials,
)
from image_share_operator.cli import credentials, os_cloud
from image_share_operator.cli.exit_codes import CommandError
from otc_simulator.client import Simulator, tls_arguments

Run = Callable[..., Ended]
USER = "username: op, user_domain_name: OTC-1"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, and the current directory beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def cloud(password: str, *, beside: str = "") -> str:
    return f"clouds:\n  otc:\n    auth: {{{USER}, password: '{password}'}}\n    {beside}\n"


def password_of(env: Mapping[str, str]) -> str:
    found = clouds_yaml.credentials_of(os_cloud.find("otc", env))

    assert isinstance(found, PasswordCredentials)
    return found.password


PLACES = (
    "here/clouds.yaml",
    "here/clouds.yml",
    "here/clouds.json",
    "xdg/openstack/clouds.yaml",
    ".config/openstack/clouds.yaml",
    "site/openstack/clouds.yaml",
)


def test_clouds_yaml_is_searched_in_the_order_of_the_client(home: Path) -> None:
    env = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "xdg"),
        "XDG_CONFIG_DIRS": f"{home}/none:{home}/site",
        "OS_CLIENT_CONFIG_FILE": str(home / "named"),
    }
    places = ("named", *PLACES)
    for place in places:
        write(home / place, cloud(place))

    for place in places:
        assert password_of(env) == place
        (home / place).unlink()


def test_secure_yaml_is_merged_into_clouds_yaml(home: Path) -> None:
    write(home / "here/clouds.yaml", f"clouds: {{otc: {{auth: {{{USER}}}}}}}")
    write(home / "here/secure.yaml", "clouds: {otc: {auth: {password: of-secure}}}")

    assert password_of({"HOME": str(home)}) == "of-secure"

    named = write(home / "named", "clouds: {otc: {auth: {password: of-named}}}")

    assert password_of({"HOME": str(home), "OS_CLIENT_SECURE_FILE": named}) == "of-named"


def test_environment_wins_over_clouds_yaml(home: Path) -> None:
    write(home / "here/clouds.yaml", cloud("of-the-file"))

    assert password_of({"HOME": str(home), "OS_PASSWORD": "of-env"}) == "of-env"


def test_message_names_the_variable_with_the_wrong_path(home: Path) -> None:
    env = {"HOME": str(home), "OS_CLIENT_CONFIG_FILE": "/absent/clouds.yaml"}

    with pytest.raises(ValueError, match=r"correct OS_CLIENT_CONFIG_FILE=/absent/clouds\.yaml"):
        os_cloud.find("otc", env)

    write(home / "here/clouds.yaml", cloud("x", beside="cacert: /other"))
    env = {"HOME": str(home), "OS_CACERT": "/absent/ca.pem"}
    with pytest.raises(CommandError, match=r"OS_CACERT /absent/ca\.pem: No such file"):
        os_cloud.cacert(os_cloud.find("otc", env)[0], env)


def test_profile_of_clouds_public_yaml_is_merged(home: Path) -> None:
    write(home / "here/clouds.yaml", "clouds: {otc: {profile: ours, auth: {password: p}}}")
    write(home / "here/clouds-public.yaml", f"public-clouds: {{ours: {{auth: {{{USER}}}}}}}")

    assert password_of({"HOME": str(home)}) == "p"


def test_own_file_may_have_aliases_and_merge_keys(home: Path) -> None:
    text = f"""
base: &base
  auth: &auth {{{USER}, password: of-base}}
clouds:
  otc:
    <<: *base
    auth:
      <<: [{{username: other}}, *auth]
      password: own
"""
    write(home / "here/clouds.yaml", text)

    found = clouds_yaml.credentials_of(os_cloud.find("otc", {"HOME": str(home)}))

    assert found == PasswordCredentials(user_name="other", domain_name="OTC-1", password="own")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "clouds.yaml not found in the current directory"),
        ("clouds: {a: {}}", "clouds.yaml has no cloud otc"),
        ("clouds: [", r"clouds.yaml is not YAML \(line 2\)"),
        (cloud("x", beside="verify: false"), "verify: false of cloud otc is not supported"),
        (cloud("x", beside="cacert: /absent"), "cacert /absent: No such file"),
        (cloud("${OTC_PASSWORD}"), "auth.password of cloud otc is a placeholder"),
        (cloud("x", beside="obs_endpoint: 'a{region}'"), "cloud otc can't be read: obs_endpoint"),
    ],
    ids=["no file", "no cloud", "no YAML", "verify", "cacert", "placeholder", "braces"],
)
def test_unusable_cloud_is_one_line_and_exit_1(
    run: Run, tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        write(tmp_path / "clouds.yaml", text)

    ended = run("pending", "--region", "eu-de", "--project", "a" * 32, "--os-cloud", "otc")

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert re.search(message, ended.err)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls_simulator(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Simulator]:
    arguments = tls_arguments(authority, tmp_path_factory.mktemp("tls"), "127.0.0.1")
    with Simulator(*arguments) as running:
        yield running


@pytest.mark.parametrize("how", ["cacert", "OS_CACERT", "OS_CACERT without a cloud", "none"])
def test_certificates_of_the_cloud_are_trusted(
    tls_simulator: Simulator, authority: trustme.CA, run: Run, tmp_path: Path, how: str
) -> None:
    sim = tls_simulator
    write(tmp_path / "ca.pem", authority.cert_pem.bytes().decode())
    auth = f"username: {sim.user}, password: {sim.password}, user_domain_name: {sim.domain}"
    beside = "cacert: ~/ca.pem" if how == "cacert" else ""
    write(tmp_path / "clouds.yaml", f"clouds:\n  otc:\n    auth: {{{auth}}}\n    {beside}\n")
    env = {"OS_CACERT": "ca.pem"} if how.startswith("OS_CACERT") else {}
    if how.endswith("without a cloud"):
        env |= {"OS_USERNAME": sim.user, "OS_PASSWORD": sim.password}
        env |= {"OS_USER_DOMAIN_NAME": sim.domain}
    else:
        env |= {"OS_CLOUD": "otc"}

    ended = run("pending", "--iam", sim.url, "--ims", sim.url, "--project", sim.project_id, **env)

    assert ended.code == (3 if how == "none" else 0), ended.err


USER_ENV = {"OS_USERNAME": "op", "OS_PASSWORD": "p", "OS_USER_DOMAIN_ID": "d1"}


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"OS_PASSWORD": "x"}, "OS_PASSWORD has no user"),
        ({"OS_PASSWORD": "${PW}", "OS_USERNAME": "u"}, "OS_PASSWORD is a placeholder"),
        ({"OS_TOKEN": "x\u00e9"}, "OS_TOKEN has characters that are not allowed"),
        ({"OS_TOKEN": "x", "OS_AUTH_TYPE": "v3totp"}, "OS_AUTH_TYPE: v3totp is not supported"),
        ({"OS_ACCESS_KEY": "x"}, "an access key needs OS_ACCESS_KEY and OS_SECRET_KEY; set both"),
        (
            {"OS_ACCESS_KEY": "x y", "OS_SECRET_KEY": "x"},
            "OS_ACCESS_KEY has characters that are not allowed in an access key",
        ),
        (
            {"OS_APPLICATION_CREDENTIAL_NAME": "x", "OS_APPLICATION_CREDENTIAL_SECRET": "x"},
            "OS_APPLICATION_CREDENTIAL_SECRET; set both. A name without the ID is not supported",
        ),
        ({**USER_ENV, "OS_AUTH_TYPE": "v3token"}, "OS_AUTH_TYPE needs a token; set OS_TOKEN"),
        ({**USER_ENV, "OS_AUTH_TYPE": "aksk"}, "OS_AUTH_TYPE needs an access key; set OS_ACCESS"),
        ({**USER_ENV, "OS_PASSWORD": "hunter\udcff"}, "OS_PASSWORD is not UTF-8; set it again"),
    ],
    ids=[
        "no user",
        "placeholder",
        "token",
        "type",
        "half of a key",
        "access key",
        "application",
        "type of a token without one",
        "type of an access key without one",
        "bytes that are not UTF-8",
    ],
)
def test_unusable_environment_names_the_variable(
    run: Run, env: Mapping[str, str], message: str
) -> None:
    ended = run("pending", "--region", "eu-de", "--project", "a" * 32, **env)

    assert (ended.code, ended.out) == (1, "")
    assert message in ended.err


def test_environment_names_the_domain_by_id() -> None:
    env = {"OS_USERNAME": "op", "OS_PASSWORD": "p", "OS_USER_DOMAIN_ID": "d1"}
    asked = Namespace(secret=None, secret_dir=None, os_cloud=None)

    login = credentials.given(asked, env)

    assert login is not None
    assert login.credentials == PasswordCredentials(user_name="op", domain_id="d1", password="p")


KEYS = {"OS_ACCESS_KEY": "AK1", "OS_SECRET_KEY": "sk1"}
ACCESS_KEY = AccessKeyCredentials(access_key="AK1", secret_key="sk1")
USER_LOGIN = PasswordCredentials(user_name="op", domain_id="d1", password="p")
APPLICATION = {"OS_APPLICATION_CREDENTIAL_ID": "a1", "OS_APPLICATION_CREDENTIAL_SECRET": "as1"}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (KEYS, ACCESS_KEY),
        ({**KEYS, "OS_SECURITY_TOKEN": "st1"}, replace(ACCESS_KEY, security_token="st1")),
        ({**KEYS, **USER_ENV}, USER_LOGIN),
        ({**KEYS, **USER_ENV, "OS_AUTH_TYPE": "aksk"}, ACCESS_KEY),
        ({**KEYS, "OS_TOKEN": "x", "OS_AUTH_TYPE": "aksk"}, ACCESS_KEY),
        (APPLICATION, ApplicationCredentials(id="a1", secret="as1")),
        ({**APPLICATION, **USER_ENV}, USER_LOGIN),
        (
            {**APPLICATION, **USER_ENV, "OS_AUTH_TYPE": "v3applicationcredential"},
            ApplicationCredentials(id="a1", secret="as1"),
        ),
    ],
    ids=[
        "permanent",
        "temporary",
        "user before key",
        "type before user",
        "type before token",
        "application credential",
        "user before application credential",
        "type of application credential before user",
    ],
)
def test_environment_has_a_credential_other_than_a_password(
    env: Mapping[str, str], expected: object
) -> None:
    asked = Namespace(secret=None, secret_dir=None, os_cloud=None)

    login = credentials.given(asked, env)

    assert login is not None
    assert login.credentials == expected


@pytest.mark.parametrize("how", ["environment", "clouds.yaml", "plain form", "wrong key"])
def test_pending_signs_its_requests(sim: Simulator, run: Run, tmp_path: Path, how: str) -> None:
    sim.add_access_key(sim.user_id, "AKCLI", "sk-of-the-cli")
    sim.settings(signing_form="plain" if how == "plain form" else "scoped")
    image = sim.add_image(shared_with=[sim.project_id])
    env = {"OS_ACCESS_KEY": "AKCLI", "OS_SECRET_KEY": "sk-of-the-cli"}
    if how == "clouds.yaml":
        write(tmp_path / "clouds.yaml", "clouds: {otc: {auth: {ak: AKCLI, sk: sk-of-the-cli}}}")
        env = {"OS_CLOUD": "otc"}
    if how == "plain form":
        env["ISA_SIGNING_FORM"] = "plain"
    if how == "wrong key":
        env["OS_SECRET_KEY"] = "sk-wrong"

    before = sim.counters()["tokens_issued"]
    where = ("--iam", sim.url, "--ims", sim.url, "--project", sim.project_id)
    ended = run("pending", "--allow-insecure-endpoints", *where, **env)

    assert sim.counters()["tokens_issued"] == before
    if how == "wrong key":
        assert ended.code == 1
        assert "accessKey or secretKey is wrong" in ended.err
        assert "sk-wrong" not in ended.err
    else:
        assert ended.code == 0, ended.err
        assert image in ended.out
