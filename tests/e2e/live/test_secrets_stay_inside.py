"""Marked secrets go through all paths of failure; no output ever shows a mark.

Outputs: the log at debug, as text and as JSON; Events of both APIs; the whole of each object; all
metrics. The clouds here send back what they were sent, in every place that an answer has.
"""

import base64
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from e2e.live.echo import Answer, Asked, Rule, cloud
from e2e.live.process import Operator, eventually
from e2e.live.world import World
from envtest.processes import free_port

MARK = "5ecretMark0"
PASSWORD = f"pw-{MARK}-of-the-user"
GIVEN = f"MII{MARK}" + "given" * 40
ISSUED = f"MII{MARK}" + "issued" * 40
"""As long as no word is that may go into a message; real tokens are longer."""
LOGIN = {"username": "marked", "password": PASSWORD, "domainName": "OTC-MARKED"}


def forms(mark: str) -> list[str]:
    """The mark as it is, quoted, and as the middle of something in base64."""
    inside: list[str] = []
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + mark.encode() + b"xxx").decode()
        inside.append(text[4:12])
    return [mark, quote(mark, safe=""), *inside]


@pytest.fixture(scope="module", params=["text", "json"])
def log_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def operator(
    kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory, port: int, log_format: str
) -> Iterator[Operator]:
    process = Operator(
        kubeconfig,
        tmp_path_factory.mktemp("marked") / "log",
        ISA_LOG_LEVEL="debug",
        ISA_LOG_FORMAT=log_format,
        ISA_METRICS_PORT=str(port),
        ISA_REQUEST_TIMEOUT_S="2",
    )
    process.start()
    yield process
    process.terminate()


def outputs(world: World, port: int) -> dict[str, str]:
    """Everything that anybody but the owner of the Secret could read."""
    http, namespace = world.control_plane.http, world.namespace
    paths = {
        "objects": world.resources,
        "events": f"/apis/events.k8s.io/v1/namespaces/{namespace}/events",
        "core events": f"/api/v1/namespaces/{namespace}/events",
    }
    told = {name: http.get(path).raise_for_status().text for name, path in paths.items()}
    told["log"] = world.operator.log
    told["metrics"] = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    return told


def assert_unmarked(world: World, port: int) -> None:
    for name, text in outputs(world, port).items():
        found = [form for form in forms(MARK) if form in text]
        places = [text[max(0, m.start() - 200) : m.end()] for m in re.finditer(MARK, text)]

        assert not found, f"{name} shows a secret: …{places[:1]}"


def answered(world: World, name: str = "web") -> str:
    """Wait until the object says more than that it begins; return its reason."""

    def look() -> str | None:
        row = world.condition("Ready", name)
        return None if row is None or row["reason"] == "Progressing" else str(row["reason"])

    return eventually(look, within_s=30)


def logged_in(rest: Callable[[Asked], Answer]) -> Rule:
    """An IAM that issues the marked token, and an IMS that answers as told."""

    def rule(asked: Asked) -> Answer:
        if not asked.login:
            return rest(asked)
        body = {"token": {"expires_at": "2099-01-01T00:00:00.000000Z"}}
        return Answer(201, body, {"X-Subject-Token": ISSUED})

    return rule


def after_the_look(rest: Callable[[Asked], Answer]) -> Rule:
    """The membership is pending; all else as told."""

    def rule(asked: Asked) -> Answer:
        if "/members/" in asked.path:
            return Answer(200, {"status": "pending"})
        return rest(asked)

    return logged_in(rule)


def job_that(**fields: str) -> Rule:
    """The batch is taken; its job says this."""

    def rule(asked: Asked) -> Answer:
        if asked.method == "PUT":
            return Answer(200, {"job_id": "0" * 32})
        return Answer(200, {"job_id": "0" * 32, "status": "FAIL", **fields})

    return after_the_look(rule)


def echo(asked: Asked) -> dict[str, object]:
    return {"error": {"code": "IMG.0027", "message": f"you sent {asked.all}"}}


RULES: dict[str, Rule] = {
    "login refused, with the request in its message": lambda asked: Answer(
        401, {"error": {"code": 401, "message": asked.all, "title": asked.body}}
    ),
    "login refused, with the password as its code": lambda _: Answer(
        401, {"error_code": PASSWORD, "error_msg": PASSWORD}
    ),
    "login that ends in a page": lambda asked: Answer(500, f"<html>{asked.all}</html>"),
    "login without a token": lambda asked: Answer(201, {"token": {"expires_at": asked.body}}),
    "login with a token that is no header": lambda _: Answer(
        201, {"token": {"expires_at": "2099-01-01T00:00:00Z"}}, {"X-Subject-Token": f"{MARK}\xe9"}
    ),
    "login that expires in words": lambda _: Answer(
        201, {"token": {"expires_at": PASSWORD}}, {"X-Subject-Token": ISSUED}
    ),
    "look refused, echoing": logged_in(lambda asked: Answer(400, echo(asked))),
    "look forbidden, echoing": logged_in(lambda asked: Answer(403, echo(asked))),
    "token refused, echoing": logged_in(
        lambda asked: Answer(401, {"error_code": "APIGW.0301", "error_msg": asked.all})
    ),
    "look that ends in a page": logged_in(lambda asked: Answer(502, f"<p>{asked.all}")),
    "look answered with no JSON": logged_in(lambda asked: Answer(200, asked.all)),
    "membership that is the token": logged_in(
        lambda asked: Answer(200, {"status": asked.headers["X-Auth-Token"]})
    ),
    "redirect with the token in its target": logged_in(
        lambda asked: Answer(302, "", {"Location": f"/?t={asked.headers['X-Auth-Token']}"})
    ),
    "batch refused, echoing": after_the_look(lambda asked: Answer(400, echo(asked))),
    "batch whose job is the token": after_the_look(
        lambda asked: Answer(200, {"job_id": asked.headers["X-Auth-Token"]})
    ),
    "batch throttled, echoing": after_the_look(
        lambda asked: Answer(429, {"error_code": "APIGW.0308", "error_msg": asked.all})
    ),
    "job that fails with the token as its reason": job_that(
        error_code="IMG.0182", fail_reason=f"because of {ISSUED}"
    ),
    "job whose type and times are the token": job_that(
        job_type=ISSUED, begin_time=ISSUED, end_time=ISSUED
    ),
    "job whose status is the token": job_that(status=ISSUED),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_cloud_that_echoes_gets_nothing_out(world: World, port: int, rule: Rule) -> None:
    world.secret(**LOGIN)
    with cloud(rule) as url:
        world.apply([world.image()], endpoints={"iam": url, "ims": url})

        answered(world)
        assert_unmarked(world, port)


@pytest.mark.parametrize("rule", list(RULES)[6:9])
def test_given_token_is_not_shown_either(world: World, port: int, rule: str) -> None:
    world.secret(token=GIVEN)
    with cloud(RULES[rule]) as url:
        world.apply([world.image()], endpoints={"iam": url, "ims": url})

        answered(world)
        assert_unmarked(world, port)


SECRETS = {
    "a token with a line break in it": {"token": f"{MARK}\n{MARK}"},
    "a token that is not ASCII": {"token": f"{MARK}é"},
    "a password without its user": {"password": PASSWORD},
    "an empty user": {**LOGIN, "username": ""},
    "a clouds.yaml that is no YAML": {"clouds.yaml": f"clouds: [{{password: '{PASSWORD}'"},
    "a clouds.yaml with a password and no user": {
        "clouds.yaml": json.dumps({"clouds": {"otc": {"auth": {"password": PASSWORD}}}})
    },
    "a clouds.yaml that is a list": {"clouds.yaml": json.dumps([PASSWORD])},
    "a clouds.yaml without the cloud that is asked for": {
        "clouds.yaml": json.dumps({"clouds": {PASSWORD: {"auth": {"password": PASSWORD}}}}),
        "cloud": "other",
    },
    "a cloud that is a password": {"clouds.yaml": "clouds: {}", "cloud": PASSWORD},
    "an authority that is none": {**LOGIN, "ca.crt": f"-----BEGIN CERTIFICATE-----\n{MARK}\n"},
}


@pytest.mark.parametrize("data", SECRETS.values(), ids=SECRETS.keys())
def test_secret_that_can_not_be_used_is_not_quoted(
    world: World, port: int, data: dict[str, str]
) -> None:
    world.secret(**data)

    world.apply([world.image()])

    assert answered(world) == "CredentialsInvalid"
    assert_unmarked(world, port)


def test_nobody_listens_and_the_secret_stays_inside(world: World, port: int) -> None:
    world.secret(**LOGIN)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        world.apply([world.image()], endpoints={"iam": url, "ims": url})

        assert answered(world) == "CloudUnavailable"
        assert_unmarked(world, port)


def test_mark_is_found_where_it_is() -> None:
    """The search itself: in plain text, in a URL, and within base64."""
    hidden = base64.b64encode(f"user:{PASSWORD}:end".encode()).decode()

    assert any(form in f"token={MARK}" for form in forms(MARK))
    assert any(form in hidden for form in forms(MARK))
