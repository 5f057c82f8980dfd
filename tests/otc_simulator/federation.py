"""IAM: tokens for OpenID Connect ID tokens of an identity provider (reference, IAM; wider, 5).

The keys of an identity provider are uploaded, never fetched: signatures are verified with them.
"""

import json
from collections.abc import Mapping
from typing import Any

import jwt
from aiohttp import web

from otc_simulator import answers, iam
from otc_simulator.identity import IdentityProvider, User
from otc_simulator.world import World, world_of

ALGORITHMS = ("RS256", "ES256")
WRONG = "The id token is invalid."


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_route("POST", "/v3.0/OS-AUTH/id-token/tokens", exchange)


async def exchange(request: web.Request) -> web.Response:
    world = world_of(request)
    provider = world.cloud.directory.identity_providers.get(request.headers.get("X-Idp-Id", ""))
    auth = _auth(await request.read())
    if provider is None:
        raise answers.iam(404, "IAM.0004", "Could not find the identity provider.")
    user = _mapped(world, provider, _claims(world, provider, auth["id_token"]["id"]))
    project = iam.scope(world, auth.get("scope"), user)
    more = {"unscoped": True} if not auth.get("scope") else {}
    return iam.issued(request, user, project, ["mapped"], federated_by=provider.id, **more)


def _auth(body: bytes) -> Mapping[str, Any]:
    try:
        auth = json.loads(body)["auth"]
        known = isinstance(auth["id_token"]["id"], str)
    except (ValueError, KeyError, TypeError) as exc:
        raise answers.iam(400, "IAM.0011", "The request body is invalid.") from exc
    if not known:
        raise answers.iam(400, "IAM.0073", "Invalid value for 'id'.")
    return auth  # type: ignore[no-any-return]  # json


def _claims(world: World, provider: IdentityProvider, token: str) -> Mapping[str, Any]:
    """Verify signature, issuer, audience and times; raises RefusalError."""
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
        keys = jwt.PyJWKSet.from_dict(dict(provider.jwks)).keys
        (key,) = (key for key in keys if key.key_id == key_id)
        claims = jwt.decode(
            token,
            key=key,
            algorithms=ALGORITHMS,
            audience=provider.audience,
            issuer=provider.issuer,
            options={"require": ["exp", "iat", "sub"], "verify_exp": False, "verify_iat": False},
        )
    except (jwt.PyJWTError, ValueError) as exc:
        world.journal.logins_failed += 1
        raise answers.iam(401, "IAM.0001", WRONG) from exc
    if not claims["iat"] - 300 <= world.now().timestamp() < claims["exp"]:
        raise answers.iam(401, "IAM.0066", "The id token has expired.")
    return claims


def _mapped(world: World, provider: IdentityProvider, claims: Mapping[str, Any]) -> User:
    user_id = provider.users.get(claims["sub"])
    if user_id is None:
        raise answers.iam(403, "IAM.0002", "No mapping for this user.")
    return world.cloud.directory.users[user_id]
