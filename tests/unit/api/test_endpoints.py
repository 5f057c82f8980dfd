"""Endpoints of a spec: accepted ones can be called, others are refused with the field."""

from collections.abc import Mapping
from datetime import timedelta

import httpx
import pytest
import yarl
from drive import spec
from hypothesis import example, given
from hypothesis import strategies as st

from image_share_operator.api import status_json
from image_share_operator.api.errors import InvalidSpecError, TerminalError
from image_share_operator.api.fields import is_base_url
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    REGIONS,
    Cloud,
    Desired,
    Endpoints,
    Interface,
    OpenStack,
    Status,
)
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.transport import HttpClients

GOOD = "https://ims.test"


def parsed(endpoints: Mapping[str, str]) -> Desired:
    return Desired.parse(spec(region=None, endpoints=endpoints), 1)


@pytest.mark.parametrize(
    "unusable",
    ["https://300.1.1.1", "https://a..b", f"https://{'a' * 64}.com", "https://[:::]", "ims.test"],
)
@pytest.mark.parametrize("field", ["iam", "ims"])
def test_unusable_endpoint_is_refused_with_its_field(field: str, unusable: str) -> None:
    with pytest.raises(InvalidSpecError, match=rf"^spec\.endpoints\.{field} must be https://HOST"):
        parsed({"iam": GOOD, "ims": GOOD, field: unusable})


def test_trailing_slash_is_removed() -> None:
    assert parsed({"iam": GOOD, "ims": f"{GOOD}:8443/"}).endpoints == Endpoints(
        iam=GOOD, ims=f"{GOOD}:8443"
    )


HOSTS = st.text("aZ09-.:x[]fn", max_size=20) | st.lists(
    st.sampled_from(["a", "xn--a", "0", "255", "256", "01", "-", "", "b" * 63, "::1"]), max_size=5
).map(".".join)


@given(HOSTS)
@example("1.2.3")
@example("a" * 70)
@example("[fe80::1]")
def test_accepted_host_is_valid_for_httpx_and_aiohttp(host: str) -> None:
    url = f"https://{host}"
    if is_base_url(url) and "xn--" not in host:
        assert httpx.URL(url).raw_host.decode().encode("idna")
        assert yarl.URL(url).host


@pytest.mark.parametrize("host", ["xn--a", "XN--A.de", "xn--", "300.1.1.1", "2130706433"])
async def test_url_that_only_httpx_refuses_is_a_terminal_error(host: str) -> None:
    second = timedelta(seconds=1)
    clients = HttpClients.with_timeouts(connect=second, read=second)
    async with clients:
        client = clients.get()
        http_client = CloudHttpClient(client=client, timeout=second)
        for _ in range(8):  # more than the circuit breaker allows: it does not count them
            with pytest.raises(
                TerminalError, match=rf"^spec\.endpoints: https://{host}/"
            ) as caught:
                await http_client.send(client.build_request("PUT", f"https://{host}/v1?q=1"))

            assert caught.value.reason is Reason.INVALID_REQUEST


SERVICE_ACCOUNT = {"name": "web", "identityProvider": "my-cluster", "audience": "otc"}


def test_service_account_is_refused_with_endpoints() -> None:
    """The CRD refuses it, too; an older CRD in the cluster does not."""
    endpoints = {"iam": "https://iam.evil.test", "ims": "https://ims.evil.test"}
    wanted = spec(serviceAccount=SERVICE_ACCOUNT, endpoints=endpoints)
    del wanted["credentialsSecretRef"], wanted["region"]

    with pytest.raises(InvalidSpecError, match="tokens are not sent to other endpoints"):
        Desired.parse(wanted, 1)


def test_service_account_is_refused_beside_a_secret() -> None:
    with pytest.raises(InvalidSpecError, match="mutually exclusive"):
        Desired.parse(spec(serviceAccount=SERVICE_ACCOUNT), 1)


def of_openstack(**fields: str) -> Cloud:
    wanted = spec(region=None, openstack={"authURL": "https://cloud.test/identity", **fields})
    return Desired.parse(wanted, 1).endpoints


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://Cloud.test/identity/v3/", "https://cloud.test/identity"),
        ("https://cloud.test:443/Identity", "https://cloud.test/Identity"),
        ("https://cloud.test:5000/v3", "https://cloud.test:5000"),
        ("http://[::1]:5000/", "http://[::1]:5000"),
    ],
)
def test_auth_url_has_one_spelling(given: str, url: str) -> None:
    assert of_openstack(authURL=given) == OpenStack(auth_url=url)


@pytest.mark.parametrize("field", ["authURL", "imageEndpoint"])
def test_unusable_url_of_openstack_is_refused_with_its_field(field: str) -> None:
    with pytest.raises(InvalidSpecError, match=rf"^spec\.openstack\.{field} must be https://HOST"):
        of_openstack(**{field: "https://cloud.test/a?b=c"})


def test_unknown_interface_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match=r"^spec\.openstack\.interface 'dmz' is not one of"):
        of_openstack(interface="dmz")


def test_all_fields_of_openstack_are_read() -> None:
    assert of_openstack(
        region="two", interface="internal", imageEndpoint="https://cloud.test/image/v2"
    ) == OpenStack(
        auth_url="https://cloud.test/identity",
        region="two",
        interface=Interface.INTERNAL,
        image_endpoint="https://cloud.test/image",
    )


@pytest.mark.parametrize(
    "cloud",
    [
        OpenStack(auth_url="https://cloud.test/identity"),
        OpenStack(auth_url=GOOD, region="two", image_endpoint=f"{GOOD}/image"),
        REGIONS["eu-de"],
    ],
    ids=str,
)
def test_status_has_the_cloud_that_accepted_the_credentials(cloud: Cloud) -> None:
    status = Status(credentials_accepted_by=cloud)

    assert status_json.read(status_json.write(status)) == status
