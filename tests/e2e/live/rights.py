"""The operator's rights as the API server sees them: taken away for a while, waited for."""

from collections.abc import Iterator
from contextlib import contextmanager

from envtest import ACCOUNT, SYSTEM, ControlPlane, eventually

RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
PROOF = {
    "ClusterRoleBinding": {
        "verb": "list",
        "group": "ims.otc.dev",
        "resource": "imageshareacceptances",
    },
    "RoleBinding": {"verb": "get", "group": "coordination.k8s.io", "resource": "leases"},
}
"""A right that each binding grants, and no other."""


def granted(control_plane: ControlPlane, kind: str, namespace: str) -> bool:
    """Whether the API server knows that the binding is there; it lags behind writes."""
    attributes = {**PROOF[kind], "namespace": namespace}
    review = {"spec": {"user": USER, "resourceAttributes": attributes}}
    answer = control_plane.http.post(REVIEWS, json=review).raise_for_status()
    return bool(answer.json()["status"]["allowed"])


@contextmanager
def without_binding(control_plane: ControlPlane, kind: str, namespace: str = "") -> Iterator[None]:
    """Take the operator's binding away; put it back at the end."""
    where = f"/namespaces/{namespace}" if namespace else ""
    collection = f"{RBAC}{where}/{kind.lower()}s"
    http = control_plane.http
    binding = http.get(f"{collection}/{ACCOUNT}").raise_for_status().json()
    http.delete(f"{collection}/{ACCOUNT}").raise_for_status()
    try:
        eventually(lambda: None if granted(control_plane, kind, namespace) else True)
        yield
    finally:
        del binding["metadata"]["resourceVersion"]
        http.post(collection, json=binding).raise_for_status()
        eventually(lambda: granted(control_plane, kind, namespace) or None)
