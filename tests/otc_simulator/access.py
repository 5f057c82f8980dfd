"""May this call do that? Token, signature and right (reference, 1.7, 7.4, 7.5, 9)."""

from datetime import timedelta
from http import HTTPStatus

from aiohttp import web

from otc_simulator import answers
from otc_simulator.identity import AccessKey, Token
from otc_simulator.settings import MIDDLEWARE
from otc_simulator.signature import MAX_SKEW, Claim, Received, claim_of, fits
from otc_simulator.world import NOTE, RECEIVED, TOKEN, World, world_of

NOT_AUTHENTICATED = "The request you have made requires authentication."
TOKEN_HEADER = "X-Auth-Token"


def dead_token(world: World, token: Token) -> answers.RefusalError:
    """Return one of the forms that IMS and its gateway give to an expired token."""
    flavour = world.token_flavour()
    match flavour:
        case "APIGW.0301":
            expired = world.shown(token.expires_at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            text = f"Incorrect IAM authentication information: token expires, expires_at: {expired}"
            return answers.gateway(HTTPStatus.UNAUTHORIZED, flavour, text)
        case "APIGW.0307":
            text = "The token must be updated."
            return answers.gateway(HTTPStatus.UNAUTHORIZED, flavour, text)
        case "keystone":
            return answers.keystone(HTTPStatus.UNAUTHORIZED, NOT_AUTHENTICATED)
        case "glance":
            return _middleware(world)
        case "html":
            return answers.html(HTTPStatus.UNAUTHORIZED, NOT_AUTHENTICATED)
        case "empty":
            return answers.RefusalError(status=HTTPStatus.UNAUTHORIZED, payload=None)
        case _:
            return answers.ims(flavour, "Token error.")


def _refused(world: World, why: str) -> answers.RefusalError:
    """Return the 401 of the gateway for a token that never was one, or that of Glance."""
    if world.settings.token_flavour == MIDDLEWARE:
        return _middleware(world)
    wrong = "Incorrect IAM authentication information: "
    return answers.gateway(HTTPStatus.UNAUTHORIZED, "APIGW.0301", wrong + why)


def _middleware(world: World) -> answers.RefusalError:
    refusal = answers.glance(HTTPStatus.UNAUTHORIZED, "This server could not verify you.")
    refusal.headers = {"WWW-Authenticate": f'Keystone uri="{world.base_url}"'}
    return refusal


def _is_valid(world: World, token: Token) -> bool:
    """Whether IMS accepts a token: it asks IAM once, and then not before the cache time is over."""
    now = world.now()
    if now < world.cached_tokens.get(token.value, now):
        return now < token.expires_at
    if not token.alive(now):
        return False
    cached_for = timedelta(seconds=world.settings.token_cache_seconds)
    world.cached_tokens[token.value] = now + cached_for
    return True


def project_token(request: web.Request) -> Token:
    """Return the call's living project token; raises RefusalError for anything else.

    With the setting ``domain_token`` 404, a token without a project is returned as well.

    A signed call has none: it is treated as one with a token of its own.
    """
    world = world_of(request)
    if RECEIVED in request:
        signers = request[TOKEN] = _signers_token(world, request[RECEIVED])
        request[NOTE].project = signers.project_id
        return signers
    value = request.headers.get(TOKEN_HEADER)
    if not value:
        raise _refused(world, "x-auth-token not found")
    token = world.cloud.directory.tokens.get(value)
    if token is None:
        raise _refused(world, "decrypt token fail")
    if not _is_valid(world, token):
        raise dead_token(world, token)
    if token.project_id is None:
        match world.settings.domain_token:
            case "404":
                return token
            case "403":
                raise answers.gateway(403, "APIGW.0302", "The IAM user is not allowed to access.")
            case _:
                raise _refused(world, "project scope required")
    if token.region != world.settings.region:
        raise answers.gateway(401, "APIGW.0307", "The token must be updated.")
    request[NOTE].project = token.project_id
    request[TOKEN] = token
    return token


def _signers_token(world: World, received: Received) -> Token:
    """Verify a signature; return a token as the signer would have for the project."""
    now = world.now()
    signer = _signer(world, received)
    directory = world.cloud.directory
    user = directory.users[signer.user_id]
    project = directory.projects.get(received.headers.get("x-project-id", ""))
    if project is None or project.account_id != user.account_id or not user.enabled:
        raise answers.gateway(403, "APIGW.0302", "The IAM user is not allowed to access.")
    return Token(
        value="",
        user_id=user.id,
        account_id=user.account_id,
        project_id=project.id,
        region=project.region,
        issued_at=now,
        expires_at=now,
    )


def signers_account_token(world: World, received: Received) -> Token:
    """Verify a signature at IAM; the token is for no scope without ``X-Domain-Id``."""
    now = world.now()
    user = world.cloud.directory.users[_signer(world, received).user_id]
    named = received.headers.get("x-domain-id")
    if named not in (None, user.account_id) or not user.enabled:
        raise answers.gateway(403, "APIGW.0302", "The IAM user is not allowed to access.")
    return Token(
        value="",
        user_id=user.id,
        account_id=user.account_id,
        project_id=None,
        region=None,
        issued_at=now,
        expires_at=now,
        unscoped=named is None,
    )


def _signer(world: World, received: Received) -> AccessKey:
    """Return the key that signed; each failure counts, also one that is due to the clock.

    Whether the real cloud counts those is not known: to count them is the stricter assumption.
    """
    directory, now, settings = world.cloud.directory, world.now(), world.settings
    wrong = "Incorrect IAM authentication information: "
    claim = claim_of(received)
    if claim is None or settings.signing_form not in (claim.form, "both"):
        world.journal.signatures_failed += 1
        raise answers.gateway(401, "APIGW.0301", wrong + "authorization format is incorrect")
    key = directory.access_keys.get(claim.access_key)
    if key is None:
        world.journal.signatures_failed += 1
        text = f"{wrong}Get secretKey failed,ak:{claim.access_key},err:ak not exist"
        raise answers.gateway(401, "APIGW.0301", text)
    if directory.key_locked(key.id, now):
        world.journal.signatures_failed += 1
        text = wrong + "AK access failed to reach the limit,forbidden."
        raise answers.gateway(401, "APIGW.0301", text)
    refusal = _key_refusal(world, key, claim, received)
    directory.count_key(key.id, now, settings, good=refusal is None)
    if refusal is not None:
        world.journal.signatures_failed += 1
        raise refusal
    return key


def _key_refusal(
    world: World, key: AccessKey, claim: Claim, received: Received
) -> answers.RefusalError | None:
    """Return why a known key may not be used; None: it may."""
    wrong = "Incorrect IAM authentication information: "
    server = world.shown(world.now())
    if abs(server - claim.signed_at) > MAX_SKEW:
        text = (
            f"{wrong}calc aksk signature fail:signature expired, signature time:{claim.stamp},"
            f"server time:{server:%Y%m%dT%H%M%SZ}"
        )
        return answers.gateway(401, "APIGW.0301", text)
    given = received.headers.get("x-security-token")
    if not fits(received, claim, key.secret) or given != key.security_token:
        return answers.gateway(401, "APIGW.0301", wrong + "verify aksk signature fail")
    if key.ended(world.now()):
        if world.settings.ended_key == "IAM.1108":
            return answers.iam(400, "IAM.1108", "The security token has expired.")
        return answers.gateway(401, "APIGW.0301", wrong + "verify aksk signature fail")
    if not key.enabled:
        return answers.iam(400, "IAM.1107", "The access key is inactive.")
    return None


def project_with(request: web.Request, *rights: str) -> str:
    """Return the token's project if its user has all ``rights`` there; raises RefusalError."""
    token = project_token(request)
    user = world_of(request).cloud.directory.users.get(token.user_id)
    project_id = token.project_id or ""
    if token.project_id is None and "list" in rights:
        raise answers.glance(403, "You are not authorized to complete get_images action.")
    for right in rights if project_id else ():
        if user is None or not user.may(right, project_id):
            text = f"Policy doesn't allow ims:images:{right} to be performed."
            raise answers.ims("IMG.0026", text, HTTPStatus.FORBIDDEN)
    return project_id
