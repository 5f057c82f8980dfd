"""Argo CD's side of the API server: server-side apply, and the diff by a dry run of it.

Source: gitops-engine, pkg/diff/diff.go, `serverSideDiff`; and docs/user-guide/diff-strategies.md.
"""

from typing import Any

from argocd import merge_patch
from e2e.live.world import World
from envtest import eventually

Json = dict[str, Any]

MANAGER = "argocd-controller"
BOOKKEEPING = ("managedFields", "resourceVersion", "generation")
"""Of the metadata; Argo CD leaves the same out of the diff, and the status by its default."""


class Application:
    """One manifest in Git, and the object that Argo CD makes of it."""

    def __init__(self, world: World, manifest: Json) -> None:
        self.manifest = manifest
        self._http = world.control_plane.http
        self._path = f"{world.resources}/{manifest['metadata']['name']}"

    def sync(self) -> Json:
        """Apply as a sync with ServerSideApply=true does; return the object as it is then."""
        return self._apply({})

    def live(self) -> Json:
        body: Json = self._http.get(self._path).raise_for_status().json()
        return body

    def diff(self) -> Json:
        """What a sync would change: a merge patch from the live object to the predicted one."""
        return eventually(self._diff_at_rest)

    def legacy_diff(self) -> Json:
        """What Git holds and the live object holds otherwise: the diff of a client-side apply."""
        live = _compared(self.live())
        return merge_patch.difference(live, merge_patch.applied(live, _compared(self.manifest)))

    def run_action(self, changed: Json) -> Json:
        """Write what an action changed in the live object as Argo CD does: by merge patch."""
        return self._patch(
            merge_patch.difference(self.live(), changed), "application/merge-patch+json", {}
        )

    def _diff_at_rest(self) -> Json | None:
        """``None`` when the object changed meanwhile: Argo CD would look again."""
        live = self.live()
        predicted = self._apply({"dryRun": "All"})
        if self.live()["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
            return None
        return merge_patch.difference(_compared(live), _compared(predicted))

    def _apply(self, more: dict[str, str]) -> Json:
        how = {"fieldManager": MANAGER, "force": "true", **more}
        return self._patch(self.manifest, "application/apply-patch+yaml", how)

    def _patch(self, body: Json, content: str, how: dict[str, str]) -> Json:
        answer = self._http.patch(
            self._path, params=how, headers={"Content-Type": content}, json=body
        )
        stored: Json = answer.raise_for_status().json()
        return stored


def _compared(obj: Json) -> Json:
    """What Argo CD compares of an object."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in BOOKKEEPING}
    rest = {key: value for key, value in obj.items() if key != "status"}
    return {**rest, "metadata": metadata}
