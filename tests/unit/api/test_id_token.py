"""Tokens of ServiceAccounts: lifetime and key ID; no error quotes a token."""

import base64
import json
from datetime import timedelta

import pytest

from image_share_operator.api.id_token import MAX_CHARS, parse

MARK = "MARK"


def made(header: object, claims: object) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(one).encode()) for one in (header, claims))
    return ".".join([*(part.rstrip(b"=").decode() for part in parts), MARK])


GOOD = {"iat": 1_000, "exp": 4_600}


def test_token_has_lifetime_and_key_id() -> None:
    token = parse(made({"alg": "ES256", "kid": "k_1-a.b"}, {**GOOD, "sub": MARK}))

    assert token.lifetime == timedelta(hours=1)
    assert token.key_id == "k_1-a.b"
    assert MARK not in repr(token)


@pytest.mark.parametrize("key_id", [None, 7, "", "k 1", "k\n", "k" * 65, "ключ"])
def test_key_id_that_is_not_printable_is_left_out(key_id: object) -> None:
    assert parse(made({"kid": key_id}, GOOD)).key_id is None


def test_lifetime_has_a_limit() -> None:
    assert parse(made({}, {"iat": 1, "exp": 10**18})).lifetime < timedelta(days=20_000)


@pytest.mark.parametrize(
    "value",
    [
        "",
        MARK,
        f"{MARK}.{MARK}.{MARK}",
        f"{MARK}.{MARK}",
        "é.é.é",
        made({}, {**GOOD, "sub": "a" * MAX_CHARS}),
        made([], GOOD),
        made({}, []),
        made({}, {"iat": 1}),
        made({}, {"exp": 1}),
        made({}, {"iat": "1", "exp": "2"}),
        made({}, {"iat": True, "exp": 2}),
        made({}, {"iat": 2, "exp": 2}),
        made({}, {"iat": 0, "exp": 2}),
        "W1tbW1tb" * 1_000 + ".e30.x",
    ],
)
def test_other_texts_are_refused_without_quoting_them(value: str) -> None:
    with pytest.raises(ValueError, match=r"^(not a JSON Web Token|a token without a lifetime)$"):
        parse(value)
