"""`check` accepts and rejects the same manifests as the API server with strict field validation."""

import pytest

from e2e.conftest import IAM, IMS, RESOURCES, Json, document
from envtest import ControlPlane
from image_share_operator.api.types import Desired
from image_share_operator.cli import spec_validation

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
        *("region", "endpoints", "images", "projectID", "credentialsSecretRef"),
    )
}
CASES: dict[str, Json] = {
    **NULLS,
    "region is null beside endpoints": spec(region=None, endpoints=BOTH),
    "endpoints.iam is null": spec(region=None, endpoints={**BOTH, "iam": None}),
    "vaultID is null beside Reject": spec(vaultID=None, decision="Reject"),
    "an image is null": spec(images=[None]),
    "the name of the Secret is null": spec(credentialsSecretRef={"name": None}),
    "spec is null": {**document(), "spec": None},
    "spec is a list": {**document(), "spec": []},
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


OPTIONAL = ("decision", "timeout", "interval", "deletionPolicy", "suspend", "vaultID", "endpoints")


@pytest.mark.parametrize("field", OPTIONAL)
def test_optional_field_that_is_null_is_parsed(field: str) -> None:
    manifest = spec(**{field: None})

    stored = spec_validation.without_nulls(manifest["spec"])

    assert isinstance(stored, dict)
    assert Desired.parse(stored, 1) == Desired.parse(document()["spec"], 1)
