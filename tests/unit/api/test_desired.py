"""A spec lists its images or selects them."""

from typing import Any

import pytest

from image_share_operator.api.errors import InvalidSpecError
from image_share_operator.api.selector import ImageSelector, SelectorTerm
from image_share_operator.api.types import Desired, RemovalPolicy

A = "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"
OWNER = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb10"
REST = {
    "region": "eu-de",
    "projectID": "5dd3c0b24cdc4d31952c49589182a89d",
    "credentialsSecretRef": {"name": "otc"},
}


def parse(**fields: Any) -> Desired:
    return Desired.parse({**REST, **fields}, 1)


def test_spec_with_a_selector_lists_no_images() -> None:
    desired = parse(imageSelectorTerms=[{"owner": OWNER}], removalPolicy="Reject", dryRun=True)

    assert desired.images == ()
    assert desired.selector == ImageSelector(terms=(SelectorTerm(owner=OWNER),))
    assert desired.removal_policy is RemovalPolicy.REJECT
    assert desired.dry_run


def test_spec_with_a_list_keeps_removed_images_and_submits() -> None:
    desired = parse(images=[A])

    assert desired.images == (A,)
    assert desired.selector is None
    assert desired.removal_policy is RemovalPolicy.RETAIN
    assert not desired.dry_run


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Set spec.images or spec.imageSelectorTerms."),
        (
            {"images": [A], "imageSelectorTerms": [{"owner": OWNER}]},
            "spec.images and spec.imageSelectorTerms are mutually exclusive. Remove one of them.",
        ),
        (
            {"images": [A], "removalPolicy": "Delete"},
            "spec.removalPolicy 'Delete' is neither Retain nor Reject",
        ),
        (
            {"images": [A], "deletionPolicy": "Delete"},
            "spec.deletionPolicy 'Delete' is neither Retain nor Reject",
        ),
    ],
    ids=["no images", "list and selector", "removal policy", "deletion policy"],
)
def test_spec_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        parse(**fields)

    assert str(refused.value) == words
