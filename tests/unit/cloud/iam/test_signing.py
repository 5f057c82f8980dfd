"""Signatures of requests.

The signatures of `VECTORS` were computed by the signers of two SDKs, run with these requests, this
access key and this time: those of `SCOPED` by gophertelekomcloud (``signer_helper.go``), those of
`PLAIN` by huaweicloud-sdk-python-v3 (``signer.py``).
"""

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from fakes import PROJECT, START
from image_share_operator.api.credentials import AccessKeyCredentials
from image_share_operator.cloud.iam.signing import SigningForm, sign

KEY = AccessKeyCredentials(
    access_key="AKEXAMPLE0000000000A", secret_key="skEXAMPLE000000000000000000000000000000b"
)
TEMPORARY = replace(KEY, security_token="ST-example")
IMS = "https://ims.eu-de.otc.t-systems.com"
LIST = f"{IMS}/v2/cloudimages?member_status=pending&visibility=shared&limit=500&__imagetype=shared"
OTHER_PORT = (
    "https://ims.example.com:8443/base/v2/images/00000001-1111-4222-8333-444455556666"
    f"/members/{PROJECT}"
)
PUT = f"{IMS}/v1/cloudimages/members"
BODY = (
    '{"images":["00000001-1111-4222-8333-444455556666"],'
    f'"project_id":"{PROJECT}","status":"accepted"}}'
)
ENCODED = f"{IMS}/a%20b/%C3%BC~x*y?k=a%20b%2Fc&a=&z=%C3%BC"
VECTORS = [
    (
        LIST,
        "232a07fd30d604bac9e8291c04e524d4e843179504bd7b20f01ed99e70261cde",
        "257f2f78799d9804812b38735ec8b1d3843ca499e6babbfa6b1a966f1258f9c2",
    ),
    (
        OTHER_PORT,
        "e0dc5506db6d64493a4b3ebf346bc00ddf80021b6966311dac42ed68f43b4644",
        "2693ef57fef63460d239b5dbcc2b4f97493c258a5a2c85c84db656389c055888",
    ),
    (
        PUT,
        "d5df8169df672e0e8f3d603c6fe40973de4e8d1f315422a54c4d8e3b4c902947",
        "3b3db12a4f8961fefd0f0538d2b371712059fcee8c889a637d464ee48c0fb2dd",
    ),
    (
        ENCODED,
        "b4461c0a1648c90d50e418bcba543c416f2458e1733b4963c6ef42258cf85399",
        "edf778094c1536a99652db3ae0941c23c19092e1683e2f69952d10eedda1435d",
    ),
]


def signed(
    url: str, form: SigningForm, key: AccessKeyCredentials = KEY, *, hours: int = 0
) -> httpx.Request:
    request = (
        httpx.Request("PUT", url, content=BODY, headers={"Content-Type": "application/json"})
        if url == PUT
        else httpx.Request("GET", url)
    )
    now = START + timedelta(hours=hours)
    sign(request, key, scope={"X-Project-Id": PROJECT}, now=now, form=form)
    return request


@pytest.mark.parametrize(
    ("url", "scoped"), [row[:2] for row in VECTORS], ids=["list", "port", "put", "encoded"]
)
def test_scoped_signature_is_that_of_the_go_sdk(url: str, scoped: str) -> None:
    request = signed(url, SigningForm.SCOPED)

    content_type = "content-type;" if url == PUT else ""
    assert request.headers["Authorization"] == (
        "SDK-HMAC-SHA256 Credential=AKEXAMPLE0000000000A/20260131///sdk_request, "
        f"SignedHeaders={content_type}host;x-sdk-date, Signature={scoped}"
    )
    assert request.headers["X-Sdk-Date"] == "20260131T120000Z"
    assert request.headers["X-Project-Id"] == PROJECT


@pytest.mark.parametrize(
    ("url", "plain"), [row[::2] for row in VECTORS], ids=["list", "port", "put", "encoded"]
)
def test_plain_signature_is_that_of_the_python_sdk(url: str, plain: str) -> None:
    request = signed(url, SigningForm.PLAIN)

    content_type = "content-type;" if url == PUT else ""
    assert request.headers["Authorization"] == (
        "SDK-HMAC-SHA256 Access=AKEXAMPLE0000000000A, "
        f"SignedHeaders={content_type}host;x-project-id;x-sdk-date, Signature={plain}"
    )


def test_security_token_is_signed_in_the_plain_form_only() -> None:
    plain = signed(f"{IMS}/v2/cloudimages", SigningForm.PLAIN, TEMPORARY)
    scoped = signed(LIST, SigningForm.SCOPED, TEMPORARY)

    assert plain.headers["Authorization"].endswith(
        "x-security-token, "
        "Signature=b986e17802d757ccb612c57f3e724b34c9e00395fde853f441f32747bdffe725"
    )
    assert scoped.headers["Authorization"].endswith(VECTORS[0][1])
    assert scoped.headers["X-Security-Token"] == "ST-example"


@pytest.mark.parametrize("form", SigningForm)
def test_request_that_is_signed_again_has_a_new_date(form: SigningForm) -> None:
    request = signed(PUT, form, hours=0)
    sign(
        request,
        KEY,
        scope={"X-Project-Id": PROJECT},
        now=START + timedelta(hours=13),
        form=form,
    )

    assert request.headers["X-Sdk-Date"] == "20260201T010000Z"
    assert request.headers == signed(PUT, form, hours=13).headers


@pytest.mark.parametrize("query", ["b=1&a=2", "a=2&b=1"])
def test_order_of_the_query_does_not_matter(query: str) -> None:
    request = signed(f"{IMS}/v2/cloudimages?{query}", SigningForm.SCOPED)

    expected = signed(f"{IMS}/v2/cloudimages?a=2&b=1", SigningForm.SCOPED)
    assert request.headers["Authorization"] == expected.headers["Authorization"]


@pytest.mark.parametrize("form", SigningForm)
def test_signed_request_has_no_secret_key(form: SigningForm) -> None:
    request = signed(PUT, form, TEMPORARY)

    assert KEY.secret_key not in str(request.headers.raw)
