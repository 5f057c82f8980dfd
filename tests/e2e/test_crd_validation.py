"""What the API server takes, refuses and fills in, by the CRD alone; no operator runs."""

import httpx
import pytest
import yaml

from e2e.conftest import (
    ABSENT,
    DEPLOY,
    IAM,
    IMAGE,
    IMAGES,
    IMS,
    OTHER_PROJECT,
    OWNER,
    PROJECT,
    RESOURCES,
    Json,
    create,
    document,
    endpoints,
    patch_spec,
    read,
    same_wording,
    selecting,
)
from envtest import ControlPlane

NOT_AN_IMAGE = "must be an image ID, which is a UUID in lower case such as 4ca46bf1-"
NOT_A_PROJECT = "must be a project ID, which is 32 lower-case hexadecimal digits; use the ID of "
NOT_A_SECRET = "must be the name of a Secret in the same namespace; use lower-case letters, "
NOT_A_URL = "must have the form https://HOST or https://HOST:PORT with a valid host and port; "
NOT_A_TIMEOUT = "must be a duration from 30s to 24h with the units h, m and s, such as 45s, "
NOT_AN_OWNER = "must be the ID of the project that shares the images, which is 32 lower-case "
NOT_A_PATTERN = "must be a pattern in which * matches any text and ? matches one character; "
NOT_AN_AGE = "must be a duration from 0s to 8760h with the units h, m and s, such as 24h or 1h30m"
NOT_AN_INTERVAL = "must be a duration from 1m to 24h with the units h, m and s, such as 5m "
NOT_PRINTABLE = "must contain only printable ASCII characters, and no space at the start or end"
NO_ENDPOINTS = (
    "region, endpoints or openstack is required; set region to eu-de or eu-nl, or set both "
)


KEYSTONE = "https://cloud.example.com/identity"
UUID_PROJECT = "5dd3c0b2-4cdc-4d31-952c-49589182a89d"
NOT_A_PATH_URL = "must have the form https://HOST[:PORT][/PATH] with a valid host and port; remove "
NOT_AN_OTC_PROJECT = (
    "spec.projectID: Invalid value: must be 32 lower-case hexadecimal digits "
    "without dashes; only a project of openstack may have a UUID with dashes"
)


def openstack(**fields: object) -> Json:
    """The changes for a cloud with Keystone and Glance."""
    values = {"authURL": KEYSTONE, **fields}
    return {
        "region": ABSENT,
        "openstack": {name: value for name, value in values.items() if value is not ABSENT},
    }


def secret(name: str) -> Json:
    return {"credentialsSecretRef": {"name": name}}


ACCOUNT = {"name": "image-shares", "identityProvider": "my-cluster", "audience": "otc"}


def account(**changes: object) -> Json:
    """A ServiceAccount with changes instead of a Secret; ``ABSENT`` takes a field out."""
    fields = {**ACCOUNT, **changes}
    chosen = {name: value for name, value in fields.items() if value is not ABSENT}
    return {"credentialsSecretRef": ABSENT, "serviceAccount": chosen}


def agency(**changes: object) -> Json:
    """An agency with changes; ``ABSENT`` takes a field out."""
    fields = {"name": "image-sharing", "domainName": "team-a", **changes}
    return {"agency": {name: value for name, value in fields.items() if value is not ABSENT}}


def ask(control_plane: ControlPlane, body: Json) -> httpx.Response:
    """Ask what would become of a create; strict about unknown fields, as kubectl is."""
    return control_plane.http.post(
        RESOURCES.format(namespace="default"),
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=body,
    )


REFUSED: dict[str, tuple[Json, str]] = {
    "a name instead of an image ID": (
        {"images": ["ubuntu-24.04"]},
        f'spec.images[0]: Invalid value: "ubuntu-24.04": {NOT_AN_IMAGE}',
    ),
    "an image ID in upper case": ({"images": [IMAGE.upper()]}, NOT_AN_IMAGE),
    "an image ID without dashes": ({"images": [IMAGE.replace("-", "")]}, NOT_AN_IMAGE),
    "an image ID with a space after it": ({"images": [f"{IMAGE} "]}, NOT_AN_IMAGE),
    "a bad image ID after a good one": ({"images": [IMAGE, "x"]}, "spec.images[1]: Invalid value"),
    "a number as image ID": ({"images": [7]}, "spec.images[0] in body must be of type string"),
    "one image that is not in a list": ({"images": IMAGE}, "must be of type array"),
    "an empty list of images": ({"images": []}, "spec.images in body should have at least 1 items"),
    "neither a list of images nor a selector": (
        {"images": ABSENT},
        "spec.images: Required value: images or imageSelectorTerms is required; set images to a ",
    ),
    "a list of images and a selector": (
        {"imageSelectorTerms": [{"owner": OWNER}]},
        (
            "spec.imageSelectorTerms: Forbidden: images and imageSelectorTerms are mutually "
            "exclusive; remove one of them"
        ),
    ),
    "a selection policy for a list of images": (
        {"imageSelectionPolicy": {"newest": 3}},
        (
            "spec.imageSelectionPolicy: Forbidden: imageSelectionPolicy is allowed only with "
            "imageSelectorTerms; remove imageSelectionPolicy"
        ),
    ),
    "no terms": ({"images": ABSENT, "imageSelectorTerms": []}, "should have at least 1 items"),
    "17 terms": (selecting(*[{"owner": OWNER}] * 17), "Too many: 17: must have at most 16 items"),
    "a term without an owner": (
        selecting({"name": "ubuntu-*"}),
        "spec.imageSelectorTerms[0].owner: Required value",
    ),
    "a term whose owner is a name": (
        selecting({"owner": "eu-de_images"}),
        f'spec.imageSelectorTerms[0].owner: Invalid value: "eu-de_images": {NOT_AN_OWNER}',
    ),
    "a term whose owner is a pattern": (selecting({"owner": "*"}), NOT_AN_OWNER),
    "a term whose owner is the recipient": (
        selecting({"owner": PROJECT}),
        "owner must be the project that shares the images, and it is the recipient project; set ",
    ),
    "a name with brackets": (
        selecting({"owner": OWNER, "name": "ubuntu-[0-9]"}),
        f'spec.imageSelectorTerms[0].name: Invalid value: "ubuntu-[0-9]": {NOT_A_PATTERN}',
    ),
    "a name with a backslash": (selecting({"owner": OWNER, "name": "a\\*"}), NOT_A_PATTERN),
    "an empty name": (selecting({"owner": OWNER, "name": ""}), "should be at least 1 chars long"),
    "a name of 129 characters": (
        selecting({"owner": OWNER, "name": "n" * 129}),
        "spec.imageSelectorTerms[0].name: Too long: may not be more than 128 bytes",
    ),
    "an operating system in lower case": (
        selecting({"owner": OWNER, "osType": "linux"}),
        'Unsupported value: "linux": supported values: "Linux", "Windows", "Other"',
    ),
    "full-server images without a vault": (
        selecting({"owner": OWNER}, {"owner": OWNER, "fullServer": True}),
        (
            "spec.vaultID: Required value: vaultID is required to accept full-server images; set "
            "vaultID, or remove fullServer from imageSelectorTerms"
        ),
    ),
    "a regular expression that does not compile": (
        selecting(policy={"groupBy": "^(.+-[0-9]{8}$"}),
        "must be a regular expression in RE2 syntax",
    ),
    "a regular expression of another syntax": (
        selecting(policy={"groupBy": "(?=a)"}),
        "must be a regular expression in RE2 syntax",
    ),
    "a regular expression with two capture groups": (
        selecting(policy={"groupBy": "^([a-z]+)-([0-9]+)$"}),
        "must have up to one capture group; use (?:...) for the other groups",
    ),
    "a regular expression of 129 characters": (
        selecting(policy={"groupBy": "a" * 129}),
        "spec.imageSelectionPolicy.groupBy: Too long: may not be more than 128 bytes",
    ),
    "no newest image": (
        selecting(policy={"newest": 0}),
        "spec.imageSelectionPolicy.newest in body should be greater than or equal to 1",
    ),
    "a limit of 501 images": (
        selecting(policy={"limit": 501}),
        "spec.imageSelectionPolicy.limit in body should be less than or equal to 500",
    ),
    "an age in days": (
        selecting(policy={"minAge": "7d"}),
        f'spec.imageSelectionPolicy.minAge: Invalid value: "7d": {NOT_AN_AGE}',
    ),
    "an age above the most": (selecting(policy={"minAge": "8761h"}), NOT_AN_AGE),
    "a name to exclude": (
        selecting(policy={"exclude": ["ubuntu-24.04"]}),
        f'spec.imageSelectionPolicy.exclude[0]: Invalid value: "ubuntu-24.04": {NOT_AN_IMAGE}',
    ),
    "501 images to exclude": (
        selecting(policy={"exclude": IMAGES}),
        "spec.imageSelectionPolicy.exclude: Too many: 501: must have at most 500 items",
    ),
    "another removal policy": ({"removalPolicy": "Delete"}, 'supported values: "Retain", "Reject"'),
    "a word instead of a dry run": ({"dryRun": "yes"}, "spec.dryRun in body must be of type bool"),
    "501 images": ({"images": IMAGES}, "spec.images: Too many: 501: must have at most 500 items"),
    "the same image twice": ({"images": [IMAGE, IMAGE]}, f'Duplicate value: "{IMAGE}"'),
    "a project name": (
        {"projectID": "eu-de_team"},
        f'spec.projectID: Invalid value: "eu-de_team": {NOT_A_PROJECT}',
    ),
    "a project ID in upper case": ({"projectID": PROJECT.upper()}, NOT_A_PROJECT),
    "a project ID one digit short": ({"projectID": PROJECT[1:]}, NOT_A_PROJECT),
    "a project ID of 65 digits": ({"projectID": "5" * 65}, "may not be more than 64 bytes"),
    "an empty project ID": ({"projectID": ""}, NOT_A_PROJECT),
    "no project": ({"projectID": ABSENT}, "spec.projectID: Required value"),
    "the cloud's word instead of a decision": (
        {"decision": "accepted"},
        'spec.decision: Unsupported value: "accepted": supported values: "Accept", "Reject"',
    ),
    "a vault with Reject": (
        {"vaultID": "vault-1", "decision": "Reject"},
        "spec.vaultID: Forbidden: vaultID is allowed only when decision is Accept; remove vaultID",
    ),
    "a vault ID with a space": (
        {"vaultID": "vault 1"},
        'spec.vaultID: Invalid value: "vault 1": must contain only printable ASCII characters ',
    ),
    "an empty vault ID": ({"vaultID": ""}, "spec.vaultID in body should be at least 1 chars long"),
    "a vault ID of 65 characters": ({"vaultID": "v" * 65}, "may not be more than 64 bytes"),
    "no credentials": (
        {"credentialsSecretRef": ABSENT},
        "spec.credentialsSecretRef: Required value: credentialsSecretRef or serviceAccount is ",
    ),
    "credentials without a name": (
        {"credentialsSecretRef": {}},
        "spec.credentialsSecretRef.name: Required value",
    ),
    "a Secret with an empty name": (secret(""), "should be at least 1 chars long"),
    "a Secret in upper case": (secret("Otc"), NOT_A_SECRET),
    "a Secret of another namespace, by path": (secret("kube-system/otc"), NOT_A_SECRET),
    "a Secret name that climbs": (secret("../otc"), NOT_A_SECRET),
    "a Secret name with an empty part": (secret("otc..credentials"), NOT_A_SECRET),
    "a Secret name of 254 characters": (secret("s" * 254), "may not be more than 253 bytes"),
    "a Secret of another namespace, by field": (
        {"credentialsSecretRef": {"name": "otc", "namespace": "kube-system"}},
        'unknown field "spec.credentialsSecretRef.namespace"',
    ),
    "credentials of two kinds": (
        {"serviceAccount": ACCOUNT},
        "spec.serviceAccount: Forbidden: credentialsSecretRef and serviceAccount are mutually ",
    ),
    "a ServiceAccount with endpoints": (
        {**account(), "region": ABSENT, "endpoints": {"iam": IAM, "ims": IMS}},
        "spec.serviceAccount: Forbidden: serviceAccount requires region, because its tokens are ",
    ),
    "a ServiceAccount without a name": (
        account(name=ABSENT),
        "spec.serviceAccount.name: Required value",
    ),
    "a ServiceAccount without an identity provider": (
        account(identityProvider=ABSENT),
        "spec.serviceAccount.identityProvider: Required value",
    ),
    "a ServiceAccount without an audience": (
        account(audience=ABSENT),
        "spec.serviceAccount.audience: Required value",
    ),
    "a ServiceAccount of another namespace, by path": (
        account(name="kube-system/default"),
        "must be the name of a ServiceAccount in the same namespace; use lower-case letters, ",
    ),
    "a ServiceAccount of another namespace, by field": (
        account(namespace="kube-system"),
        'unknown field "spec.serviceAccount.namespace"',
    ),
    "a ServiceAccount with an empty name": (account(name=""), "should be at least 1 chars long"),
    "a ServiceAccount of 254 characters": (
        account(name="s" * 254),
        "may not be more than 253 bytes",
    ),
    "an identity provider with a line end": (
        account(identityProvider="a\nX-Auth-Token: b"),
        "must be the ID of an identity provider in IAM; use letters, digits, '-' and '_'",
    ),
    "an empty identity provider": (account(identityProvider=""), "at least 1 chars long"),
    "an identity provider of 65 characters": (
        account(identityProvider="p" * 65),
        "may not be more than 64 bytes",
    ),
    "an audience with a space": (
        account(audience="a b"),
        'spec.serviceAccount.audience: Invalid value: "a b": must contain only printable ASCII ',
    ),
    "an empty audience": (account(audience=""), "should be at least 1 chars long"),
    "an audience of 256 characters": (
        account(audience="a" * 256),
        "may not be more than 255 bytes",
    ),
    "an agency without a name": (
        {"agency": {"domainName": "team-a"}},
        "spec.agency.name: Required value",
    ),
    "an agency without an account": (
        {"agency": {"name": "g"}},
        "spec.agency.domainName: Required value: domainName or domainID is required; set one of ",
    ),
    "an agency with two accounts": (
        {"agency": {"name": "g", "domainName": "team-a", "domainID": PROJECT}},
        "spec.agency.domainID: Forbidden: domainName and domainID are mutually exclusive; ",
    ),
    "an agency with an empty name": (agency(name=""), "should be at least 1 chars long"),
    "an agency with a space at the end": (
        agency(name="g "),
        f'spec.agency.name: Invalid value: "g ": {NOT_PRINTABLE}',
    ),
    "an agency with a line end": (agency(name="a\nb"), NOT_PRINTABLE),
    "an agency of 65 characters": (agency(name="g" * 65), "may not be more than 64 bytes"),
    "an account with a letter that is not ASCII": (agency(domainName="té"), NOT_PRINTABLE),
    "an account of 65 characters": (agency(domainName="a" * 65), "may not be more than 64 bytes"),
    "an account name as ID": (
        agency(domainName=ABSENT, domainID="team-a"),
        'spec.agency.domainID: Invalid value: "team-a": must be an account ID, which is 32 lower-',
    ),
    "an agency that is a word": ({"agency": "g"}, "spec.agency in body must be of type object"),
    "an agency with an unknown field": (
        agency(duration="1h"),
        'unknown field "spec.agency.duration"',
    ),
    "a region whose endpoints are not known": (
        {"region": "eu-ch2"},
        (
            'spec.region: Invalid value: "eu-ch2": must be eu-de or eu-nl; for another region, '
            "omit region and set endpoints.iam and endpoints.ims"
        ),
    ),
    "neither region nor endpoints": (
        {"region": ABSENT},
        f"spec.region: Required value: {NO_ENDPOINTS}",
    ),
    "both region and endpoints": (
        {"endpoints": {"iam": IAM, "ims": IMS}},
        "spec.endpoints: Forbidden: region and endpoints are mutually exclusive, because the ",
    ),
    "region and openstack": (
        {"openstack": {"authURL": KEYSTONE}},
        "spec.openstack: Forbidden: openstack and the fields region and endpoints are mutually ",
    ),
    "openstack without authURL": (openstack(authURL=ABSENT), "spec.openstack.authURL: Required"),
    "openstack with a vault": (
        openstack() | {"vaultID": "vault"},
        "spec.vaultID: Forbidden: vaultID is for full-server images of the Open Telekom Cloud; ",
    ),
    "openstack with an agency": (
        openstack() | agency(),
        "spec.agency: Forbidden: agency is for the Open Telekom Cloud; remove agency",
    ),
    "openstack with full-server images": (
        openstack(authURL=KEYSTONE)
        | {
            "images": ABSENT,
            "imageSelectorTerms": [{"owner": OTHER_PROJECT, "fullServer": True}],
        },
        # 1.28 writes two paths together if the rules of two fields fail.
        "imageSelectorTerms: Forbidden: fullServer is for images of the Open Telekom Cloud;",
    ),
    "an authURL with a query": (openstack(authURL=f"{KEYSTONE}?a=b"), NOT_A_PATH_URL),
    "an authURL with a user": (openstack(authURL="https://me@example.com/v3"), NOT_A_PATH_URL),
    "an authURL with an empty step": (openstack(authURL=f"{KEYSTONE}//v3"), NOT_A_PATH_URL),
    "an imageEndpoint that is none": (openstack(imageEndpoint="glance"), NOT_A_PATH_URL),
    "an interface in upper case": (
        openstack(interface="PUBLIC"),
        'spec.openstack.interface: Unsupported value: "PUBLIC"',
    ),
    "a region that is empty": (openstack(region=""), "should be at least 1 chars long"),
    "an unknown field of openstack": (
        openstack(cloud="mine"),
        'unknown field "spec.openstack.cloud"',
    ),
    "a project with dashes in a region": ({"projectID": UUID_PROJECT}, NOT_AN_OTC_PROJECT),
    "only the IAM endpoint": (endpoints(ims=ABSENT), "spec.endpoints.ims: Required value"),
    "only the IMS endpoint": (endpoints(iam=ABSENT), "spec.endpoints.iam: Required value"),
    "an IAM endpoint with its version": (
        endpoints(iam=f"{IAM}/v3"),
        f'spec.endpoints.iam: Invalid value: "{IAM}/v3": {NOT_A_URL}',
    ),
    "an IMS endpoint with its version": (
        endpoints(ims=f"{IMS}/v2"),
        f'spec.endpoints.ims: Invalid value: "{IMS}/v2": {NOT_A_URL}',
    ),
    "an endpoint without a scheme": (endpoints(ims="ims.example.com"), NOT_A_URL),
    "an endpoint of another scheme": (endpoints(iam="ftp://iam.example.com"), NOT_A_URL),
    "an endpoint with a password": (endpoints(iam="https://user:pass@example.com"), NOT_A_URL),
    "an endpoint with a query": (endpoints(ims=f"{IMS}?a=b"), NOT_A_URL),
    "an endpoint with a fragment": (endpoints(ims=f"{IMS}#a"), NOT_A_URL),
    "an endpoint without a host": (endpoints(ims="https://"), NOT_A_URL),
    "an endpoint with a port that is none": (endpoints(ims=f"{IMS}:65536"), NOT_A_URL),
    "an IAM endpoint of 513 characters": (
        endpoints(iam=f"https://{'h' * 505}"),
        "spec.endpoints.iam: Too long: may not be more than 512 bytes",
    ),
    "an IMS endpoint of 513 characters": (
        endpoints(ims=f"https://{'h' * 505}"),
        "spec.endpoints.ims: Too long: may not be more than 512 bytes",
    ),
    "an endpoint with port zero": (endpoints(ims=f"{IMS}:0"), NOT_A_URL),
    "an endpoint with a zero before its port": (endpoints(ims=f"{IMS}:0443"), NOT_A_URL),
    "an endpoint with an empty part": (endpoints(ims="https://ims..example.com"), NOT_A_URL),
    "an endpoint with a part of 64 characters": (
        endpoints(ims=f"https://{'h' * 64}.example.com"),
        NOT_A_URL,
    ),
    "an endpoint with a part that ends in a dash": (
        endpoints(ims="https://ims-.example.com"),
        NOT_A_URL,
    ),
    "an endpoint whose host has 254 characters": (
        endpoints(ims=f"https://{'h.' * 126}ab"),
        NOT_A_URL,
    ),
    "an endpoint by an address that is none": (endpoints(ims="https://300.1.1.1"), NOT_A_URL),
    "an endpoint by an address with a zero too many": (
        endpoints(ims="https://127.0.0.01"),
        NOT_A_URL,
    ),
    "an endpoint by half an address": (endpoints(ims="https://127.1"), NOT_A_URL),
    "an endpoint by a number": (endpoints(ims="https://2130706433"), NOT_A_URL),
    "an endpoint by a hexadecimal address": (endpoints(ims="https://0x7f000001"), NOT_A_URL),
    "an endpoint by an IPv6 address that is none": (endpoints(ims="https://[:::]"), NOT_A_URL),
    "an endpoint with two lines": (endpoints(ims=f"{IMS}\nX: y"), NOT_A_URL),
    "a timeout below the least": (
        {"timeout": "29s"},
        f'spec.timeout: Invalid value: "29s": {NOT_A_TIMEOUT}',
    ),
    "a timeout above the most": ({"timeout": "24h1s"}, NOT_A_TIMEOUT),
    "a timeout without a unit": ({"timeout": "600"}, NOT_A_TIMEOUT),
    "a timeout in days": ({"timeout": "1d"}, NOT_A_TIMEOUT),
    "a negative timeout": ({"timeout": "-10m"}, NOT_A_TIMEOUT),
    "a timeout with a space": ({"timeout": "10 m"}, NOT_A_TIMEOUT),
    "a timeout of 33 characters": ({"timeout": "1h" * 16 + "s"}, "may not be more than 32 bytes"),
    "an empty timeout": ({"timeout": ""}, NOT_A_TIMEOUT),
    "a timeout as number": ({"timeout": 600}, "spec.timeout in body must be of type string"),
    "a word instead of a switch": ({"suspend": "yes"}, "spec.suspend in body must be of type bool"),
    "an interval below the least": (
        {"interval": "59s"},
        f'spec.interval: Invalid value: "59s": {NOT_AN_INTERVAL}',
    ),
    "an interval above the most": ({"interval": "25h"}, NOT_AN_INTERVAL),
    "an interval without a unit": ({"interval": "3600"}, NOT_AN_INTERVAL),
    "another zero interval": ({"interval": "0h"}, NOT_AN_INTERVAL),
    "another deletion policy": (
        {"deletionPolicy": "Delete"},
        'supported values: "Retain", "Reject"',
    ),
    "a field that does not exist": ({"retries": 3}, 'unknown field "spec.retries"'),
    "a field in another spelling": ({"projectId": PROJECT}, 'unknown field "spec.projectId"'),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_spec_is_refused(control_plane: ControlPlane, changes: Json, words: str) -> None:
    answer = ask(control_plane, document(**changes))

    assert answer.status_code in (400, 422)
    assert same_wording(words) in same_wording(answer.json()["message"])


ACCEPTED: dict[str, Json] = {
    "openstack": openstack(),
    "openstack with all fields": openstack(
        authURL="https://cloud.example.com:5000/v3/",
        region="RegionOne",
        interface="internal",
        imageEndpoint="https://[2001:db8::1]:9292/image/v2",
    ),
    "openstack with a UUID with dashes": openstack() | {"projectID": UUID_PROJECT},
    "the least": {},
    "all fields": {
        "decision": "Accept",
        "vaultID": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "timeout": "1h30m",
        "suspend": True,
    },
    "the other region": {"region": "eu-nl"},
    "a rejection": {"decision": "Reject"},
    "no looks for drift": {"interval": "0s"},
    "the shortest interval": {"interval": "1m"},
    "rejection at the end": {"deletionPolicy": "Reject"},
    "500 images": {"images": IMAGES[:500]},
    "the least of a selector": selecting(),
    "all fields of a selector": selecting(
        {"owner": OWNER, "name": "ubuntu-24.04-*", "osType": "Linux", "fullServer": True},
        {"owner": IMAGE},
        vaultID="vault-1",
        policy={
            "groupBy": "^(.+)-[0-9]{8}$",
            "newest": 3,
            "minAge": "24h",
            "exclude": [IMAGE],
            "limit": 500,
        },
        removalPolicy="Reject",
        dryRun=True,
    ),
    "16 terms": selecting(*[{"owner": OWNER}] * 16),
    "500 images to exclude": selecting(policy={"exclude": IMAGES[:500]}),
    "a name of 128 characters": selecting({"owner": OWNER, "name": "é" * 128}),
    "full-server images to reject": selecting(
        {"owner": OWNER, "fullServer": True}, decision="Reject"
    ),
    "brackets and escapes that are no groups": selecting(
        policy={"groupBy": r"^\((?:[(]|[^](]){2}(?i:a)(b)??$"}
    ),
    "a named capture group": selecting(policy={"groupBy": "^(?P<os>.+)-[0-9]{8}$"}),
    "a vault ID that is no UUID, as the documents show": {"vaultID": "vault-quota_1"},
    "a vault ID of 64 characters": {"vaultID": "v" * 64},
    "a Secret name with dots": secret("otc.eu-de.team-1"),
    "a Secret name of 253 characters": secret("s" * 253),
    "a ServiceAccount": account(),
    "a ServiceAccount and an agency": {**account(), **agency()},
    "a ServiceAccount with the longest values": account(
        name="s" * 253, identityProvider="P_-9" * 16, audience="https://a/" * 25
    ),
    "an agency of an account by name": agency(name="Image sharing (v2)"),
    "an agency of an account by ID": agency(domainName=ABSENT, domainID=PROJECT),
    "an agency and an account of 64 characters": agency(name="g" * 64, domainName="a" * 64),
    "endpoints of another place": endpoints(),
    "endpoints with ports": endpoints(iam=f"{IAM}:443", ims=f"{IMS}:65535"),
    "endpoints with a slash at the end": endpoints(iam=f"{IAM}/", ims=f"{IMS}:8443/"),
    "endpoints by address, without TLS": endpoints(
        iam="http://127.0.0.1:5000", ims="http://[::1]:9292"
    ),
    "an endpoint with the longest host": endpoints(ims=f"https://{'h.' * 126}a"),
    "an endpoint with the longest part": endpoints(ims=f"https://{'h' * 63}.example.com"),
    "an endpoint with digits and dashes": endpoints(ims="https://1-2.3--4.xn--mnchen-3ya.de-1"),
    "an endpoint of one word": endpoints(ims="https://ims:8443"),
    "endpoints by the greatest and the least address": endpoints(
        iam="https://255.255.255.255", ims="https://0.0.0.0:1"
    ),
    "the shortest timeout": {"timeout": "30s"},
    "the longest timeout": {"timeout": "24h"},
    "a timeout with a fraction": {"timeout": "1.5h"},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_spec_is_accepted(control_plane: ControlPlane, changes: Json) -> None:
    answer = ask(control_plane, document(**changes))

    assert answer.status_code == 201, answer.json()["message"]


def test_invalid_regular_expression_is_refused_with_the_cause(
    control_plane: ControlPlane,
) -> None:
    answer = ask(control_plane, document(**selecting(policy={"groupBy": "^(.+-[0-9]{8}$"})))

    assert answer.status_code == 422
    assert (
        'spec.imageSelectionPolicy.groupBy: Invalid value: "string": error parsing regexp: missing '
        "closing ): `^(.+-[0-9]{8}$` evaluating rule: must be a regular expression in RE2 syntax"
        in answer.json()["message"]
    )


def test_spec_is_required(control_plane: ControlPlane) -> None:
    body = document()
    del body["spec"]

    answer = ask(control_plane, body)

    assert "spec: Required value" in answer.json()["message"]


def test_spec_gets_its_defaults(control_plane: ControlPlane) -> None:
    answer = ask(control_plane, document())

    assert answer.json()["spec"] == {
        "region": "eu-de",
        "projectID": PROJECT,
        "images": [IMAGE],
        "decision": "Accept",
        "credentialsSecretRef": {"name": "otc-credentials"},
        "timeout": "10m",
        "interval": "1h",
        "deletionPolicy": "Retain",
        "suspend": False,
        "removalPolicy": "Retain",
        "dryRun": False,
    }


def test_selector_gets_defaults_outside_of_its_terms(control_plane: ControlPlane) -> None:
    """Tools that compare lists as a whole would report a default inside them as a difference."""
    answer = ask(control_plane, document(**selecting(policy={})))

    spec = answer.json()["spec"]
    assert spec["imageSelectorTerms"] == [{"owner": OWNER}]
    assert spec["imageSelectionPolicy"] == {"minAge": "0s", "limit": 100}


def test_list_can_become_a_selector_and_a_list_again(
    control_plane: ControlPlane, namespace: str
) -> None:
    made = create(control_plane, namespace)
    terms, policy = [{"owner": OWNER}], {"newest": 1}

    to_selector = patch_spec(
        control_plane, made, images=None, imageSelectorTerms=terms, imageSelectionPolicy=policy
    )
    to_list = patch_spec(
        control_plane, made, images=[IMAGE], imageSelectorTerms=None, imageSelectionPolicy=None
    )

    assert to_selector.json()["metadata"]["generation"] == 2
    assert to_list.json()["metadata"]["generation"] == 3


def test_applied_list_can_become_an_applied_selector(
    control_plane: ControlPlane, namespace: str
) -> None:
    metadata = {"name": "one", "namespace": namespace}
    control_plane.apply(document() | {"metadata": metadata})

    control_plane.apply(document(**selecting()) | {"metadata": metadata})

    spec = read(control_plane, {"metadata": metadata})["spec"]
    assert "images" not in spec
    assert spec["imageSelectorTerms"] == [{"owner": OWNER}]


@pytest.mark.parametrize("name", ["accept", "reject", "golden-images", "openstack"])
def test_sample_is_accepted_without_its_placeholders(
    control_plane: ControlPlane, name: str
) -> None:
    text = (DEPLOY / f"samples/{name}.yaml").read_text()
    filled = text.replace('"PROJECT-ID"', PROJECT).replace('"OWNER-ID"', OWNER)
    filled = filled.replace("AUTH-URL", "https://cloud.example.com/identity")
    for number in (1, 2):
        filled = filled.replace(f'"IMAGE-ID-{number}"', IMAGES[number])

    assert ask(control_plane, yaml.safe_load(text)).status_code == 422
    assert ask(control_plane, yaml.safe_load(filled)).status_code == 201


def test_project_is_immutable(control_plane: ControlPlane, namespace: str) -> None:
    made = create(control_plane, namespace)

    answer = patch_spec(control_plane, made, projectID=OTHER_PROJECT)

    assert answer.status_code == 422
    assert (
        "spec.projectID: Forbidden: field is immutable; create another ImageShareAcceptance for "
        "the other project" in answer.json()["message"]
    )


CHANGES: dict[str, Json] = {
    "the images": {"images": IMAGES[:2]},
    "the decision": {"decision": "Reject"},
    "the Secret": secret("another"),
    "the agency": agency(),
    "the Secret to a ServiceAccount": {"credentialsSecretRef": None, "serviceAccount": ACCOUNT},
    "the place": {"region": None, "endpoints": {"iam": IAM, "ims": IMS}},
    "the timeout": {"timeout": "1h"},
    "the switch": {"suspend": True},
    "the removal policy": {"removalPolicy": "Reject"},
    "the dry run": {"dryRun": True},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_change_makes_a_new_generation(
    control_plane: ControlPlane, namespace: str, changes: Json
) -> None:
    made = create(control_plane, namespace)

    answer = patch_spec(control_plane, made, **changes)

    assert answer.json()["metadata"]["generation"] == 2
