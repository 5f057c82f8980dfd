"""Any YAML in a Secret: credentials or one clear error, with little time and memory."""

import time
import traceback
import tracemalloc
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from image_share_operator.api import secret
from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    PasswordCredentials,
    TokenCredentials,
)

MARK = "5ecretMark0"
CPU_SECONDS = 1.0
MEMORY_BYTES = 10 * 1024 * 1024

TYPED = ("007", "0123", "1_000", "12:30:45", "2026-01-01", "1.5e+3", "yes", "~", "", "=", ".inf")
TAGS = ("", "!!str ", "!!int ", "!!binary ", "!!timestamp ", "! ", "!vault ", "!<x> ", "!!map ")
PYTHON = "!!python/object/apply:os.system "
NAMES = ("username", "password", "user_id", "user-id", "token", "user_domain_name", "domain_id")
KEY_NAMES = ("ak", "sk", "access_key", "secret_key", "security_token")
FIELDS = (
    *NAMES,
    *KEY_NAMES,
    "auth_type",
    "auth_url",
    "verify",
    "profile",
    "regions",
    "<<",
    "cacert",
    "note",
)

words = st.one_of(
    st.just(MARK),
    st.sampled_from(
        [f"{MARK}{{region}}", f"{{{MARK}:>200000000}}", f"${{{MARK}}}", f"{MARK}#: - ?"]
    ),
    st.text(alphabet=st.characters(codec="utf-8"), max_size=8).map(lambda text: MARK + text),
    st.sampled_from((1, 1, 2, 2, 3, 3, 300, 5000)).map(lambda times: MARK * times),
)


def quoted(word: str) -> str:
    escaped = "".join(char if char.isalnum() else f"\\U{ord(char):08x}" for char in word)
    return f'"{escaped}"'


scalars = st.one_of(
    st.sampled_from(TYPED),
    words.map(quoted),
    words.map(lambda word: "'" + word.replace("'", "''") + "'"),
    words,
)
decorated = st.builds(
    "{}{}{}".format,
    st.sampled_from(("", "&a ", "&b ")),
    st.sampled_from((*("",) * 8, *TAGS, PYTHON)),
    scalars,
)
leaves = st.one_of(scalars, scalars, scalars, decorated, decorated, st.sampled_from(("*a", "*b")))
keys = st.one_of(st.sampled_from(FIELDS), st.just(MARK), leaves)


def mapping(rows: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in rows) + "}"


flow = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"&a [{', '.join(items)}]"),
        st.lists(st.tuples(keys, inner), max_size=6).map(mapping),
    ),
    max_leaves=20,
)
good = st.just([("username", "op"), ("user_domain_name", "OTC"), ("password", f"'{MARK}'")])
auths = st.one_of(
    good, st.lists(st.tuples(st.sampled_from(FIELDS), st.one_of(leaves, flow)), max_size=6)
).map(mapping)
beside = st.lists(st.tuples(keys, flow), max_size=3)
clouds = st.builds(
    lambda auth, rows: f"clouds: {{otc: {mapping([('auth', auth), *rows])}}}\n", auths, beside
)
block = st.builds(
    lambda style, word: f"clouds:\n otc:\n  auth:\n   token: {style}\n    {word}\n",
    st.sampled_from(("|", ">", "|-", ">+", "|2", "|9")),
    words,
)
LARGE = [
    "[" * 65_000,
    "{" * 65_000,
    "- " * 32_000,
    "? " * 32_000,
    "[" + "a," * 32_000,
    "a: [" + "'a'," * 250_000,
    "".join(f"{' ' * depth}a:\n" for depth in range(350)),
    "".join(f"a{number}: &a{number} x\n" for number in range(4_000)),
    "clouds: {otc: {auth: {token: '" + "a" * 65_000 + "'}}}",
    "clouds: {otc: {auth: {token: " + "vault:" + "/" * 32_000 + "}}}",
    "clouds: {" + ", ".join(f"c{number}: {{}}" for number in range(4_900)) + "}",
    "clouds: {otc: {regions: [" + ", ".join(["{name: a, values: {}}"] * 1_500) + "]}}",
    "%YAML 9.9\n---\na",
    "%TAG ! tag:x,2000:\n---\n!a b",
    "a: &a [*a]",
    "\0",
    "#" * 65_000,
    "\n" * 65_000,
    '"' + "\\u0041" * 10_000 + '"',
]
large = st.integers(0, len(LARGE) - 1).map(lambda number: LARGE[number])
texts = st.one_of(
    clouds,
    clouds,
    clouds,
    clouds,
    block,
    flow,
    large,
    st.lists(st.one_of(clouds, flow), min_size=2, max_size=3).map("\n---\n".join),
)


def cut(data: bytes, at: int, junk: bytes) -> bytes:
    at %= len(data) + 1
    return data[:at] + junk + data[at + len(junk) :]


encoded = st.builds(
    lambda text, codec: text.encode(codec, "replace"),
    texts,
    st.sampled_from((*("utf-8",) * 12, "utf-8-sig", "utf-16", "utf-32", "latin-1")),
)
documents = st.one_of(
    encoded,
    encoded,
    encoded,
    st.builds(cut, encoded, st.integers(0, 70_000), st.binary(max_size=6)),
    st.binary(max_size=200),
)


def levels(number: int) -> bytes:
    """A file whose value doubles with each level of aliases."""
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, number + 1)]
    auth = "{username: u, password: p, user_domain_name: d}"
    return "\n".join([*lines, f"clouds: {{otc: {{auth: {auth}, note: *a{number}}}}}"]).encode()


def outcome(data: Mapping[str, bytes]) -> object:
    try:
        return secret.parse(data)
    except ValueError as exc:
        return exc


@example(levels(25))
@example(b"clouds: {otc: {auth: {username: 007, password: 0123456, user_domain_name: 01}}}")
@example(b"clouds: {otc: {x_y: 'a{region}', auth: {token: abc}}}")
@example(b"clouds: {otc: {x_y: '{region_name:>200000000}', auth: {token: abc}}}")
@given(documents)
def test_any_clouds_yaml_is_credentials_or_one_clear_error(data: bytes) -> None:
    tracemalloc.start()
    started = time.process_time()
    try:
        found = outcome({"clouds.yaml": data})
        took, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert took < CPU_SECONDS
    assert peak < MEMORY_BYTES
    if isinstance(found, ValueError):
        assert type(found) is ValueError
        assert str(found).startswith("clouds.yaml")
        assert str(found).isprintable()
        assert MARK not in "".join(traceback.format_exception(found))
    else:
        assert isinstance(found, PasswordCredentials | TokenCredentials | AccessKeyCredentials)
    assert MARK not in repr(found) or isinstance(found, PasswordCredentials)


USER_KEYS = ("userID", "username", "password", "domainName", "domainID")
ACCESS_KEYS = ("accessKey", "secretKey", "securityToken")
KEYS = ("token", "cloud", "ca.crt", *USER_KEYS, *ACCESS_KEYS)


@given(
    st.dictionaries(
        st.one_of(st.sampled_from((*KEYS, "clouds.yaml")), st.just(MARK)),
        st.one_of(documents, words.map(str.encode), st.binary(max_size=20)),
        max_size=6,
    )
)
def test_any_secret_is_credentials_or_one_clear_error(data: Mapping[str, bytes]) -> None:
    found = [outcome(data)]
    try:
        secret.parse_ca(data)
    except ValueError as exc:
        found.append(exc)

    for one in found:
        if isinstance(one, ValueError):
            assert type(one) is ValueError
            assert str(one).isprintable()
            assert MARK not in "".join(traceback.format_exception(one))


@pytest.mark.parametrize("value", sorted({*TYPED} - {"~", ""}))
@pytest.mark.parametrize("name", NAMES)
def test_typed_scalar_is_never_a_credential(name: str, value: str) -> None:
    fields = {"username": "op", "password": "p", "user_domain_name": "d"}
    if name == "domain_id":
        del fields["user_domain_name"]
    auth = mapping(list({**fields, name: value}.items()))
    found = outcome({"clouds.yaml": f"clouds: {{otc: {{auth: {auth}}}}}".encode()})

    shown = name.replace("-", "_")
    assert f"auth.{shown} of cloud otc is not a string: quote it" in str(found)
