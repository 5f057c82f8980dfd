"""May this call do that? Token and permission checks of IMS (reference, 7.4, 7.5, 9)."""

from http import HTTPStatus

from aiohttp import web

from otc_simulator import answers
from otc_simulator.identity import Token
from otc_simulator.world import NOTE, TOKEN, World, world_of

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
        case "html":
            return answers.html(HTTPStatus.UNAUTHORIZED, NOT_AUTHENTICATED)
        case "empty":
            return answers.RefusalError(status=HTTPStatus.UNAUTHORIZED, payload=None)
        case _:
            return answers.ims(flavour, "Token error.")


def project_token(request: web.Request) -> Token:
    """Return the call's living project token; raises RefusalError for anything else."""
    world = world_of(request)
    value = request.headers.get(TOKEN_HEADER)
    wrong = "Incorrect IAM authentication information: "
    if not value:
        raise answers.gateway(401, "APIGW.0301", wrong + "x-auth-token not found")
    token = world.cloud.directory.tokens.get(value)
    if token is None:
        raise answers.gateway(401, "APIGW.0301", wrong + "decrypt token fail")
    if not token.alive(world.now()):
        raise dead_token(world, token)
    if token.project_id is None:
        if world.settings.domain_token == "403":
            raise answers.gateway(403, "APIGW.0302", "The IAM user is not allowed to access.")
        raise answers.gateway(401, "APIGW.0301", wrong + "project scope required")
    if token.region != world.settings.region:
        raise answers.gateway(401, "APIGW.0307", "The token must be updated.")
    request[NOTE].project = token.project_id
    request[TOKEN] = token
    return token


def project_with(request: web.Request, *rights: str) -> str:
    """Return the token's project if its user has all ``rights`` there; raises RefusalError."""
    token = project_token(request)
    user = world_of(request).cloud.directory.users.get(token.user_id)
    project_id = token.project_id or ""
    for right in rights:
        if user is None or not user.may(right, project_id):
            text = f"Policy doesn't allow ims:images:{right} to be performed."
            raise answers.ims("IMG.0026", text, HTTPStatus.FORBIDDEN)
    return project_id
