"""A real control plane for the end-to-end tests: one for all, a namespace for each."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from envtest import ControlPlane
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    Condition,
    ConditionType,
    Decision,
    Endpoints,
    ImageStatus,
    InDoubtBatch,
    Job,
    JobState,
    LatestImage,
    Membership,
    SelectionVerdict,
    Status,
)

DEPLOY = Path(__file__).parents[2] / "deploy"
RESOURCES = "/apis/ims.otc.dev/v1alpha1/namespaces/{namespace}/imageshareacceptances"
SECRETS = "/api/v1/namespaces/{namespace}/secrets"

IMAGE = "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"
PROJECT = "5dd3c0b24cdc4d31952c49589182a89d"
OTHER_PROJECT = "0b24cdc4d31952c49589182a89d5dd3c"
OWNER = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb10"
IAM = "https://iam.example.com"
IMS = "https://ims.example.com"
IMAGES = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(501)]
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
JOB_ID = "ff80808181fcd2b10181fd23a8950009"

Json = dict[str, Any]
ABSENT = object()
"""Takes a field out of the spec."""


@pytest.fixture(scope="session")
def control_plane(install: Callable[..., Path]) -> Iterator[ControlPlane]:
    """A control plane that serves our CRD. Tests that stop it or change the CRD use their own."""
    install()
    with ControlPlane() as running:
        running.apply_crds(DEPLOY / "crds")
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own, which is empty after it: a later operator would serve it."""
    name = control_plane.create_namespace("e2e")
    yield name
    empty(control_plane, name)


def empty(control_plane: ControlPlane, namespace: str) -> None:
    """Delete the resources and Secrets in a namespace, whatever finalizers there are."""
    http, resources = control_plane.http, RESOURCES.format(namespace=namespace)
    for collection in (resources, SECRETS.format(namespace=namespace)):
        http.delete(collection).raise_for_status()
    for row in http.get(resources).raise_for_status().json()["items"]:
        http.patch(
            f"{resources}/{row['metadata']['name']}",
            headers={"Content-Type": "application/merge-patch+json"},
            json={"metadata": {"finalizers": None}},
        )


WORDINGS = (
    (r'Invalid value: (?:"(?:[^"\\]|\\.)*": )?', "Invalid value: "),
    (r"may not be (?:longer|more) than (\d+)(?: bytes)?", r"may not be more than \1"),
    (r"\bstatus\.", ""),
)
"""What API servers of two versions word in two ways.

1.28 reports the type of a value, not the value. It words a limit in another way. It omits the first
part of the path of a status field."""


def same_wording(message: str) -> str:
    """Return the message without what differs between the versions of Kubernetes."""
    for pattern, words in WORDINGS:
        message = re.sub(pattern, words, message)
    return message


def document(**changes: object) -> Json:
    """A resource that is taken, after ``changes`` of its spec."""
    spec: Json = {
        "region": "eu-de",
        "projectID": PROJECT,
        "images": [IMAGE],
        "credentialsSecretRef": {"name": "otc-credentials"},
    }
    spec |= changes
    return {
        "apiVersion": "ims.otc.dev/v1alpha1",
        "kind": "ImageShareAcceptance",
        "metadata": {"generateName": "case-"},
        "spec": {field: value for field, value in spec.items() if value is not ABSENT},
    }


def endpoints(iam: object = IAM, ims: object = IMS) -> Json:
    both = {"iam": iam, "ims": ims}
    return {
        "region": ABSENT,
        "endpoints": {name: url for name, url in both.items() if url is not ABSENT},
    }


def selecting(*terms: Json, policy: object = ABSENT, **changes: object) -> Json:
    """Changes of a spec that selects its images; without terms, all images of `OWNER`."""
    return {
        "images": ABSENT,
        "imageSelectorTerms": list(terms) or [{"owner": OWNER}],
        "imageSelectionPolicy": policy,
        **changes,
    }


def create(control_plane: ControlPlane, namespace: str, **changes: object) -> Json:
    """Create a resource and return it as it is stored."""
    collection = RESOURCES.format(namespace=namespace)
    made = control_plane.http.post(collection, json=document(**changes)).raise_for_status().json()
    stored: Json = control_plane.http.get(f"{collection}/{made['metadata']['name']}").json()
    return stored


def patch_spec(control_plane: ControlPlane, resource: Json, **changes: object) -> httpx.Response:
    metadata = resource["metadata"]
    return control_plane.http.patch(
        f"{RESOURCES.format(namespace=metadata['namespace'])}/{metadata['name']}",
        headers={"Content-Type": "application/merge-patch+json"},
        json={"spec": changes},
    )


def full_status() -> Status:
    """A status in which the operator has something to say in each field."""
    kinds = (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)
    return Status(
        observed_generation=1,
        conditions=tuple(
            Condition(
                type=kind,
                status="True",
                reason=Reason.PARTIALLY_FAILED,
                message="Look at the images.",
                observed_generation=1,
                last_transition_time=NOW,
            )
            for kind in kinds
        ),
        job=Job(
            id=JOB_ID,
            generation=1,
            decision=Decision.ACCEPT,
            state=JobState.FAIL,
            submitted_at=NOW,
            type="imsUpdateImageMembersJob",
            begin_time="2026-05-04T03:02:01.000Z",
            end_time="04-May-2026 03:02:02:000",
            error_code="IMG.0027",
            fail_reason="The image is not shared.",
        ),
        unanswered=InDoubtBatch(
            decision=Decision.ACCEPT, images=(IMAGE,), since=NOW, until=NOW + timedelta(minutes=1)
        ),
        images=(
            ImageStatus(
                id=IMAGE,
                membership=Membership.PENDING,
                job_id=JOB_ID,
                message="Not shared.",
                name="ubuntu-24.04",
                owner=OTHER_PROJECT,
                created_at=NOW,
                selection=SelectionVerdict.SELECTED,
            ),
        ),
        latest=(
            LatestImage(
                group="ubuntu",
                id=IMAGE,
                name="ubuntu-24.04",
                owner=OTHER_PROJECT,
                created_at=NOW,
                since=NOW,
                previous_id=IMAGES[0],
            ),
        ),
        selected=1,
        summary="0/1",
        credentials_accepted_by=Endpoints(iam=IAM, ims=IMS),
    )


def apply_status(control_plane: ControlPlane, resource: Json, status: Json) -> httpx.Response:
    """Apply as the operator does: server-side, to the subresource, with force."""
    return control_plane.http.patch(
        f"{path_of(resource)}/status",
        params={"fieldManager": "operator", "force": "true", "fieldValidation": "Strict"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        json={
            "apiVersion": resource["apiVersion"],
            "kind": resource["kind"],
            "metadata": {"name": resource["metadata"]["name"]},
            "status": status,
        },
    )


def path_of(resource: Json) -> str:
    metadata = resource["metadata"]
    return f"{RESOURCES.format(namespace=metadata['namespace'])}/{metadata['name']}"


def read(control_plane: ControlPlane, resource: Json) -> Json:
    stored: Json = control_plane.http.get(path_of(resource)).raise_for_status().json()
    return stored
