"""Marked secrets go through all paths of failure; no output ever shows a mark.

Outputs: the log at debug, as text and as JSON; Events of both APIs; the whole of each object; all
metrics. The clouds here send back what they were sent, in every place that an answer has.
"""

import base64
import contextlib
import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from e2e.conftest import Json
from e2e.live.echo import Answer, Asked, Rule, cloud
from e2e.live.world import World
from envtest import ControlPlane, Operator, eventually
from envtest.processes import free_port
from otc_simulator.client import Simulator

MARK = "5ecretMark0"
PASSWORD = f"pw-{MARK}-of-the-user"
GIVEN = f"MII{MARK}" + "given" * 40
ISSUED = f"MII{MARK}" + "issued" * 40
"""As long as no word is that may go into a message; real tokens are longer."""
LOGIN = {"username": "marked", "password": PASSWORD, "domainName": "OTC-MARKED"}
ACCESS_KEY = {
    "accessKey": f"AK{MARK}",
    "secretKey": f"sk-{MARK}-of-the-key",
    "securityToken": f"st-{MARK}" + "given" * 10,
}
SIGNED_KEY = re.compile(r"SDK-HMAC-SHA256 Credential=|Signature=[0-9a-f]{8}|[0-9a-f]{64}")
"""What shows a signature, in whole or in part: nothing else here has 64 hexadecimal digits."""


def forms(mark: str) -> list[str]:
    """The mark as it is, quoted, and as the middle of something in base64."""
    inside: list[str] = []
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + mark.encode() + b"xxx").decode()
        inside.append(text[4:12])
    return [mark, quote(mark, safe=""), *inside]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One resource, its Secret, and the cloud that it names.

    Attributes:
        reason: of Ready, once the failure is reported.
        rule: of a cloud of its own; ``None`` is the simulator.
        agency: whether the user assumes an agency.
    """

    reason: str
    secret: Mapping[str, str] = field(default_factory=lambda: LOGIN)
    rule: Rule | None = None
    agency: bool = False


def assuming(answer: Callable[[Asked], Answer]) -> Rule:
    """An IAM that issues the marked base token, and answers so to who assumes an agency."""
    issue = logged_in(answer)
    return lambda asked: answer(asked) if "assume_role" in asked.body else issue(asked)


CLOUDS: dict[str, Case] = {
    "login refused, with the request in its message": Case(
        reason="CredentialsInvalid",
        rule=lambda asked: Answer(
            401, {"error": {"code": 401, "message": asked.all, "title": asked.body}}
        ),
    ),
    "login refused, with the password as its code": Case(
        reason="CredentialsInvalid",
        rule=lambda _: Answer(401, {"error_code": PASSWORD, "error_msg": PASSWORD}),
    ),
    "login that ends in a page": Case(
        reason="CloudUnavailable", rule=lambda asked: Answer(500, f"<html>{asked.all}</html>")
    ),
    "login without a token": Case(
        reason="CloudUnavailable",
        rule=lambda asked: Answer(201, {"token": {"expires_at": asked.body}}),
    ),
    "login with a token that is no header": Case(
        reason="CloudUnavailable",
        rule=lambda _: Answer(
            201,
            {"token": {"expires_at": "2099-01-01T00:00:00Z"}},
            {"X-Subject-Token": f"{MARK}\xe9"},
        ),
    ),
    "login that expires in words": Case(
        reason="CloudUnavailable",
        rule=lambda _: Answer(
            201, {"token": {"expires_at": PASSWORD}}, {"X-Subject-Token": ISSUED}
        ),
    ),
    "look refused, echoing": Case(
        reason="NotShared", rule=logged_in(lambda asked: Answer(400, echo(asked)))
    ),
    "look forbidden, echoing": Case(
        reason="NotShared", rule=logged_in(lambda asked: Answer(403, echo(asked)))
    ),
    "token refused, echoing": Case(
        reason="CredentialsInvalid",
        rule=logged_in(
            lambda asked: Answer(401, {"error_code": "APIGW.0301", "error_msg": asked.all})
        ),
    ),
    "look that ends in a page": Case(
        reason="CloudUnavailable", rule=logged_in(lambda asked: Answer(502, f"<p>{asked.all}"))
    ),
    "look answered with no JSON": Case(
        reason="CloudUnavailable", rule=logged_in(lambda asked: Answer(200, asked.all))
    ),
    "membership that is the token": Case(
        reason="CloudUnavailable",
        rule=logged_in(lambda asked: Answer(200, {"status": asked.token})),
    ),
    "redirect with the token in its target": Case(
        reason="InvalidRequest",
        rule=logged_in(lambda asked: Answer(302, "", {"Location": f"/?t={asked.token}"})),
    ),
    "batch refused, echoing": Case(
        reason="InvalidRequest", rule=after_the_look(lambda asked: Answer(400, echo(asked)))
    ),
    "batch whose job is the token": Case(
        reason="JobRunning",
        rule=after_the_look(lambda asked: Answer(200, {"job_id": asked.token})),
    ),
    "batch throttled, echoing": Case(
        reason="Throttled",
        rule=after_the_look(
            lambda asked: Answer(429, {"error_code": "APIGW.0308", "error_msg": asked.all})
        ),
    ),
    "job that fails with the token as its reason": Case(
        reason="InvalidRequest",
        rule=job_that(error_code="IMG.0182", fail_reason=f"because of {ISSUED}"),
    ),
    "job whose type and times are the token": Case(
        reason="InvalidRequest", rule=job_that(job_type=ISSUED, begin_time=ISSUED, end_time=ISSUED)
    ),
    "job whose status is the token": Case(reason="JobRunning", rule=job_that(status=ISSUED)),
}


def refuses_with(status: int, **body: str) -> Rule:
    """Refuse each signed request, with the request in the text."""
    return lambda asked: Answer(status, {**body, "error_msg": asked.all})


def takes_the_check(rest: Callable[[Asked], Answer]) -> Rule:
    """The check of an access key passes; all else as told."""
    return lambda asked: Answer(200, {"images": []}) if "limit=1" in asked.path else rest(asked)


SIGNED: dict[str, Case] = {
    "signature refused, echoing": Case(
        reason="CredentialsInvalid", rule=refuses_with(401, error_code="APIGW.0301")
    ),
    "signature refused in a header, echoing": Case(
        reason="CredentialsInvalid",
        rule=lambda asked: Answer(401, {"error_code": "APIGW.0301"}, {"X-Echo": asked.signature}),
    ),
    "access key ended, echoing": Case(
        reason="CredentialsInvalid", rule=refuses_with(400, error_code="IAM.1108")
    ),
    "signed request refused after the check, echoing": Case(
        reason="CredentialsInvalid",
        rule=takes_the_check(refuses_with(401, error_code="APIGW.0301")),
    ),
    "signed look forbidden, echoing": Case(
        reason="NotShared", rule=takes_the_check(lambda asked: Answer(403, echo(asked)))
    ),
    "signed look forbidden, with the signature alone": Case(
        reason="PermissionDenied",
        rule=takes_the_check(
            lambda asked: Answer(
                403,
                {
                    "error_code": "IMG.0026",
                    "error_msg": asked.signature.replace("=", " ")
                    + f" {ACCESS_KEY['securityToken']}",
                },
            )
        ),
    ),
    "signed look that ends in a page": Case(
        reason="CloudUnavailable",
        rule=takes_the_check(lambda asked: Answer(502, f"<p>{asked.all}")),
    ),
}


ACCOUNT = {"domains": [{"id": "0f0e0d0c0b0a09080706050403020100", "name": "home"}]}


def signed_agency(rest: Callable[[Asked], Answer]) -> Rule:
    """An IAM that accepts the check of an access key; all else as told."""
    return lambda asked: Answer(200, ACCOUNT) if asked.path == "/v3/auth/domains" else rest(asked)


SIGNED_AGENCIES = {
    "check for an agency refused, echoing": Case(
        reason="CredentialsInvalid", agency=True, rule=refuses_with(401, error_code="APIGW.0301")
    ),
    "check for an agency forbidden, echoing": Case(
        reason="PermissionDenied", agency=True, rule=refuses_with(403, error_code="IAM.0002")
    ),
    "check for an agency that ends in a page": Case(
        reason="CloudUnavailable",
        agency=True,
        rule=lambda asked: Answer(502, f"<html>{asked.all}</html>"),
    ),
    "check for an agency whose account is the signature": Case(
        reason="CloudUnavailable",
        agency=True,
        rule=lambda asked: Answer(200, {"domains": [{"id": asked.signature}]}),
    ),
    **{
        f"signed agency answered with {status}, echoing": Case(
            reason=reason,
            agency=True,
            rule=signed_agency(lambda asked, status=status: Answer(status, echo(asked))),  # type: ignore[misc]  # a default binds it
        )
        for status, reason in (
            (400, "InvalidRequest"),
            (401, "CredentialsInvalid"),
            (403, "InvalidRequest"),
        )
    },
    "signed agency answered with the signature as its token": Case(
        reason="CloudUnavailable",
        agency=True,
        rule=signed_agency(lambda asked: Answer(201, {"token": {"expires_at": asked.signature}})),
    ),
}


def refusing(status: int) -> Rule:
    """Who assumes an agency gets back what was sent."""
    return assuming(lambda asked: Answer(status, echo(asked)))


AGENCIES = {
    f"agency answered with {status}, echoing": Case(
        reason=reason, agency=True, rule=refusing(status)
    )
    for status, reason in (
        (400, "InvalidRequest"),
        (401, "CredentialsInvalid"),
        (403, "InvalidRequest"),
        (500, "InvalidRequest"),
    )
}


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
    "an access key without its secret key": {"accessKey": ACCESS_KEY["accessKey"]},
    "an access key with a space in it": {**ACCESS_KEY, "accessKey": f"AK {MARK}"},
    "a secret key with a line break in it": {**ACCESS_KEY, "secretKey": f"{MARK}\n{MARK}"},
    "a security token that is not ASCII": {**ACCESS_KEY, "securityToken": f"{MARK}é"},
    "an application credential without its secret": {"applicationCredentialID": MARK},
    "an application credential for IAM": {
        "applicationCredentialID": MARK,
        "applicationCredentialSecret": PASSWORD,
    },
    "a user and an access key": {**LOGIN, **ACCESS_KEY},
    "an authority that is none": {**LOGIN, "ca.crt": f"-----BEGIN CERTIFICATE-----\n{MARK}\n"},
}


NO_SERVER = "no server"
ECHOING = ("look refused, echoing", "look forbidden, echoing", "token refused, echoing")
CASES: dict[str, Case] = {
    **CLOUDS,
    **AGENCIES,
    **{f"given token: {what}": replace(CLOUDS[what], secret={"token": GIVEN}) for what in ECHOING},
    **{what: replace(case, secret=ACCESS_KEY) for what, case in (SIGNED | SIGNED_AGENCIES).items()},
    **{what: Case(reason="CredentialsInvalid", secret=data) for what, data in SECRETS.items()},
    NO_SERVER: Case(reason="CloudUnavailable"),
}
OUTPUTS = ("objects", "events", "core events", "log", "metrics")


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
        ISA_REQUEST_TIMEOUT_S="10",
    )
    process.start()
    yield process
    process.terminate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the operator did and showed of all cases.

    Attributes:
        reasons: of Ready, by case.
        outputs: everything that others than the owner of the Secrets can read.
    """

    reasons: Mapping[str, str]
    outputs: Mapping[str, str]


class Clouds(contextlib.ExitStack):
    """A cloud for each case that has a rule, and an address without a server.

    Attributes:
        urls: by case.
        polled: cases whose job was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.polled = set[str]()
        self.urls = {
            what: self.enter_context(cloud(self._noted(what, case.rule)))
            for what, case in CASES.items()
            if case.rule is not None
        }
        silent = self.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))
        self.urls[NO_SERVER] = f"http://127.0.0.1:{silent.getsockname()[1]}"

    def _noted(self, what: str, rule: Rule) -> Rule:
        def noted(asked: Asked) -> Answer:
            if "/jobs/" in asked.path:
                self.polled.add(what)
            return rule(asked)

        return noted


@pytest.fixture(scope="module")
def seen(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator, port: int
) -> Iterator[Seen]:
    """Apply all cases at once; read the outputs when each has its reason and an Event."""
    simulator.clear_faults()
    namespace = control_plane.create_namespace("marked")
    world = World(control_plane, simulator, operator, namespace)
    names = {what: f"case-{number}" for number, what in enumerate(CASES)}
    with Clouds() as clouds:
        for what, case in CASES.items():
            url = clouds.urls.get(what, simulator.url)
            world.secret(names[what], **case.secret)
            world.apply(
                [world.image()],
                names[what],
                credentialsSecretRef={"name": names[what]},
                endpoints={"iam": url, "ims": url},
                agency={"name": "g", "domainName": "a"} if case.agency else None,
            )

        wanted = {what: case.reason for what, case in CASES.items()}
        have_events = {names[what] for what, reason in wanted.items() if reason != "JobRunning"}
        polled = {what for what in CASES if what.startswith("job ")}

        def ended() -> bool | None:
            done = reasons(world, names) == wanted and told(world) >= have_events
            return True if done and polled <= clouds.polled else None

        with contextlib.suppress(TimeoutError):  # the test of the case says which one it is
            eventually(ended)
        yield Seen(reasons=reasons(world, names), outputs=outputs(world, port))
    control_plane.http.delete(world.resources).raise_for_status()


def reasons(world: World, names: Mapping[str, str]) -> dict[str, str]:
    """The reasons of Ready, by case."""
    listed: list[Json] = world.control_plane.http.get(world.resources).json()["items"]
    ready = {
        body["metadata"]["name"]: str(row["reason"])
        for body in listed
        for row in body["status"].get("conditions", ())
        if row["type"] == "Ready"
    }
    return {what: ready.get(name, "none") for what, name in names.items()}


def told(world: World) -> set[str]:
    """The names of the resources that have an Event."""
    rows = world.control_plane.http.get(
        f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    )
    return {row["regarding"]["name"] for row in rows.json()["items"]}


def outputs(world: World, port: int) -> dict[str, str]:
    """Everything that anybody but the owner of the Secrets could read."""
    http, namespace = world.control_plane.http, world.namespace
    paths = {
        "objects": world.resources,
        "events": f"/apis/events.k8s.io/v1/namespaces/{namespace}/events",
        "core events": f"/api/v1/namespaces/{namespace}/events",
    }
    return {
        **{name: http.get(path).raise_for_status().text for name, path in paths.items()},
        "log": world.operator.log,
        "metrics": httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text,
    }


@pytest.mark.parametrize("what", CASES)
def test_case_ends_with_its_reason(seen: Seen, what: str) -> None:
    assert seen.reasons[what] == CASES[what].reason


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_shows_no_secret(seen: Seen, name: str) -> None:
    text = seen.outputs[name]
    found = [form for form in forms(MARK) if form in text]
    places = [text[max(0, m.start() - 200) : m.end()] for m in re.finditer(MARK, text)]

    signature = SIGNED_KEY.search(text)
    assert not found, f"{name} shows a secret: …{places[:1]}"
    assert signature is None, f"{name} shows a signature: {signature}"


def test_mark_is_found_where_it_is() -> None:
    """The search itself: in plain text, in a URL, and within base64."""
    hidden = base64.b64encode(f"user:{PASSWORD}:end".encode()).decode()

    assert any(form in f"token={MARK}" for form in forms(MARK))
    assert any(form in hidden for form in forms(MARK))
