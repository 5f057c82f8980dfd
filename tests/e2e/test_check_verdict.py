"""`check` accepts and rejects the same manifests as the API server with strict field validation."""

import pytest

from e2e.conftest import ABSENT, IAM, IMAGE, IMS, OWNER, RESOURCES, Json, document, selecting
from envtest import ControlPlane
from image_share_operator.api.types import Desired
from image_share_operator.cli import spec_validation

ACCOUNT = {"name": "image-shares", "identityProvider": "my-cluster", "audience": "otc"}
BOTH = {"iam": IAM, "ims": IMS}


def spec(**changes: object) -> Json:
    """A manifest with these fields of the spec; here ``None`` is null."""
    made = document()
    return {**made, "metadata": {"name": "web"}, "spec": {**made["spec"], **changes}}


def metadata(**fields: object) -> Json:
    return {**document(), "metadata": {"name": "web", **fields}}


NULLS = {
    f"{field} is null": spec(**{field: None})
    for field in (
        *("decision", "timeout", "interval", "deletionPolicy", "suspend", "vaultID"),
        *("removalPolicy", "dryRun", "imageSelectorTerms", "imageSelectionPolicy"),
        *("region", "endpoints", "images", "projectID", "credentialsSecretRef", "agency"),
    )
}
TERM = {"owner": OWNER}


def selector(**changes: object) -> Json:
    """A manifest that selects its images, after these changes of its only term."""
    return document(**selecting({**TERM, **changes}))


def policy(**fields: object) -> Json:
    return document(**selecting(policy=fields))


COUNTS: tuple[object, ...] = (0, 1, 500, 501, -1, 1.0, 1.5, 1e40, True, "3", None, [], {})
SELECTORS: dict[str, Json] = {
    "selector": selector(),
    "selector is null beside images": spec(imageSelectorTerms=None, imageSelectionPolicy=None),
    "images are null beside a selector": document(**{**selecting(), "images": None}),
    "selector beside images": spec(imageSelectorTerms=[TERM]),
    "policy beside images": spec(imageSelectionPolicy={}),
    "no images": document(images=ABSENT),
    "no terms": document(**{**selecting(), "imageSelectorTerms": []}),
    "16 terms": document(**selecting(*[TERM] * 16)),
    "17 terms": document(**selecting(*[TERM] * 17)),
    "terms are an object": document(**{**selecting(), "imageSelectorTerms": TERM}),
    "a term is null": document(**{**selecting(), "imageSelectorTerms": [None]}),
    "a term is a text": document(**{**selecting(), "imageSelectorTerms": [OWNER]}),
    "unknown field in a term": selector(tag="a"),
    "all fields of a term are null": selector(name=None, osType=None, fullServer=None),
    "owner is null": selector(owner=None),
    "owner is a number": selector(owner=5),
    "owner is a UUID": selector(owner=IMAGE),
    "owner is a UUID in upper case": selector(owner=IMAGE.upper()),
    "owner is a project name": selector(owner="eu-de_images"),
    "owner is a pattern": selector(owner="*"),
    "owner is the recipient": selector(owner=document()["spec"]["projectID"]),
    "name is a pattern": selector(name="ubuntu-24.04-?-*"),
    "name with brackets": selector(name="ubuntu-[0-9]"),
    "name with a closing bracket": selector(name="ubuntu]"),
    "name with a backslash": selector(name="ubuntu-\\*"),
    "name is empty": selector(name=""),
    "name with two lines": selector(name="a\nb"),
    "name of 128 characters": selector(name="é" * 128),
    "name of 129 characters": selector(name="é" * 129),
    "osType": selector(osType="Windows"),
    "osType in lower case": selector(osType="linux"),
    "osType is empty": selector(osType=""),
    "fullServer without a vault": selector(fullServer=True),
    "fullServer is false": selector(fullServer=False),
    "fullServer is a text": selector(fullServer="true"),
    "fullServer with a vault": document(**selecting({**TERM, "fullServer": True}, vaultID="v")),
    "fullServer with Reject": document(
        **selecting({**TERM, "fullServer": True}, decision="Reject")
    ),
    "policy is empty": policy(),
    "policy is a list": document(**selecting(policy=[])),
    "policy is null": document(**selecting(policy=None)),
    "unknown field in the policy": policy(oldest=3),
    "all fields of the policy are null": policy(
        groupBy=None, newest=None, minAge=None, exclude=None, limit=None
    ),
    **{f"newest is {count!r}": policy(newest=count) for count in COUNTS},
    **{f"limit is {count!r}": policy(limit=count) for count in COUNTS},
    **{
        f"minAge is {age!r}": policy(minAge=age)
        for age in ("0s", "0h", "0.5s", "24h", "8760h", "8760h1s", "1d", "", "24", 24, "-1s")
    },
    "minAge overflows": policy(minAge="999999h" * 3),
    **{
        f"groupBy is {pattern!r}": policy(groupBy=pattern)
        for pattern in (
            *("", "ubuntu", "^(.+)-[0-9]{8}$", "(?:a)(b)", "(a)??(?:b)?", "(?P<os>a)", "(?i:a)(b)"),
            *("[(](a)", "([)(])", r"\((a)\(", "[^](](a)", "(a)[](](?:b)", r"[\](](a)", "(a)|b"),
            *("(a)(b)", "((a)b)", "()()", "^([a-z]+)-([0-9]+)$", "(?P<os>a)(b)", "(?<x>a)(?<y>b)"),
            *("(", "((", "a)", "[a", "a{1001}", "(a{100}){100}", "*a", "(?=a)", r"(a)\1", r"(a)\C"),
            *(r"(\()(b)", "([(])(b)", "a(b)?(c)", "a" * 128, "a" * 129, "é" * 90),
        )
    },
    "groupBy is a number": policy(groupBy=5),
    "exclude is empty": policy(exclude=[]),
    "exclude": policy(exclude=[IMAGE]),
    "exclude has an image twice": policy(exclude=[IMAGE, IMAGE]),
    "exclude has a name": policy(exclude=["ubuntu"]),
    "exclude has null": policy(exclude=[None]),
    "exclude is a text": policy(exclude=IMAGE),
    **{
        f"exclude has {count}": policy(
            exclude=[f"{number:08x}{IMAGE[8:]}" for number in range(count)]
        )
        for count in (500, 501)
    },
    "removalPolicy": spec(removalPolicy="Reject"),
    "removalPolicy in lower case": spec(removalPolicy="reject"),
    "removalPolicy is a switch": spec(removalPolicy=True),
    "dryRun": spec(dryRun=True),
    "dryRun is a text": spec(dryRun="true"),
}
CASES: dict[str, Json] = {
    **NULLS,
    **SELECTORS,
    "region is null beside endpoints": spec(region=None, endpoints=BOTH),
    "endpoints.iam is null": spec(region=None, endpoints={**BOTH, "iam": None}),
    "vaultID is null beside Reject": spec(vaultID=None, decision="Reject"),
    "an image is null": spec(images=[None]),
    "the name of the Secret is null": spec(credentialsSecretRef={"name": None}),
    "the name of the agency is null": spec(agency={"name": None, "domainName": "a"}),
    "the account of the agency is null": spec(agency={"name": "g", "domainName": None}),
    "one account of the agency is null": spec(
        agency={"name": "g", "domainName": None, "domainID": "5" * 32}
    ),
    "the name of the agency has a tab": spec(agency={"name": "a\tb", "domainName": "a"}),
    "the name of the agency is one character": spec(agency={"name": "a", "domainName": "~"}),
    "the agency is a list": spec(agency=["g"]),
    "the agency has two accounts": spec(
        agency={"name": "g", "domainName": "a", "domainID": "5" * 32}
    ),
    "serviceAccount beside credentialsSecretRef": spec(serviceAccount=ACCOUNT),
    "credentialsSecretRef is null beside serviceAccount": spec(
        credentialsSecretRef=None, serviceAccount=ACCOUNT
    ),
    "serviceAccount is null": spec(serviceAccount=None),
    "serviceAccount with endpoints": spec(
        credentialsSecretRef=None, serviceAccount=ACCOUNT, region=None, endpoints=BOTH
    ),
    "the audience is null": spec(
        credentialsSecretRef=None, serviceAccount={**ACCOUNT, "audience": None}
    ),
    "the identity provider has a dot": spec(
        credentialsSecretRef=None, serviceAccount={**ACCOUNT, "identityProvider": "a.b"}
    ),
    "the audience is a list": spec(
        credentialsSecretRef=None, serviceAccount={**ACCOUNT, "audience": ["otc"]}
    ),
    "spec is null": {**document(), "spec": None},
    "spec is a list": {**document(), "spec": []},
    "openstack is null beside region": spec(openstack=None),
    "openstack without authURL": spec(region=None, openstack={"region": "one"}),
    "openstack.imageEndpoint is null": spec(
        region=None, openstack={"authURL": "https://keystone.test/v3", "imageEndpoint": None}
    ),
    "openstack is a text": spec(region=None, openstack="https://keystone.test"),
    "unknown field is null": spec(retries=None),
    "unknown field is an object": spec(retries={"most": 3}),
    "unknown field in endpoints": spec(region=None, endpoints={**BOTH, "obs": None}),
    "unknown field beside spec": {**document(), "Spec": {}},
    "unknown field beside spec is null": {**document(), "retries": None},
    "projectID is a number": spec(projectID=12),
    "projectID is a large number": spec(projectID=1e40),
    "an image is a fraction": spec(images=[1.5]),
    "images is an object": spec(images={"a": 1}),
    "suspend is a number": spec(suspend=1),
    "status is empty": {**document(), "status": {}},
    "status has another type": {**document(), "status": "Ready"},
    "other version": {**document(), "apiVersion": "ims.otc.dev/v1beta1"},
    "no version": {**document(), "apiVersion": ""},
    "metadata is null": {**document(), "metadata": None},
    "metadata is a list": {**document(), "metadata": []},
    "unknown field in metadata": metadata(nmae="web"),
    "unknown field in metadata is null": metadata(nmae=None),
    "name in upper case": metadata(name="Web"),
    "name of 253 characters": metadata(name="a" * 253),
    "name of 254 characters": metadata(name="a" * 254),
    "name is a number": metadata(name=5),
    "name is empty": metadata(name=""),
    "name is null": metadata(name=None),
    "generateName": {**document(), "metadata": {"generateName": "web-"}},
    "generateName in upper case": {**document(), "metadata": {"generateName": "Web-"}},
    "namespace is null": metadata(namespace=None),
    "namespace is a number": metadata(namespace=5),
    "label is a number": metadata(labels={"tier": 5}),
    "label is null": metadata(labels={"tier": None}),
    "label with a space": metadata(labels={"tier": "a b"}),
    "label of 63 characters": metadata(labels={"tier": "a" * 63}),
    "label of 64 characters": metadata(labels={"tier": "a" * 64}),
    "label key with a space": metadata(labels={"the tier": "a"}),
    "label key with a prefix": metadata(labels={"example.com/tier": "a"}),
    "label key with a prefix in upper case": metadata(labels={"Example/tier": "a"}),
    "label key with two slashes": metadata(labels={"a/b/c": "a"}),
    "labels are null": metadata(labels=None),
    "labels are a list": metadata(labels=["a"]),
    "annotation is a switch": metadata(annotations={"note": True}),
    "annotation is null": metadata(annotations={"note": None}),
    "annotation with spaces": metadata(annotations={"note": "a b"}),
    "annotation key with a space": metadata(annotations={"the note": "a"}),
    "annotation key in upper case": metadata(annotations={"Example/note": "a"}),
    "annotations of 256 KiB": metadata(annotations={"note": "a" * (262_144 - 4)}),
    "annotations above 256 KiB": metadata(annotations={"note": "a" * (262_144 - 3)}),
    "fields that the API server sets": metadata(
        creationTimestamp=None, resourceVersion="5", uid="5", generation=5, managedFields=[]
    ),
}


@pytest.mark.parametrize("pattern", [r"(\Q(\E)(\Q(\E)", "[[:alpha:]](a)(b)", r"\pL{40}"])
def test_check_finds_what_cel_cannot_find_in_a_regular_expression(
    control_plane: ControlPlane, pattern: str
) -> None:
    manifest = policy(groupBy=pattern)
    answer = control_plane.http.post(
        RESOURCES.format(namespace="default"), params={"dryRun": "All"}, json=manifest
    )

    (fault,) = spec_validation.manifest_faults(manifest)

    assert answer.status_code == 201, answer.json()
    assert fault.startswith("spec.imageSelectionPolicy.groupBy: Invalid value: ")


@pytest.mark.parametrize("manifest", CASES.values(), ids=CASES)
def test_check_has_the_verdict_of_the_api_server(
    control_plane: ControlPlane, manifest: Json
) -> None:
    answer = control_plane.http.post(
        RESOURCES.format(namespace="default"),
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=manifest,
    )
    faults = spec_validation.manifest_faults(manifest)

    assert (answer.status_code, faults) == (201, []) or (
        answer.status_code in (400, 422) and faults
    ), answer.json()


OPTIONAL = (
    *("decision", "timeout", "interval", "deletionPolicy", "suspend", "vaultID", "endpoints"),
    "openstack",
    *("removalPolicy", "dryRun", "imageSelectorTerms", "imageSelectionPolicy"),
    *("agency", "serviceAccount"),
)


@pytest.mark.parametrize("field", OPTIONAL)
def test_optional_field_that_is_null_is_parsed(field: str) -> None:
    manifest = spec(**{field: None})

    stored = spec_validation.without_nulls(manifest["spec"])

    assert isinstance(stored, dict)
    assert Desired.parse(stored, 1) == Desired.parse(document()["spec"], 1)


def test_selector_with_null_fields_is_parsed() -> None:
    manifest = selector(name=None, osType=None, fullServer=None)
    manifest["spec"]["imageSelectionPolicy"] = {"newest": None, "exclude": None}

    stored = spec_validation.without_nulls(manifest["spec"])

    assert isinstance(stored, dict)
    assert stored["imageSelectorTerms"] == [TERM]
    assert Desired.parse(stored, 1) == Desired.parse(selector()["spec"], 1)
