"""The cause of a denial, from the messages of a real API server of Kubernetes 1.36."""

import json

import pytest

from image_share_operator.kube.denials import MAX_TEXT_CHARS, explain

ALLOW = (
    "change this policy so that it allows updates that do not change the spec, as "
    "deploy/samples/allowed-endpoints.yaml does"
)
POLICY = (
    "ValidatingAdmissionPolicy 'image-share-endpoints' with binding 'image-share-endpoints' "
    "denied request: spec.endpoints is not allowed; set spec.region instead"
)
NAME = 'imageshareacceptances.ims.otc.dev "web" is '
ACCOUNT = "system:serviceaccount:image-share-system:image-share-operator"
CASES = {
    "RBAC": (
        403,
        (
            f'{NAME}forbidden: User "{ACCOUNT}" cannot patch resource "imageshareacceptances" '
            'in API group "ims.otc.dev" in the namespace "demo"'
        ),
        "the operator's ServiceAccount lacks this permission; grant it as the chart does",
    ),
    "a policy": (403, f"{NAME}forbidden: {POLICY}", f"{POLICY}; {ALLOW}"),
    "a policy with the reason Invalid": (422, f"{NAME}invalid: : {POLICY}", f"{POLICY}; {ALLOW}"),
    "Gatekeeper": (
        403,
        'admission webhook "validation.gatekeeper.sh" denied the request: [regions] eu-xx',
        (
            'admission webhook "validation.gatekeeper.sh" denied the request: [regions] eu-xx; '
            f"{ALLOW}"
        ),
    ),
    "Kyverno": (
        400,
        (
            'admission webhook "validate.kyverno.svc-fail" denied the request: \n\nresource X was '
            "blocked due to the following policies \n\nregions:\n  known: 'no'\n"
        ),
        (
            'admission webhook "validate.kyverno.svc-fail" denied the request: resource X was '
            f"blocked due to the following policies regions: known: 'no'; {ALLOW}"
        ),
    ),
    "a quota": (
        403,
        (
            'leases.coordination.k8s.io "a" is forbidden: exceeded quota: objects, requested: '
            "count/leases.coordination.k8s.io=1, used: count/leases.coordination.k8s.io=0, "
            "limited: count/leases.coordination.k8s.io=0"
        ),
        "exceeded quota: objects; increase this ResourceQuota or delete objects",
    ),
    "another admission plugin": (
        403,
        "namespaces are frozen today",
        "namespaces are frozen today; change what forbids this request",
    ),
    "a bad request": (400, "Invalid value", None),
}


@pytest.mark.parametrize(("status", "message", "cause"), CASES.values(), ids=CASES.keys())
def test_denial_names_its_cause(status: int, message: str, cause: str | None) -> None:
    body = {"kind": "Status", "reason": "Forbidden", "message": message, "code": status}

    assert explain(status, json.dumps(body).encode()) == cause


def test_denial_names_a_namespace_that_is_being_deleted() -> None:
    message = 'events "a" is forbidden: unable to create new content in namespace demo'
    causes = [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]
    body = {"kind": "Status", "message": message, "details": {"causes": causes}}

    cause = explain(403, json.dumps(body))

    assert cause == "the namespace is being deleted and takes no new objects"


@pytest.mark.parametrize(
    "body",
    [None, b"", b"<html>blocked</html>", b"[]", b'{"message": 1}', b"\xff", b'{"details": []}'],
)
def test_response_of_a_proxy_is_not_taken_for_rbac(body: bytes | None) -> None:
    cause = explain(403, body)

    assert cause is not None
    assert "check the proxy" in cause


def test_text_of_a_policy_is_cleaned_and_cut() -> None:
    text = f'admission webhook "w" denied the request: \x1b[2J{"x" * 5000}'

    cause = explain(403, json.dumps({"kind": "Status", "message": text}))

    assert cause is not None
    assert cause.isprintable()
    assert len(cause) < MAX_TEXT_CHARS + 200
