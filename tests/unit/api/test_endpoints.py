"""Which endpoints a spec may name: what passes can be called, what can't be is refused by field."""

from collections.abc import Mapping
from datetime import timedelta

import httpx
import pytest
import yarl
from drive import spec
from hypothesis import example, given
from hypothesis import strategies as st

from image_share_operator.api.errors import InvalidSpecError, TerminalError
from image_share_operator.api.fields import is_base_url
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Desired
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.transport import HttpClients

GOOD = "https://ims.test"


def parsed(endpoints: Mapping[str, str]) -> Desired:
    return Desired.parse(spec(region=None, endpoints=endpoints), 1)


@pytest.mark.parametrize(
    "odd",
    ["https://300.1.1.1", "https://a..b", f"https://{'a' * 64}.com", "https://[:::]", "ims.test"],
)
@pytest.mark.parametrize("field", ["iam", "ims"])
def test_endpoint_that_can_not_be_called_is_refused_by_field(field: str, odd: str) -> None:
    with pytest.raises(InvalidSpecError, match=rf"^spec\.endpoints\.{field} must be https://HOST"):
        parsed({"iam": GOOD, "ims": GOOD, field: odd})


def test_slash_at_the_end_is_cut_off() -> None:
    assert parsed({"iam": GOOD, "ims": f"{GOOD}:8443/"}).endpoints.ims == f"{GOOD}:8443"


HOSTS = st.text("aZ09-.:x[]fn", max_size=20) | st.lists(
    st.sampled_from(["a", "xn--a", "0", "255", "256", "01", "-", "", "b" * 63, "::1"]), max_size=5
).map(".".join)


@given(HOSTS)
@example("1.2.3")
@example("a" * 70)
@example("[fe80::1]")
def test_host_that_passes_is_one_to_the_clients_too(host: str) -> None:
    url = f"https://{host}"
    if is_base_url(url) and "xn--" not in host:
        assert httpx.URL(url).raw_host.decode().encode("idna")
        assert yarl.URL(url).host


@pytest.mark.parametrize("host", ["xn--a", "XN--A.de", "xn--", "300.1.1.1", "2130706433"])
async def test_url_that_only_the_client_knows_to_be_none_is_told_in_words(host: str) -> None:
    second = timedelta(seconds=1)
    clients = HttpClients.with_timeouts(connect=second, read=second)
    async with clients:
        client = clients.get()
        caller = CloudHttpClient(client=client, timeout=second)
        for _ in range(8):  # more than open a circuit: there is nothing that an endpoint did wrong
            with pytest.raises(TerminalError, match=rf"^spec\.endpoints: https://{host}/") as told:
                await caller.send(client.build_request("PUT", f"https://{host}/v1?q=1"))

            assert told.value.reason is Reason.INVALID_REQUEST
