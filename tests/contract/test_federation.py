"""Tokens for ID tokens: verified with the uploaded keys of an identity provider."""

import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from contract.caller import Caller, code_of
from otc_simulator.client import Simulator

EXCHANGE = "/v3.0/OS-AUTH/id-token/tokens"
PROVIDER, AUDIENCE, ISSUER = "my-cluster", "otc", "https://kubernetes.default.svc"
SUBJECT = "system:serviceaccount:team:web"
KEY = ec.generate_private_key(ec.SECP256R1())


def jwks(key: Any, key_id: str = "k1") -> dict[str, Any]:
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    row = kind.to_jwk(key.public_key(), as_dict=True)
    return {"keys": [{**row, "kid": key_id, "use": "sig"}]}


def id_token(key: Any = KEY, key_id: str = "k1", **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "sub": SUBJECT,
        "iat": now,
        "exp": now + 3600,
        **changes,
    }
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id})


def upload(sim: Simulator, keys: Mapping[str, Any], **rights: Any) -> None:
    sim.add_identity_provider(
        PROVIDER, issuer=ISSUER, audience=AUDIENCE, jwks=keys, mappings={SUBJECT: rights}
    )


def exchange(
    caller: Caller, token: str, scope: Any = "project", provider: str = PROVIDER
) -> httpx.Response:
    project = {"project": {"id": caller.project_id}}
    chosen = project if scope == "project" else scope
    auth = {"id_token": {"id": token}} | ({"scope": chosen} if chosen else {})
    return caller.http.post(EXCHANGE, json={"auth": auth}, headers={"X-Idp-Id": provider})


@pytest.mark.parametrize("kind", ["ES256", "RS256"])
def test_an_id_token_is_exchanged_for_a_token_of_the_project(
    recipient: Caller, sim: Simulator, kind: str
) -> None:
    key = KEY if kind == "ES256" else rsa.generate_private_key(65537, 2048)
    upload(sim, jwks(key))
    image = sim.add_image(shared_with=[sim.project_id])

    response = exchange(recipient, id_token(key))

    assert response.status_code == 201
    told = response.json()["token"]
    assert told["methods"] == ["mapped"]
    assert told["project"]["id"] == sim.project_id
    assert told["user"]["OS-FEDERATION"]["identity_provider"] == {"id": PROVIDER}
    headers = {"X-Auth-Token": response.headers["X-Subject-Token"]}
    read = recipient.http.get(f"/v2/images/{image}/members/{sim.project_id}", headers=headers)
    assert read.json()["status"] == "pending"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"iss": "https://another"}, 401),
        ({"aud": ["another"]}, 401),
        ({"exp": int(time.time()) - 1}, 401),
        ({"iat": int(time.time()) + 3000, "exp": int(time.time()) + 9999}, 401),
        ({"sub": "system:serviceaccount:other:web"}, 403),
    ],
    ids=["issuer", "audience", "expired", "not yet valid", "subject without a mapping"],
)
def test_an_id_token_with_a_wrong_claim_is_refused(
    recipient: Caller, sim: Simulator, changes: dict[str, Any], status: int
) -> None:
    upload(sim, jwks(KEY))

    assert exchange(recipient, id_token(**changes)).status_code == status


def test_an_id_token_of_an_unknown_key_is_refused(recipient: Caller, sim: Simulator) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    upload(sim, jwks(KEY))

    assert exchange(recipient, id_token(other)).status_code == 401
    assert exchange(recipient, id_token(other, key_id="k2")).status_code == 401
    assert exchange(recipient, "no token").status_code == 401
    upload(sim, jwks(other, "k2"))
    assert exchange(recipient, id_token(other, key_id="k2")).status_code == 201


def test_an_unknown_provider_or_project_is_refused(recipient: Caller, sim: Simulator) -> None:
    upload(sim, jwks(KEY))
    nowhere = {"project": {"id": "f" * 32}}

    assert code_of(exchange(recipient, id_token(), provider="other")) == (404, "IAM.0004")
    assert exchange(recipient, id_token(), scope=nowhere).status_code == 404


def test_a_mapping_limits_the_rights(recipient: Caller, sim: Simulator) -> None:
    upload(sim, jwks(KEY), policies={sim.project_id: ["list"]})
    image = sim.add_image(shared_with=[sim.project_id])
    token = exchange(recipient, id_token()).headers["X-Subject-Token"]

    path = f"/v2/images/{image}/members/{sim.project_id}"
    assert recipient.http.get(path, headers={"X-Auth-Token": token}).status_code == 403


def test_a_token_without_a_scope_names_the_account_of_the_user(
    recipient: Caller, sim: Simulator
) -> None:
    upload(sim, jwks(KEY))

    told = exchange(recipient, id_token(), scope=None).json()["token"]
    account = told["user"]["domain"]["id"]
    scoped = exchange(recipient, id_token(), scope={"domain": {"id": account}}).json()["token"]

    assert "domain" not in told
    assert "project" not in told
    assert scoped["domain"]["id"] == account
