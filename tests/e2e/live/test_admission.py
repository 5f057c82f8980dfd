"""The admission policy of the samples, and what a stricter policy does to the operator."""

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from e2e.conftest import DEPLOY
from e2e.live.world import World
from envtest import ControlPlane, eventually

POLICY = DEPLOY / "samples/allowed-endpoints.yaml"
LABELLED = {"image-share-endpoints": "known-only"}
MERGE = {"Content-Type": "application/merge-patch+json"}

POLICIES_MINOR = 30

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def needs_policies(control_plane: ControlPlane) -> None:
    if control_plane.minor < POLICIES_MINOR:
        pytest.skip("ValidatingAdmissionPolicy is stable in Kubernetes 1.30 and newer")


def sample() -> list[Json]:
    return list(yaml.safe_load_all(POLICY.read_text()))


def with_openstack() -> list[Json]:
    """The policy with the expression of its comment in place of the two above it."""
    commented = re.findall(r"^    # ([ -] .*)$", POLICY.read_text(), re.MULTILINE)
    policy, binding = sample()
    policy["spec"]["validations"][1:] = yaml.safe_load("\n".join(commented))
    return [policy, binding]


def strict() -> list[Json]:
    """The policy without conditions: it also judges updates that do not change the spec."""
    policy, binding = sample()
    del policy["spec"]["matchConditions"]
    return [policy, binding]


@contextlib.contextmanager
def applied(world: World, documents: list[Json]) -> Iterator[None]:
    """Apply a policy to the namespace, and wait until it takes effect."""
    control_plane = world.control_plane
    labels = {"metadata": {"labels": LABELLED}}
    namespace = f"/api/v1/namespaces/{world.namespace}"
    control_plane.http.patch(namespace, headers=MERGE, json=labels).raise_for_status()
    control_plane.apply(documents)
    try:
        eventually(lambda: refusal(world))
        yield
    finally:
        control_plane.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(documents))
        eventually(lambda: refusal(world) is None or None)


def refusal(world: World, **changes: Any) -> str | None:
    """How a new resource with endpoints is refused; ``None`` when it is created."""
    name = f"try-{time.monotonic_ns()}"
    try:
        world.apply([world.image()], name, **changes)
    except httpx.HTTPStatusError as exc:
        return exc.response.text
    world.delete(name)
    return None


def patched(world: World, change: Json) -> httpx.Response:
    return world.control_plane.http.patch(f"{world.resources}/web", headers=MERGE, json=change)


def is_deleted(world: World) -> bool | None:
    return True if world.find() is None else None


def blocked(world: World) -> Json | None:
    """The condition Ready when it reports that the deletion cannot finish."""
    ready = world.condition("Ready")
    return ready if ready and "cannot finish" in ready["message"] else None


def test_policy_of_the_samples_lets_specs_name_known_regions_only(world: World) -> None:
    with applied(world, sample()):
        refused = refusal(world)
        openstack = {"authURL": "https://cloud.example.com/identity"}
        refused_openstack = refusal(world, endpoints=None, openstack=openstack)
        world.apply([world.image()], "known", endpoints=None, region="eu-de")

    assert refused is not None
    assert "spec.endpoints is not allowed; set spec.region instead" in refused
    assert refused_openstack is not None
    assert "spec.openstack is not allowed; set spec.region instead" in refused_openstack


def test_policy_of_the_samples_can_allow_one_openstack_cloud(world: World) -> None:
    allowed = {"authURL": "https://cloud.example.com/identity"}
    others: tuple[Json, ...] = (
        {"endpoints": None, "openstack": {"authURL": "https://other.example.com/identity"}},
        {"endpoints": None, "openstack": {**allowed, "imageEndpoint": "https://other.example.com"}},
        {"endpoints": None, "region": "eu-ch"},
    )
    with applied(world, with_openstack()):
        refused = [refusal(world, **changes) for changes in others]
        world.apply([world.image()], "cloud", endpoints=None, openstack=allowed)
        world.apply([world.image()], "region", endpoints=None, region="eu-de")

    assert all(refused)


def test_policy_of_the_samples_allows_changes_of_metadata_only(world: World) -> None:
    world.accept()

    with applied(world, sample()):
        annotated = patched(world, {"metadata": {"annotations": {"example.com/a": "b"}}})
        edited = patched(world, {"spec": {"interval": "2m"}})

    assert annotated.is_success
    assert edited.status_code == httpx.codes.FORBIDDEN


def test_deletion_finishes_under_the_policy_of_the_samples(world: World) -> None:
    image = world.accept(deletionPolicy="Reject")

    with applied(world, sample()):
        world.delete()
        eventually(lambda: is_deleted(world))

    assert world.membership(image) == "rejected"


@pytest.mark.parametrize("reason", ["Forbidden", "Invalid"])
def test_status_and_log_name_the_policy_that_blocks_a_deletion(world: World, reason: str) -> None:
    documents = strict()
    for validation in documents[0]["spec"]["validations"]:
        validation["reason"] = reason
    image = world.accept(deletionPolicy="Reject")

    with applied(world, documents):
        world.delete()
        ready = eventually(lambda: blocked(world))
        assert world.membership(image) == "rejected"
        assert world.status()["summary"] == "1/1"

    assert "ValidatingAdmissionPolicy 'image-share-endpoints'" in ready["message"]
    assert "spec.endpoints is not allowed" in ready["message"]
    assert "allows updates that do not change the spec" in ready["message"]
    log = world.operator.log
    assert "lacks this permission" not in log
    assert "ValidatingAdmissionPolicy 'image-share-endpoints'" in log
    eventually(lambda: is_deleted(world))
