"""Credentials by reference: tokens of ServiceAccounts, requested once and renewed; Secrets."""

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import timedelta

import pytest

from fakes import Clock
from image_share_operator.api.credentials import ServiceAccountCredentials, TokenCredentials
from image_share_operator.api.errors import (
    KubeForbiddenError,
    KubeInvalidError,
    KubeRetryableError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.secret import Secret
from image_share_operator.api.types import SecretRef, ServiceAccountRef
from image_share_operator.controller.credential_cache import (
    NEGATIVE_TTL,
    TOKEN_LIFETIME,
    CredentialStore,
    UnusableSecretError,
)

pytestmark = pytest.mark.looptime
REF = ServiceAccountRef(name="web", identity_provider="my-cluster", audience="otc")
HOUR = timedelta(hours=1)


class Kube:
    """Issues a token for each request, unless ``answer`` is something else."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, str, str, timedelta]] = []
        self.answer: str | Exception | None = ""
        self.life = HOUR
        self.secrets: dict[tuple[str, str], Secret] = {}
        self.store = CredentialStore(self, now=self.clock.now, ttl=timedelta(seconds=20))

    async def request_token(
        self, namespace: str, name: str, audience: str, lifetime: timedelta
    ) -> str | None:
        self.asked.append((namespace, name, audience, lifetime))
        await asyncio.sleep(0.1)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.token() if self.answer == "" else self.answer

    def token(self) -> str:
        claims = {"iat": 1_000_000, "exp": 1_000_000 + int(self.life.total_seconds())}
        parts: tuple[Mapping[str, object], ...] = ({"kid": f"k{len(self.asked)}"}, claims, {})
        return ".".join(
            base64.urlsafe_b64encode(json.dumps(one).encode()).decode() for one in parts
        )

    async def read_secret(self, namespace: str, name: str) -> Secret | None:
        return self.secrets.get((namespace, name))


async def test_secret_is_read_in_the_namespace_of_the_resource() -> None:
    kube = Kube()
    kube.secrets["team", "otc"] = Secret(version="7", data={"token": b"t"})

    loaded = await kube.store.get("team", SecretRef(name="otc"))

    assert (loaded.version, loaded.credentials) == ("7", TokenCredentials(token="t"))
    with pytest.raises(UnusableSecretError, match="Secret otc not found in namespace other"):
        await kube.store.get("other", SecretRef(name="otc"))


async def test_token_is_requested_once_for_all_that_wait() -> None:
    kube = Kube()

    found = await asyncio.gather(*(kube.store.get("team", REF) for _ in range(50)))

    assert kube.asked == [("team", "web", "otc", TOKEN_LIFETIME)]
    credentials = ServiceAccountCredentials(
        namespace="team", name="web", identity_provider="my-cluster", audience="otc"
    )
    assert {one.credentials for one in found} == {credentials}
    token, ends_at = await kube.store.id_token(credentials)
    assert (token.key_id, ends_at) == ("k1", kube.clock.at + HOUR)
    assert len(kube.asked) == 1


async def test_refused_token_is_requested_again_once() -> None:
    kube = Kube()
    account = ServiceAccountCredentials(
        namespace="team", name="web", identity_provider="my-cluster", audience="otc"
    )
    first, _ = await kube.store.id_token(account)

    found = await asyncio.gather(*(kube.store.id_token(account, first) for _ in range(20)))

    assert {token.key_id for token, _ in found} == {"k2"}
    assert len(kube.asked) == 2


async def test_token_is_requested_again_before_its_end() -> None:
    kube = Kube()
    kube.life = timedelta(minutes=40)  # the API server may shorten it

    for _ in range(40):
        loaded = await kube.store.get("team", REF)
        assert loaded.id_token is not None
        assert loaded.id_token[1] > kube.clock.at
        kube.clock.pass_by(timedelta(minutes=1))

    assert len(kube.asked) == 2


async def test_tokens_of_other_namespaces_and_audiences_are_others() -> None:
    kube = Kube()
    other = ServiceAccountRef(name="web", identity_provider="my-cluster", audience="b")

    for namespace, ref in (("team", REF), ("other", REF), ("team", other)):
        await kube.store.get(namespace, ref)

    assert [(row[0], row[2]) for row in kube.asked] == [
        ("team", "otc"),
        ("other", "otc"),
        ("team", "b"),
    ]


@pytest.mark.parametrize(
    ("answer", "version", "words"),
    [
        (None, "", "not found in namespace team; create it, or correct spec.serviceAccount.name"),
        (KubeForbiddenError("HTTP 403: x"), "denied", "the API server denies its tokens: HTTP 403"),
        (KubeInvalidError("HTTP 422"), "denied", "or use spec.credentialsSecretRef"),
    ],
    ids=["missing", "forbidden", "invalid"],
)
async def test_token_that_is_not_issued_is_reported_and_requested_again(
    answer: Exception | None, version: str, words: str
) -> None:
    kube = Kube()
    kube.answer = answer

    for _ in range(3):
        with pytest.raises(UnusableSecretError, match=words) as caught:
            await kube.store.get("team", REF)
        assert caught.value.version == version
        assert caught.value.reason is Reason.CREDENTIALS_INVALID
    assert len(kube.asked) == 1

    kube.clock.pass_by(NEGATIVE_TTL)
    kube.answer = ""
    assert (await kube.store.get("team", REF)).version not in ("", version)


@pytest.mark.parametrize("answer", [KubeRetryableError("HTTP 500"), "MARK.MARK.MARK"])
async def test_failed_request_is_repeated(answer: str | Exception) -> None:
    kube = Kube()
    kube.answer = answer

    with pytest.raises(KubeRetryableError) as caught:
        await kube.store.get("team", REF)
    assert "MARK" not in str(caught.value)

    kube.clock.pass_by(timedelta(seconds=1))
    kube.answer = ""
    await kube.store.get("team", REF)
