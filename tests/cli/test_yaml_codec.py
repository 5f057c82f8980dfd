"""The command reads YAML as kubectl does, and writes YAML that every reader reads alike."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from envtest import binaries
from image_share_operator.cli import yaml_codec

MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\nspec:\n  v: {}\n"
INTEGERS = (
    "0 -0 00 5 -5 +5 0x1F 0X1f -0x1f +0x1F 0x_1F 012 -012 019 08 0o14 0O14 -0o7 0b101 -0b101 0B11 "
    "1_000 1_ 1__0 -_1 0_7 07_ 9223372036854775807 9223372036854775808 18446744073709551615 "
    "18446744073709551616 -9223372036854775808 -9223372036854775809 "
    "0x123456789012345678901234567890"
)
FLOATS = (
    "1e3 1E3 1e+3 1e-3 1.5 5. .5 -.5 +.5 .1e3 .5_5 1_0.5 1_0e3 1.0 -0.0 1e20 1e21 1e400 1e-400 "
    "12345678901234567890123456789e12 99999999999999999999999999999999 100000000000000000000.0"
)
WORDS = (
    "y Y n N yes Yes YES yEs no on On ON oN off true True TRUE tRUE false null Null NULL nULL ~ "
    "nan inf Infinity = <<"
)
TIMES = (
    "1:30 1:30:00 190:20:30.15 2026-01-01 2026-1-1 2026-01-01T00:00:00Z "
    "2001-12-14t21:59:43.10-05:00"
)
TEXTS = "_1 1e 1e+ 0x 0b 0o . .. + .e3 ._5 0x1p4 0b112 1.5e3.2 4ca46bf1 \uff17"
TAGGED = (
    *("!!str 1", "!!str", '!!int "5"', "!!float 5", "!!bool yes", '!!null ""', "!!binary aGk="),
    *("!!timestamp 2026-01-01", "!other 5x", '"1"', "'yes'", "|\n    5", ">-\n    yes", ""),
)
MAPPINGS = (
    *("{1: 2}", "{yes: 2}", "{1.5: 2}", "{1e3: a}", "{0x10: a}", "{2026-01-01: 2}"),
    *("{a: 1, a: 2}", "{<<: {a: 1}, b: 2}", "{<<: [{a: 1}, {a: 2}], b: 2}"),
    *("!!set {a: }", "!!omap [a: 1]", "[1, no, 1:30]", "{a: &b {c: 010}, d: *b}"),
)
REFUSED = (
    *(".inf", "-.Inf", "+.INF", ".nan", ".NaN", '!!float "x"', "!!int yes", "!!bool 1"),
    *("!!binary '!'", "{~: 2}", "{<<: 5}", "{? [a] : b}", "@x", "`x", "%x", "a: b", "[1,2"),
    *("-", "*none", "&a [*a]"),
)
SCALARS = [word for row in (INTEGERS, FLOATS, WORDS, TIMES, TEXTS) for word in row.split()]


def by_kubectl(text: str) -> object:
    """What kubectl makes of a value; it needs no cluster for this."""
    ended = subprocess.run(
        [binaries.directory() / "kubectl", "label", "--local", "-f-", "-ojson", "a=b"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        return ValueError
    return json.loads(ended.stdout, parse_int=number)["spec"]["v"]


def number(text: str) -> float:
    """The API server reads what fits as int64, and all other numbers as float64."""
    return int(text) if -(2**63) <= int(text) < 2**63 else float(text)


def by_us(text: str) -> object:
    try:
        (document,) = yaml_codec.documents(text.encode())
    except yaml.YAMLError:
        return ValueError
    assert isinstance(document, dict)
    return document["spec"]["v"]


def test_each_scalar_has_the_type_and_value_that_kubectl_reads() -> None:
    listed = "".join(f"\n  - {scalar}" for scalar in SCALARS)
    text = MANIFEST.format(listed)

    theirs, ours = by_kubectl(text), by_us(text)

    assert isinstance(theirs, list)
    assert isinstance(ours, list)
    pairs = [
        (scalar, type(a), a, type(b), b)
        for scalar, a, b in zip(SCALARS, theirs, ours, strict=True)
        if (type(a), a) != (type(b), b)
    ]
    assert pairs == []


def test_tags_keys_and_errors_are_those_of_kubectl() -> None:
    values = [*TAGGED, *MAPPINGS, *REFUSED]
    texts = [MANIFEST.format(value) for value in values]

    with ThreadPoolExecutor(2) as pool:
        theirs = dict(zip(values, pool.map(by_kubectl, texts), strict=True))

    assert dict(zip(values, map(by_us, texts), strict=True)) == theirs
    assert [value for value in values if theirs[value] is ValueError] == list(REFUSED)


JSON_FILES: dict[str, tuple[str, list[object]]] = {
    "tabs": ('{\n\t"a": 1\n}', [{"a": 1}]),
    "escapes": (r'{"a": "\ud83d\ude00 \/"}', [{"a": "\U0001f600 /"}]),
    "two documents": ('{"a": 1}\n{"a": "1e3"}\n', [{"a": 1}, {"a": "1e3"}]),
    "YAML that begins like JSON": ("{a: no}", [{"a": False}]),
}


@pytest.mark.parametrize(("text", "expected"), JSON_FILES.values(), ids=JSON_FILES)
def test_json_is_read_as_json(text: str, expected: list[object]) -> None:
    assert list(yaml_codec.documents(text.encode())) == expected


def test_every_ambiguous_scalar_is_written_in_quotes() -> None:
    lines = [yaml_codec.dump([scalar]) for scalar in SCALARS]

    assert [line for line in lines if not line.startswith('- "')] == []


def test_ids_names_and_urls_need_no_quotes() -> None:
    texts = ["4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90", "team-a", "https://ims.example.com:8443"]

    assert yaml_codec.dump(texts) == "".join(f"- {text}\n" for text in texts)


@given(st.text() | st.from_regex(r"[-+]?[0-9][0-9_.:eExXob-]*", fullmatch=True))
def test_written_string_is_read_back_by_both_dialects(text: str) -> None:
    written = yaml_codec.dump({"a": text, "b": [text]})

    assert yaml.safe_load(written) == {"a": text, "b": [text]}
    assert list(yaml_codec.documents(written.encode())) == [{"a": text, "b": [text]}]
