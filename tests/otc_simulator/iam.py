"""IAM: tokens, projects, catalog (reference, 1)."""

import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from otc_simulator import access, answers
from otc_simulator.agencies import assumed
from otc_simulator.identity import Account, LoginFailure, Project, Token, User
from otc_simulator.world import NOTE, RECEIVED, World, world_of

SUBJECT_HEADER = "X-Subject-Token"
APPLICATION = "application_credential"


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_route("POST", "/v3/auth/tokens", issue_token)
    router.add_route("GET", "/v3/auth/tokens", show_token)
    router.add_route("HEAD", "/v3/auth/tokens", show_token)
    router.add_route("DELETE", "/v3/auth/tokens", revoke_token)
    router.add_route("GET", "/v3/auth/domains", list_domains)
    router.add_route("GET", "/v3/auth/projects", list_projects)
    router.add_route("GET", "/v3/projects", list_projects)
    router.add_route("GET", "/v3/auth/catalog", show_catalog)


async def issue_token(request: web.Request) -> web.Response:
    world = world_of(request)
    auth = _auth(await request.read())
    more: dict[str, Any] = {}
    if "assume_role" in auth["identity"]["methods"]:
        caller = _caller(request)
        user, methods = assumed(world, caller, auth["identity"]), ["assume_role"]
        more["assumed_by"] = caller.user_id
    elif world.settings.application_credentials and APPLICATION in auth["identity"]["methods"]:
        user, project = _by_application_credential(world, auth)
        return issued(request, user, project, [APPLICATION])
    else:
        user, methods = _authenticate(world, auth["identity"])
    project = scope(world, auth.get("scope"), user)
    if not auth.get("scope") and world.settings.absent_scope == "unscoped":
        more["unscoped"] = True
    return issued(request, user, project, methods, **more)


def issued(
    request: web.Request, user: User, project: Project | None, methods: list[str], **more: Any
) -> web.Response:
    """Issue a token and answer with it."""
    world = world_of(request)
    token = world.cloud.directory.issue(
        user, project, now=world.now(), settings=world.settings, **more
    )
    world.journal.tokens_issued += 1
    request[NOTE].project = token.project_id
    body = _token_body(world, token, methods, catalog=not request.query.get("nocatalog"))
    headers = {SUBJECT_HEADER: token.value}
    return web.json_response(body, status=HTTPStatus.CREATED, headers=headers)


async def show_token(request: web.Request) -> web.Response:
    world = world_of(request)
    match world.settings.show_token:
        case "200":
            pass
        case "401":
            raise answers.keystone(HTTPStatus.UNAUTHORIZED, "Unauthorized.")
        case "503":
            raise answers.keystone(HTTPStatus.SERVICE_UNAVAILABLE, "Busy.")
        case status:
            raise answers.iam(int(status), "IAM.0002", "You are not authorized.")
    caller, subject = _caller(request), _subject(request)
    if subject is None or not subject.alive(world.now()):
        raise answers.iam(404, "IAM.0004", "Could not find the token.")
    if subject.user_id != caller.user_id:
        raise answers.iam(403, "IAM.0002", "You are not authorized to perform the action.")
    headers = {SUBJECT_HEADER: subject.value}
    if request.method == "HEAD":
        return web.Response(headers=headers)
    catalog = not request.query.get("nocatalog")
    body = _token_body(world, subject, ["password"], catalog=catalog)
    return web.json_response(body, headers=headers)


async def revoke_token(request: web.Request) -> web.Response:
    world = world_of(request)
    subject = _subject(request)
    own = subject is not None and request.headers.get("X-Auth-Token") == subject.value
    # A token may revoke itself even when it has already expired (reference, 1.5).
    caller = subject if own else _caller(request)
    if subject is None or caller is None:
        raise answers.iam(404, "IAM.0004", "Could not find the token.")
    directory = world.cloud.directory
    if caller.user_id != subject.user_id:
        user = directory.users[caller.user_id]
        if not user.may("security_administrator", caller.project_id or ""):
            raise answers.iam(403, "IAM.0002", "You are not authorized to perform the action.")
    directory.kill_tokens([subject], world.now())
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def list_domains(request: web.Request) -> web.Response:
    """Answer with the account of the caller; no right is needed."""
    account = world_of(request).cloud.directory.accounts[_caller(request).account_id]
    links = {"self": f"/v3/domains/{account.id}"}
    row = {"id": account.id, "name": account.name, "enabled": True, "links": links}
    return web.json_response({"domains": [row], "links": {"self": request.path}})


async def list_projects(request: web.Request) -> web.Response:
    caller = _caller(request)
    query = request.query
    directory = world_of(request).cloud.directory
    rows = [
        _project_row(project)
        for project in directory.projects.values()
        if project.account_id == caller.account_id
        and query.get("name", project.name) == project.name
        and query.get("domain_id", project.account_id) == project.account_id
        and query.get("enabled", "true") == "true"
    ]
    return web.json_response({"projects": rows, "links": {"self": request.path}})


async def show_catalog(request: web.Request) -> web.Response:
    token = _caller(request)
    if token.project_id is None:
        raise answers.iam(403, "IAM.0002", "A project-scoped token is needed.")
    world = world_of(request)
    return web.json_response({"catalog": _catalog(world), "links": {"self": request.path}})


def _caller(request: web.Request) -> Token:
    """Return the living token that the call is made with.

    A signed call has none: it is treated as one with a token for the account of the signer.
    """
    world = world_of(request)
    if RECEIVED in request:
        return access.signers_account_token(world, request[RECEIVED])
    value = request.headers.get("X-Auth-Token")
    if not value:
        raise answers.iam(401, "IAM.0001", "The request you have made requires authentication.")
    token = world.cloud.directory.tokens.get(value)
    if token is None or not token.alive(world.now()):
        code = world.settings.iam_dead_token
        if code == "403":
            raise answers.keystone(403, "X-Auth-Token is invalid in the request")
        raise answers.iam(401, code, "The token is invalid or has expired.")
    request[NOTE].project = token.project_id
    return token


def _subject(request: web.Request) -> Token | None:
    value = request.headers.get(SUBJECT_HEADER)
    if not value:
        raise answers.iam(400, "IAM.0072", "'X-Subject-Token' is a required property.")
    return world_of(request).cloud.directory.tokens.get(value)


def _auth(body: bytes) -> Mapping[str, Any]:
    try:
        auth = json.loads(body)["auth"]
        known = isinstance(auth["identity"]["methods"], list)
    except (ValueError, KeyError, TypeError) as exc:
        raise answers.iam(400, "IAM.0011", "The request body is invalid.") from exc
    if not known:
        raise answers.iam(400, "IAM.0073", "Invalid value for 'methods'.")
    return auth  # type: ignore[no-any-return]  # json


def _authenticate(world: World, identity: Mapping[str, Any]) -> tuple[User, list[str]]:
    methods = identity["methods"]
    try:
        if "password" in methods:
            return _by_password(world, identity["password"]["user"]), methods
        if "token" in methods:
            return _by_token(world, identity["token"]["id"]), methods
    except (KeyError, TypeError) as exc:
        text = f"{exc.args[0]!r} is a required property."
        raise answers.iam(400, "IAM.0072", text) from exc
    raise answers.iam(400, "IAM.0073", "Invalid value for 'methods'.")


def _by_password(world: World, raw: Mapping[str, Any]) -> User:
    directory = world.cloud.directory
    password = raw["password"]
    if not isinstance(password, str):
        raise answers.iam(400, "IAM.0073", "Invalid value for 'password'.")
    if "id" in raw:
        user = directory.users.get(raw["id"])
    else:
        account = _account(world, raw["domain"])
        if account is None and world.settings.unknown_domain == "404":
            raise answers.iam(404, "IAM.0004", "Could not find the requested object.")
        user = directory.user_named(account.id, raw["name"]) if account else None
    login = directory.check_password(user, password, now=world.now(), settings=world.settings)
    if isinstance(login, User):
        return login
    world.journal.logins_failed += 1
    raise _login_refusal(world, login, user.id if user else "")


def _login_refusal(world: World, failure: LoginFailure, user_id: str) -> answers.RefusalError:
    if failure is LoginFailure.PASSWORD_EXPIRED:
        # Keystone's text: what IAM answers is not documented.
        text = f"The password is expired and needs to be changed for user: {user_id}."
        return answers.keystone(HTTPStatus.UNAUTHORIZED, text)
    if failure is LoginFailure.WRONG or world.settings.refused_user == "401":
        return _unauthorized()
    if failure is LoginFailure.LOCKED:
        return answers.iam(401, "IAM.0061", "The account is locked.")
    if failure is LoginFailure.CONSOLE_ONLY:
        return answers.iam(403, "IAM.0081", "The user may use the console only.")
    return answers.iam(403, "IAM.0082", "The user is disabled.")


def _unauthorized() -> answers.RefusalError:
    return answers.keystone(HTTPStatus.UNAUTHORIZED, "Unauthorized.")


def _by_application_credential(
    world: World, auth: Mapping[str, Any]
) -> tuple[User, Project | None]:
    """Return the user and the project of an application credential."""
    directory = world.cloud.directory
    try:
        given = auth["identity"][APPLICATION]
        credential = directory.application_credentials.get(given["id"])
        secret = str(given["secret"])
    except (KeyError, TypeError) as exc:
        raise answers.keystone(400, "An application credential needs id and secret.") from exc
    if credential is None:
        text = f"Could not find Application Credential: {given['id']}."
        raise answers.keystone(HTTPStatus.NOT_FOUND, text)
    if auth.get("scope"):
        text = "Application credentials cannot request a scope."
        raise answers.keystone(HTTPStatus.UNAUTHORIZED, text)
    user = directory.users[credential.user_id]
    usable = user.enabled and user.has_role(credential.project_id)
    if not usable or secret != credential.secret or credential.ended(world.now()):
        world.journal.logins_failed += 1
        raise _unauthorized()
    return user, directory.projects[credential.project_id]


def _by_token(world: World, value: str) -> User:
    directory = world.cloud.directory
    token = directory.tokens.get(value)
    if token is None or not token.alive(world.now()):
        raise answers.iam(401, "IAM.0067", "The token is invalid or has expired.")
    return directory.users[token.user_id]


def _account(world: World, raw: Mapping[str, Any]) -> Account | None:
    directory = world.cloud.directory
    if "id" in raw:
        return directory.accounts.get(raw["id"])
    return directory.account_named(raw["name"])


def scope(world: World, raw: Any, user: User) -> Project | None:
    """Return the project of the scope; None for the account. A project wins over a domain."""
    if not raw:
        return None
    try:
        if "project" in raw:
            return _project(world, raw["project"], user)
        account = _account(world, raw["domain"])
    except (KeyError, TypeError) as exc:
        raise answers.iam(400, "IAM.0072", "The scope is incomplete.") from exc
    if account is None or account.id != user.account_id:
        raise _unknownscope(world)
    return None


def _project(world: World, raw: Mapping[str, Any], user: User) -> Project:
    directory = world.cloud.directory
    if "id" in raw:
        project = directory.projects.get(raw["id"])
    else:
        account = _account(world, raw.get("domain") or {"id": user.account_id})
        project = directory.project_named(account.id, raw["name"]) if account else None
    if project is None or project.account_id != user.account_id:
        raise _unknownscope(world)
    if world.settings.no_role == "401" and not user.has_role(project.id):
        raise _unauthorized()
    return project


def _unknownscope(world: World) -> answers.RefusalError:
    match world.settings.unknown_scope:
        case "401":
            return _unauthorized()
        case "IAM.1109":
            return answers.iam(400, "IAM.1109", "The project does not exist.")
        case _:
            return answers.iam(404, "IAM.0004", "Could not find the requested object.")


def _token_body(world: World, token: Token, methods: list[str], *, catalog: bool) -> dict[str, Any]:
    directory = world.cloud.directory
    user, account = directory.users[token.user_id], directory.accounts[token.account_id]
    domain = {"id": account.id, "name": account.name}
    body: dict[str, Any] = {
        "methods": methods,
        "issued_at": _time(world.shown(token.issued_at)),
        "expires_at": _time(world.shown(token.expires_at)),
        "user": {
            "id": user.id,
            "name": user.name,
            "domain": domain,
            "password_expires_at": "",
        },
        "roles": [{"id": "0", "name": "op_gated_example"}],
    }
    if token.federated_by is not None:
        body["user"]["OS-FEDERATION"] = {
            "groups": [{"id": "group", "name": "mapped"}],
            "identity_provider": {"id": token.federated_by},
            "protocol": {"id": "oidc"},
        }
    if token.assumed_by is not None:
        by = directory.users[token.assumed_by]
        home = directory.accounts[by.account_id]
        by_domain = {"id": home.id, "name": home.name}
        body["assumed_by"] = {"user": {"id": by.id, "name": by.name, "domain": by_domain}}
    if token.project_id is None and not token.unscoped:
        body["domain"] = domain
    elif token.project_id is not None:
        project = directory.projects[token.project_id]
        body["project"] = {"id": project.id, "name": project.name, "domain": domain}
    if catalog:
        body["catalog"] = _catalog(world)
    return {"token": body}


def _catalog(world: World) -> list[dict[str, Any]]:
    return [
        _service(world, "image", "glance", world.base_url),
        _service(world, "identity", "iam", f"{world.base_url}/v3"),
    ]


def _service(world: World, kind: str, name: str, url: str) -> dict[str, Any]:
    region = world.settings.region if kind == "image" else "*"
    endpoint = {
        "id": f"{kind}-endpoint",
        "interface": "public",
        "region": region,
        "region_id": region,
        "url": url,
    }
    return {"id": f"{kind}-service", "name": name, "type": kind, "endpoints": [endpoint]}


def _project_row(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": project.account_id,
        "parent_id": project.account_id,
        "enabled": True,
        "is_domain": False,
        "description": "",
        "links": {"self": f"/v3/projects/{project.id}"},
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
