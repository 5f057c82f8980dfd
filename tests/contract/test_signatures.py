"""Signed requests: the reference's 1.7.

The signatures of `VECTORS` were computed by the signers of gophertelekomcloud (scoped) and
huaweicloud-sdk-python-v3 (plain).
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from contract.caller import MEMBERS, TOKENS, Caller, code_of
from otc_simulator.client import Simulator
from otc_simulator.signature import Received, claim_of, fits

LIST = "/v2/cloudimages"
KEY, SECRET = "AKCONTRACT", "sk-of-the-contract"
EXAMPLE_SECRET = "skEXAMPLE000000000000000000000000000000b"
PROJECT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
PUT_BODY = (
    '{"images":["00000001-1111-4222-8333-444455556666"],'
    f'"project_id":"{PROJECT}","status":"accepted"}}'
).encode()
SHARED = f"{LIST}?member_status=pending&visibility=shared&limit=500&__imagetype=shared"
ENCODED = "/a%20b/%C3%BC~x*y?k=a%20b%2Fc&a=&z=%C3%BC"
SCOPED_HEAD = "Credential=AKEXAMPLE0000000000A/20260131///sdk_request, SignedHeaders="
PLAIN_HEAD = "Access=AKEXAMPLE0000000000A, SignedHeaders="
NONE = f"Signature={'0' * 64}"
VECTORS = {
    "scoped list": (
        SHARED,
        SCOPED_HEAD,
        "host;x-sdk-date",
        "232a07fd30d604bac9e8291c04e524d4e843179504bd7b20f01ed99e70261cde",
    ),
    "scoped put": (
        MEMBERS,
        SCOPED_HEAD,
        "content-type;host;x-sdk-date",
        "d5df8169df672e0e8f3d603c6fe40973de4e8d1f315422a54c4d8e3b4c902947",
    ),
    "scoped and encoded": (
        ENCODED,
        SCOPED_HEAD,
        "host;x-sdk-date",
        "b4461c0a1648c90d50e418bcba543c416f2458e1733b4963c6ef42258cf85399",
    ),
    "plain list": (
        SHARED,
        PLAIN_HEAD,
        "host;x-project-id;x-sdk-date",
        "257f2f78799d9804812b38735ec8b1d3843ca499e6babbfa6b1a966f1258f9c2",
    ),
    "plain put": (
        MEMBERS,
        PLAIN_HEAD,
        "content-type;host;x-project-id;x-sdk-date",
        "3b3db12a4f8961fefd0f0538d2b371712059fcee8c889a637d464ee48c0fb2dd",
    ),
    "plain and encoded": (
        ENCODED,
        PLAIN_HEAD,
        "host;x-project-id;x-sdk-date",
        "edf778094c1536a99652db3ae0941c23c19092e1683e2f69952d10eedda1435d",
    ),
}


def received(path: str, authorization: str) -> Received:
    put = path == MEMBERS
    return Received(
        method="PUT" if put else "GET",
        raw_path=path,
        headers={
            "authorization": f"SDK-HMAC-SHA256 {authorization}",
            "host": "ims.eu-de.otc.t-systems.com",
            "x-sdk-date": "20260131T120000Z",
            "x-project-id": PROJECT,
            "content-type": "application/json",
        },
        body=PUT_BODY if put else b"",
    )


@pytest.mark.parametrize(("path", "head", "names", "signature"), VECTORS.values(), ids=VECTORS)
def test_signature_of_an_sdk_fits(path: str, head: str, names: str, signature: str) -> None:
    call = received(path, f"{head}{names}, Signature={signature}")
    claim = claim_of(call)

    assert claim is not None
    assert fits(call, claim, EXAMPLE_SECRET)
    assert not fits(call, claim, EXAMPLE_SECRET + "x")
    assert not fits(replace(call, raw_path=f"{path}x"), claim, EXAMPLE_SECRET)
    assert not fits(replace(call, body=b"{}"), claim, EXAMPLE_SECRET)
    assert not fits(replace(call, method="POST"), claim, EXAMPLE_SECRET)
    moved = replace(call, headers={**call.headers, "host": "elsewhere.test"})
    assert not fits(moved, claim, EXAMPLE_SECRET)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Access=AK",
        f"Access=AK, SignedHeaders=host, {NONE}",
        f"Access=AK, SignedHeaders=x-sdk-date;host, {NONE}",
        f"Access=AK, SignedHeaders=host;x-sdk-date, {NONE}0",
        f"Credential=AK/20260130///sdk_request, SignedHeaders=host;x-sdk-date, {NONE}",
        f"Credential=AK/20260131///aws4_request, SignedHeaders=host;x-sdk-date, {NONE}",
    ],
)
def test_header_that_is_no_signature_has_no_claim(authorization: str) -> None:
    assert claim_of(received(LIST, authorization)) is None


class Signer:
    """Signs requests, with code of its own, in the plain form (or the scoped one)."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.http = httpx.Client(base_url=sim.url, trust_env=False)
        self.key, self.secret, self.form = KEY, SECRET, "plain"
        self.token: str | None = None
        self.late = timedelta()
        self.scope = {"X-Project-Id": sim.project_id}

    @property
    def project(self) -> str:
        return self.scope["X-Project-Id"]

    def get(self, path: str = LIST) -> httpx.Response:
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        content = b"" if body is None else json.dumps(body).encode()
        stamp = f"{datetime.now(UTC) - self.late:%Y%m%dT%H%M%SZ}"
        host = self.http.base_url.netloc.decode()
        canonical = (
            f"{method}\n{path}/\n\nhost:{host}\nx-sdk-date:{stamp}\n\nhost;x-sdk-date\n"
            f"{hashlib.sha256(content).hexdigest()}"
        )
        digest, key = hashlib.sha256(canonical.encode()).hexdigest(), self.secret.encode()
        text, who = f"SDK-HMAC-SHA256\n{stamp}\n{digest}", f"Access={self.key}"
        if self.form == "scoped":
            scope = f"{stamp[:8]}/eu-de/ims/sdk_request"
            text, who = (
                f"SDK-HMAC-SHA256\n{stamp}\n{scope}\n{digest}",
                f"Credential={self.key}/{scope}",
            )
            key = b"SDK" + key
            for step in scope.split("/"):
                key = hmac.digest(key, step.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers = {
            "X-Sdk-Date": stamp,
            **self.scope,
            "Authorization": f"SDK-HMAC-SHA256 {who}, SignedHeaders=host;x-sdk-date, "
            f"Signature={signature}",
        }
        if self.token is not None:
            headers["X-Security-Token"] = self.token
        return self.http.request(method, path, headers=headers, content=content)


@pytest.fixture
def signer(sim: Simulator) -> Iterator[Signer]:
    sim.add_access_key(sim.user_id, KEY, SECRET)
    signer = Signer(sim)
    yield signer
    signer.http.close()


@pytest.mark.parametrize("form", ["plain", "scoped"])
def test_signed_batch_changes_memberships(signer: Signer, images: list[str], form: str) -> None:
    signer.form = form
    body = {"images": images, "project_id": signer.project, "status": "accepted"}

    response = signer.send("PUT", MEMBERS, body)

    assert response.status_code == 200, response.text
    signer.sim.finish_jobs()
    assert {signer.sim.membership(image, signer.project) for image in images} == {"accepted"}
    assert signer.sim.journal(f"PUT {MEMBERS}")[-1]["project"] == signer.project
    assert signer.sim.counters()["tokens_issued"] == 0


@pytest.mark.parametrize("form", ["plain", "scoped"])
def test_only_the_chosen_form_is_taken(signer: Signer, form: str) -> None:
    signer.sim.settings(signing_form="scoped" if form == "plain" else "plain")
    signer.form = form

    assert code_of(signer.get()) == (401, "APIGW.0301")
    signer.sim.settings(signing_form=form)
    assert signer.get().status_code == 200


def test_wrong_and_unknown_keys_are_refused(signer: Signer) -> None:
    signer.secret = "wrong"
    assert "verify aksk signature fail" in signer.get().json()["error_msg"]
    signer.key = "AKNOBODY"
    assert "Get secretKey failed,ak:AKNOBODY,err:ak not exist" in signer.get().json()["error_msg"]
    assert signer.sim.counters()["signatures_failed"] == 2


def test_more_than_five_failures_in_a_row_lock_a_key_for_five_minutes(signer: Signer) -> None:
    for _ in range(5):
        signer.secret = "wrong"
        assert "verify aksk" in signer.get().json()["error_msg"]
    signer.secret = SECRET
    assert signer.get().status_code == 200  # it ends the row

    signer.secret = "wrong"
    for _ in range(6):
        assert "verify aksk" in signer.get().json()["error_msg"]
    signer.secret = SECRET
    assert "AK access failed to reach the limit" in signer.get().json()["error_msg"]

    signer.sim.advance(301)
    signer.late = -timedelta(seconds=301)
    assert signer.get().status_code == 200


def test_unlocked_key_is_taken(signer: Signer) -> None:
    signer.secret = "wrong"
    for _ in range(6):
        signer.get()
    signer.sim.change_access_key(KEY, unlock=True)
    signer.secret = SECRET

    assert signer.get().status_code == 200


@pytest.mark.parametrize("minutes", [16, -16])
def test_clock_skew_of_more_than_15_minutes_is_refused(signer: Signer, minutes: int) -> None:
    signer.late = timedelta(minutes=minutes)

    response = signer.get()

    assert code_of(response) == (401, "APIGW.0301")
    assert "signature expired, signature time:" in response.json()["error_msg"]


@pytest.mark.parametrize("minutes", [14, -14])
def test_clock_skew_of_less_than_15_minutes_is_taken(signer: Signer, minutes: int) -> None:
    signer.late = timedelta(minutes=minutes)

    assert signer.get().status_code == 200


def test_refusal_has_the_date_of_the_cloud(signer: Signer) -> None:
    signer.sim.settings(clock_skew_seconds=3600)

    response = signer.get()

    ahead = parsedate_to_datetime(response.headers["Date"]) - datetime.now(UTC)
    assert code_of(response) == (401, "APIGW.0301")
    assert timedelta(minutes=59) < ahead < timedelta(minutes=61)


def test_temporary_key_needs_its_token_and_ends(signer: Signer) -> None:
    sim = signer.sim
    sim.add_access_key(sim.user_id, "AKTEMP", "sk-temp", security_token="st", ttl_seconds=900)
    signer.key, signer.secret = "AKTEMP", "sk-temp"
    assert "verify aksk" in signer.get().json()["error_msg"]
    signer.token = "other"
    assert "verify aksk" in signer.get().json()["error_msg"]
    signer.token = "st"
    assert signer.get().status_code == 200

    sim.change_access_key("AKTEMP", end=True)
    assert code_of(signer.get()) == (400, "IAM.1108")
    sim.settings(ended_key="APIGW.0301")
    assert code_of(signer.get()) == (401, "APIGW.0301")


def test_disabled_and_deleted_keys_are_refused(signer: Signer) -> None:
    signer.sim.change_access_key(KEY, enabled=False)
    assert code_of(signer.get()) == (400, "IAM.1107")
    signer.sim.delete_access_key(KEY)
    assert "ak not exist" in signer.get().json()["error_msg"]


def test_project_of_another_account_is_forbidden(signer: Signer) -> None:
    signer.scope = {"X-Project-Id": signer.sim.owner_project_id}

    assert code_of(signer.get()) == (403, "APIGW.0302")


def test_signer_needs_the_rights_of_its_user(signer: Signer, images: list[str]) -> None:
    signer.sim.change_user(policies={signer.project: ["get", "list"]})
    body = {"images": images, "project_id": signer.project, "status": "accepted"}

    assert code_of(signer.send("PUT", MEMBERS, body)) == (403, "IMG.0026")
    assert signer.get().status_code == 200


def test_fault_of_a_project_meets_signed_requests(signer: Signer) -> None:
    signer.sim.fault(f"GET {LIST}", projects=[signer.project], status=503)

    assert signer.get().status_code == 503


def test_token_counts_before_a_signature(recipient: Caller) -> None:
    response = recipient.send("GET", LIST, headers={"Authorization": "SDK-HMAC-SHA256 none"})

    assert response.status_code == 200


CUSTOMER = "customer"
ASSUME = {"methods": ["assume_role"], "assume_role": {"domain_name": CUSTOMER, "agency_name": "g"}}


def account_of(signer: Signer) -> str:
    signer.scope = {}
    (account,) = signer.get("/v3/auth/domains").json()["domains"]
    assert account["name"] == signer.sim.domain
    return str(account["id"])


@pytest.fixture
def exchange(sim: Simulator) -> dict[str, Any]:
    """The body of a request for a token of a customer whose agency trusts the default account."""
    project = sim.add_project("eu-de_customer", domain=CUSTOMER)
    sim.add_agency("g", CUSTOMER)
    return {"auth": {"identity": ASSUME, "scope": {"project": {"id": project}}}}


@pytest.mark.parametrize("form", ["plain", "scoped"])
def test_signed_exchange_assumes_an_agency(
    signer: Signer, exchange: dict[str, Any], form: str
) -> None:
    signer.sim.change_user(agent_operator=True)
    signer.form = form
    signer.scope = {"X-Domain-Id": account_of(signer)}

    response = signer.send("POST", TOKENS, exchange)

    assert response.status_code == 201, response.text
    token = response.json()["token"]
    assert token["assumed_by"]["user"]["name"] == signer.sim.user
    headers = {"X-Auth-Token": response.headers["X-Subject-Token"]}
    assert signer.http.get(LIST, headers=headers).status_code == 200


def test_signed_exchange_needs_the_account_of_the_signer_and_the_right(
    signer: Signer, exchange: dict[str, Any]
) -> None:
    account = account_of(signer)
    signer.scope = {"X-Domain-Id": account}
    assert code_of(signer.send("POST", TOKENS, exchange)) == (403, "IAM.0002")
    signer.sim.change_user(agent_operator=True)
    signer.scope = {}
    assert code_of(signer.send("POST", TOKENS, exchange)) == (403, "IAM.0002")
    signer.scope = {"X-Domain-Id": "0" * 32}
    assert code_of(signer.send("POST", TOKENS, exchange)) == (403, "APIGW.0302")

    signer.scope = {"X-Domain-Id": account}
    assert signer.send("POST", TOKENS, exchange).status_code == 201


def test_failures_at_iam_and_ims_lock_a_key_together(
    signer: Signer, exchange: dict[str, Any]
) -> None:
    signer.secret = "wrong"
    for _ in range(3):
        assert code_of(signer.get()) == (401, "APIGW.0301")
        assert code_of(signer.send("POST", TOKENS, exchange)) == (401, "APIGW.0301")
    signer.secret = SECRET

    assert "failed to reach the limit" in signer.get("/v3/auth/domains").json()["error_msg"]
    assert signer.sim.counters()["signatures_failed"] == 7
