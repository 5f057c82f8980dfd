"""Image selectors: what is parsed, and what is refused with which message."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from image_share_operator.api import patterns
from image_share_operator.api.errors import InvalidSpecError
from image_share_operator.api.selector import ImageSelector, OsType, SelectionPolicy, SelectorTerm

OWNER = "b" * 32
IMAGE = "00000000-0000-4000-8000-00000000000a"


def parse(term: dict[str, Any] | None = None, **policy: Any) -> ImageSelector:
    spec = {
        "imageSelectorTerms": [{"owner": OWNER}, {"owner": OWNER, **(term or {})}],
        "imageSelectionPolicy": policy,
    }
    selector = ImageSelector.parse(spec)
    assert selector is not None
    return selector


def test_selector_is_parsed_with_all_fields() -> None:
    selector = parse(
        {"name": "ubuntu-*", "osType": "Linux", "fullServer": True},
        groupBy="^(.+)-[0-9]{8}$",
        newest=3,
        minAge="24h",
        exclude=[IMAGE.upper()],
        limit=50,
    )

    assert selector == ImageSelector(
        terms=(
            SelectorTerm(owner=OWNER),
            SelectorTerm(owner=OWNER, name="ubuntu-*", os_type=OsType.LINUX, full_server=True),
        ),
        policy=SelectionPolicy(
            group_by="^(.+)-[0-9]{8}$",
            newest=3,
            min_age=timedelta(hours=24),
            exclude=frozenset({IMAGE}),
            limit=50,
        ),
    )
    assert selector.owners == (OWNER,)


def test_spec_that_lists_images_has_no_selector() -> None:
    assert ImageSelector.parse({"images": [IMAGE]}) is None


@pytest.mark.parametrize(
    ("term", "policy", "message"),
    [
        ({"owner": ""}, {}, "spec.imageSelectorTerms[1].owner must be a string that is not empty"),
        (
            {"owner": "x" * 65},
            {},
            "spec.imageSelectorTerms[1].owner must be the ID of the project that shares",
        ),
        (
            {"name": "ubuntu-[0-9]"},
            {},
            "spec.imageSelectorTerms[1].name has brackets: use * and ? only, or several terms",
        ),
        (
            {"name": "ubuntu-["},
            {},
            "spec.imageSelectorTerms[1].name has brackets: use * and ? only, or several terms",
        ),
        (
            {"name": "a" * 129},
            {},
            "spec.imageSelectorTerms[1].name has 129 characters, and 128 are allowed",
        ),
        (
            {"osType": "BSD"},
            {},
            "spec.imageSelectorTerms[1].osType 'BSD' is not Linux, Windows or Other",
        ),
        (
            {},
            {"groupBy": "("},
            (
                "spec.imageSelectionPolicy.groupBy does not compile: missing ): (. Use the syntax "
                "of RE2, without lookahead and backreferences"
            ),
        ),
        (
            {},
            {"groupBy": "a(?=b)"},
            (
                "spec.imageSelectionPolicy.groupBy does not compile: invalid perl operator: (?=. "
                "Use the syntax of RE2, without lookahead and backreferences"
            ),
        ),
        (
            {},
            {"groupBy": "(a)-(b)"},
            (
                "spec.imageSelectionPolicy.groupBy has 2 capture groups: keep one, write others as "
                "(?:…)"
            ),
        ),
        (
            {},
            {"groupBy": "x" * 129},
            "spec.imageSelectionPolicy.groupBy has 129 characters, and 128 are allowed",
        ),
        ({}, {"newest": 0}, "spec.imageSelectionPolicy.newest must be 1 to 500"),
        ({}, {"limit": 501}, "spec.imageSelectionPolicy.limit must be 1 to 500"),
        ({}, {"exclude": [1]}, "spec.imageSelectionPolicy.exclude must have strings only"),
        (
            {},
            {"minAge": "1 day"},
            "spec.imageSelectionPolicy.minAge: '1 day' is not a duration such as 10m or 1h30m",
        ),
    ],
)
def test_value_is_refused_with_the_name_of_its_field(
    term: dict[str, Any], policy: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpecError) as raised:
        parse(term, **policy)

    assert str(raised.value) == message


@pytest.mark.parametrize("terms", [[], "x", [{"owner": OWNER}] * 17, ["x"]])
def test_terms_are_refused_when_they_are_no_list_of_1_to_16_objects(terms: object) -> None:
    with pytest.raises(InvalidSpecError, match=r"^spec\.imageSelectorTerms must have "):
        ImageSelector.parse({"imageSelectorTerms": terms})


@pytest.mark.parametrize("pattern", [r"(\pL+)", "(.{0,128}){2}", "(a?){100}"])
def test_regex_is_refused_when_its_program_is_large(pattern: str) -> None:
    with pytest.raises(ValueError, match="instructions, and 200 are allowed"):
        patterns.check_regex(pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "group"),
    [
        ("^(.+)-[0-9]{8}$", "ubuntu-24.04-20260131", "ubuntu-24.04"),
        ("^(.+)-[0-9]{8}$", "debian", "debian"),
        ("^[a-z]+", "ubuntu-24.04-20260131", "ubuntu"),
        ("^(?:v([0-9]+)|ubuntu)", "ubuntu-24.04", "ubuntu-24.04"),
        ("^(x*)", "ubuntu", ""),
        ("^(Ü.)", "Üä-1", "Üä"),
        (r"^(\C)", "Ü", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_group_is_what_the_expression_captures(pattern: str, name: str, group: str) -> None:
    patterns.check_regex(pattern)

    assert patterns.captured(pattern, name) == group


def fits(glob: str, name: str) -> bool:
    """The definition of a glob, in a table of all beginnings of both."""
    row = [True] + [False] * len(name)
    for char in glob:
        if char == "*":
            row = [any(row[: index + 1]) for index in range(len(row))]
        else:
            row = [False] + [
                row[index] and char in ("?", letter) for index, letter in enumerate(name)
            ]
    return row[-1]


@given(glob=st.text("ab*?.-\\^\n", max_size=8), name=st.text("ab.-\\^\n", max_size=8))
@example(glob="*", name="")
@example(glob="a.", name="ab")
@example(glob="A", name="a")
def test_glob_matches_by_its_definition(glob: str, name: str) -> None:
    assert (patterns.compile_glob(glob).match(name) is not None) is fits(glob, name)


@pytest.mark.parametrize("glob", ["*a" * 63 + "*b", "*a?" * 42 + "b", "*" + "a" * 60 + "*b*c"])
def test_glob_does_not_backtrack(glob: str) -> None:
    """With backtracking, the first takes longer than the universe exists."""
    assert patterns.compile_glob(glob).match("a" * 128) is None


def test_regex_does_not_backtrack() -> None:
    patterns.check_regex("^(a*a*a*a*a*a*a*a*a*a*)*$")

    assert patterns.captured("^(?:(?:a*)*)*b$", "a" * 128) == "a" * 128
