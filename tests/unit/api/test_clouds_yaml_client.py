"""The credentials that the operator reads are those that the OpenStack client reads."""

from pathlib import Path
from typing import Any

import pytest
from openstack.config.loader import OpenStackConfig

from image_share_operator.api import clouds_yaml
from image_share_operator.api.credentials import (
    PasswordCredentials,
    TokenCredentials,
)

USER = "username: op, password: p"
FILES = {
    "domain name of the user": f"auth: {{{USER}, user_domain_name: D1}}",
    "domain ID of the user": f"auth: {{{USER}, user_domain_id: d1}}",
    "domain of a project": f"auth: {{{USER}, domain_name: D1, project_id: p1}}",
    "domain ID of a project": f"auth: {{{USER}, domain_id: d1, project_id: p1}}",
    "fields beside auth": "username: op\n    password: p\n    user_domain_name: D1\n    auth: {}",
    "user in and beside auth": f"username: no\n    auth: {{{USER}, user_domain_name: D1}}",
    "domain in and beside auth": f"user_domain_id: d2\n    auth: {{{USER}, user_domain_id: d1}}",
    "dashes": "auth: {user-id: u1, password: p}",
    "user ID": "auth: {user_id: u1, password: p}",
    "token": "auth_type: token\n    auth: {token: t1}",
    "auth-token": "auth_type: token\n    auth: {auth-token: t1}",
    "token beside auth": "auth_type: v3token\n    token: t2\n    auth: {token: t1}",
    "one region": f"regions: [{{name: r1, values: {{auth: {{{USER}, user_domain_name: D1}}}}}}]",
    "braces in auth": "auth: {username: 'o{p}', password: '{', user_domain_name: '}'}",
    "quoted scalars": 'auth: {user_id: "0\\u0031", password: \'0"1\'}',
    "plain scalars": "auth: {user_id: 1e3, password: 0o17}",
    "block scalar": "auth:\n      user_id: u1\n      password: >-\n        a\n        b",
    "empty values": f"auth: {{{USER}, token: '', user_id: ~, user_domain_name: D1}}",
    "profile of the client": f"profile: otc\n    auth: {{{USER}, user_domain_name: D1}}",
}


def client_auth(text: str, path: Path) -> dict[str, Any]:
    """What the client logs in with: the fields of `auth`, after its plugin took those beside it."""
    path.write_text(text)
    config = OpenStackConfig(
        config_files=[str(path)], vendor_files=[], secure_files=[], load_envvars=False
    )
    options: dict[str, Any] = {"auth": {"auth_url": "https://iam.test/v3"}}
    auth = config.get_one(cloud="otc", **options).config["auth"]
    return {key: value for key, value in auth.items() if value}


@pytest.mark.parametrize("lines", FILES.values(), ids=FILES)
def test_credentials_are_those_of_the_client(lines: str, tmp_path: Path) -> None:
    text = f"clouds:\n  otc:\n    {lines}\n"
    auth = client_auth(text, tmp_path / "clouds.yaml")

    match clouds_yaml.read(text.encode(), None):
        case TokenCredentials(token=token):
            assert token == auth["token"]
        case PasswordCredentials(user_id=str(user_id), password=password):
            assert (user_id, password) == (auth["user_id"], auth["password"])
        case PasswordCredentials() as found:
            domain_id = auth.get("user_domain_id")
            assert found == PasswordCredentials(
                user_name=auth["username"],
                password=auth["password"],
                domain_id=domain_id,
                domain_name=None if domain_id else auth.get("user_domain_name"),
            )
        case other:
            raise AssertionError(other)
