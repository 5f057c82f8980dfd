"""Objects as manifests have them, and whether the API server has them too."""

from collections.abc import Sequence

from chart.programs import Json
from envtest import ControlPlane


def of_kind(documents: Sequence[Json], kind: str) -> list[Json]:
    return [document for document in documents if document["kind"] == kind]


def the(documents: Sequence[Json], kind: str) -> Json:
    """The only object of its kind."""
    found = of_kind(documents, kind)
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]


def pod_of(documents: Sequence[Json]) -> Json:
    """The pod template of the Deployment."""
    template: Json = the(documents, "Deployment")["spec"]["template"]
    return template


def environment(documents: Sequence[Json]) -> dict[str, str]:
    """The environment of the operator, as far as the values are in the manifest itself."""
    rows = pod_of(documents)["spec"]["containers"][0]["env"]
    return {row["name"]: row["value"] for row in rows if "value" in row}


def exists(control_plane: ControlPlane, document: Json) -> bool:
    answer = control_plane.http.get(object_path(document))
    assert answer.status_code in (200, 404), answer.text
    return answer.status_code == 200


def object_path(document: Json) -> str:
    """The object's address; English is regular enough for the kinds of the chart."""
    version, metadata = document["apiVersion"], document["metadata"]
    kind = document["kind"].lower()
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{where}/{plural}/{metadata['name']}"
