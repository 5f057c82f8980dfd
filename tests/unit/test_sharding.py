"""Each namespace belongs to one part, and to the same one everywhere."""

import pytest

from image_share_operator.sharding import Shard

NAMESPACES = [f"tenant-{number}" for number in range(1000)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_namespace_has_exactly_one_owner(count: int) -> None:
    parts = [Shard.parse(f"{index}/{count}") for index in range(count)]

    assert all(sum(part.owns(name) for part in parts) == 1 for name in NAMESPACES)


def test_parts_are_about_equal() -> None:
    owned = [sum(Shard(index, 4).owns(name) for name in NAMESPACES) for index in range(4)]

    assert min(owned) > 200


def test_owner_does_not_change_from_version_to_version() -> None:
    assert [Shard(0, 3).owns(name) for name in ("demo", "team-a", "team-b")] == [True, False, False]


def test_parts_have_names_of_their_own() -> None:
    assert Shard().name("lease") == "lease"
    assert Shard(2, 3).name("lease") == "lease-2"
