"""The choice of the image endpoint; keystoneauth chooses the same where there is one choice."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keystoneauth1.access.service_catalog import ServiceCatalogV3

from image_share_operator.api.errors import TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Interface, OpenStack
from image_share_operator.cloud.keystone.catalog import choose, read_image_endpoints

Json = dict[str, Any]


def endpoint(url: str, region: str = "one", interface: str = "public") -> Json:
    return {"region": region, "region_id": region, "interface": interface, "url": url}


def service(*endpoints: Json, kind: str = "image") -> Json:
    return {"type": kind, "name": "glance", "endpoints": list(endpoints)}


def wanted(region: str | None = None, interface: Interface = Interface.PUBLIC) -> OpenStack:
    return OpenStack(auth_url="https://keystone.test", region=region, interface=interface)


def chosen(catalog: object, cloud: OpenStack) -> str:
    return choose(read_image_endpoints(catalog), cloud)


def refused(catalog: object, cloud: OpenStack) -> str:
    with pytest.raises(TerminalError) as caught:
        chosen(catalog, cloud)
    assert caught.value.reason is Reason.INVALID_REQUEST
    return str(caught.value)


CATALOG = [
    service(endpoint("https://identity.test"), kind="identity"),
    service(
        endpoint("https://one.test/image/v2"),
        endpoint("https://inside.test:9292", interface="internal"),
        endpoint("https://two.test/image/", region="two"),
    ),
]


@pytest.mark.parametrize(
    ("region", "interface", "url"),
    [
        ("one", Interface.PUBLIC, "https://one.test/image"),
        ("one", Interface.INTERNAL, "https://inside.test:9292"),
        (None, Interface.INTERNAL, "https://inside.test:9292"),
        ("two", Interface.PUBLIC, "https://two.test/image"),
    ],
)
def test_endpoint_is_chosen_by_region_and_interface(
    region: str | None, interface: Interface, url: str
) -> None:
    assert chosen(CATALOG, wanted(region, interface)) == url


def test_missing_endpoint_is_reported_with_those_that_exist() -> None:
    message = refused(CATALOG, wanted("three"))

    assert message == (
        "the service catalog of Keystone has no image endpoint for region three and interface "
        "public. It has region one, interface public; region one, interface internal; region two, "
        "interface public. Correct spec.openstack.region and spec.openstack.interface, or set "
        "spec.openstack.imageEndpoint"
    )


def test_endpoints_in_several_regions_need_a_region() -> None:
    message = refused(CATALOG, wanted())

    assert "has 2 image endpoints for interface public, in the regions one, two." in message


def test_three_endpoints_of_one_region_are_refused() -> None:
    catalog = [service(*(endpoint(f"https://{number}.test") for number in range(3)))]

    assert "has 3 image endpoints for interface public." in refused(catalog, wanted())


def test_same_endpoint_twice_is_no_choice() -> None:
    catalog = [service(endpoint("https://one.test/v2"), endpoint("https://one.test"))]

    assert chosen(catalog, wanted()) == "https://one.test"


@pytest.mark.parametrize(
    "catalog",
    [
        None,
        {},
        [],
        "catalog",
        [None, 1, []],
        [service(kind="compute")],
        [{"type": "image", "endpoints": None}],
        [service({"interface": "public", "url": 1})],  # type: ignore[list-item, unused-ignore]
        [service(endpoint("https://" + "x" * 2000))],
    ],
    ids=str,
)
def test_catalog_without_a_usable_endpoint_is_refused(catalog: object) -> None:
    assert "no image endpoint for interface public, and none at all" in refused(catalog, wanted())


@given(
    st.lists(
        st.builds(
            endpoint,
            st.sampled_from(["https://a.test", "https://b.test", "https://c.test"]),
            st.sampled_from(["one", "two"]),
            st.sampled_from(["public", "internal", "admin"]),
        ),
        max_size=6,
    ),
    st.sampled_from([None, "one", "two"]),
    st.sampled_from(Interface),
)
def test_keystoneauth_chooses_the_same_endpoint(
    endpoints: list[Json], region: str | None, interface: Interface
) -> None:
    catalog = [service(*endpoints), service(endpoint("https://d.test"), kind="compute")]
    theirs = ServiceCatalogV3(catalog).get_urls(
        service_type="image", interface=interface.value, region_name=region
    )
    if len(set(theirs)) == 1:
        assert chosen(catalog, wanted(region, interface)) == theirs[0]
    else:
        refused(catalog, wanted(region, interface))
