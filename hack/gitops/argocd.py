"""docs/argocd.md against application-controller, repo-server and argocd-server."""

import contextlib
import json
import time
from functools import partial

import httpx
import yaml

from envtest import ROOT
from gitops.git import Repositories
from gitops.setup import PASSWORD, Resources, Setup, StepFailedError, Team, expect, step, until
from real_cluster.cloud import SimulatorPod
from real_cluster.cluster import Cluster, Json, KubectlFailedError
from real_cluster.release import CRD, image_values

ARGOCD = "argocd"
APPLICATIONS = f"/apis/argoproj.io/v1alpha1/namespaces/{ARGOCD}/applications"
FILES = ROOT / "deploy/argocd"
CUSTOMIZATIONS = ("argocd-cm.yaml", "argocd-cm-applications.yaml")
SETTLE_S = 10.0
"""Until application-controller has read a changed argocd-cm."""
CLOUD = "image-share-gitops-cloud"
"""Namespace of the simulated cloud."""
OPERATOR_NAMESPACE = "image-share-system"
TEAM_NAMESPACE = "team"
"""The namespaces of application.yaml."""
OPERATOR, SHARES, PARENT = "image-share-operator", "image-shares", "parent"
HEALTHY = "Healthy"


def argocd(setup: Setup) -> None:
    cluster = setup.cluster
    argo = Argo(cluster)
    setup.stack.callback(remove, argo)
    cluster.create_namespace(CLOUD, restricted=True)
    sim = setup.stack.enter_context(SimulatorPod(cluster, CLOUD, setup.image))
    repositories = Repositories(setup.directory, setup.address)
    setup.stack.callback(repositories.close)
    run = Run(setup, argo, repositories, Team(sim))
    run.customize()
    run.install()
    run.self_heal()
    run.wait_for_share()
    run.wrong_password()
    run.suspend()
    if setup.server:
        run.actions()
    run.prune()
    run.delete_parent()


class Argo:
    """The Applications, as the application-controller reports them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def find(self, name: str) -> Json | None:
        return self.cluster.find(f"{APPLICATIONS}/{name}")

    def wait(self, name: str, health: str) -> None:
        """Wait until an Application is Synced and has this health.

        Raises:
            StepFailedError: it has another state; the message has what the controller says.
        """

        def reached() -> bool:
            self.refresh(name)
            status = (self.find(name) or {}).get("status", {})
            found = status.get("sync", {}).get("status"), status.get("health", {}).get("status")
            return found == ("Synced", health)

        try:
            until(reached)
        except TimeoutError as exc:
            status = (self.find(name) or {}).get("status", {})
            told = {key: status.get(key) for key in ("sync", "health", "conditions")}
            raise StepFailedError(f"{name} is not {health}: {json.dumps(told)}") from exc

    def refresh(self, name: str) -> None:
        """Compare with Git now, as a webhook does."""
        refresh = "argocd.argoproj.io/refresh=normal"
        with contextlib.suppress(KubectlFailedError):  # the Application may not exist yet
            self.cluster.kubectl(
                "annotate", "application", name, "-n", ARGOCD, "--overwrite", refresh
            )

    def delete(self, name: str) -> None:
        """Delete an Application with all that it created."""
        self.cluster.kubectl("delete", "application", name, "-n", ARGOCD, "--timeout=240s")


class Run:
    """The steps, in their order."""

    def __init__(self, setup: Setup, argo: Argo, repositories: Repositories, team: Team) -> None:
        self._cluster = setup.cluster
        self._image = setup.image
        self._server = setup.server
        self._argo = argo
        self._repositories = repositories
        self._team = team
        self._resources = Resources(setup.cluster, TEAM_NAMESPACE)
        self._first = team.image()
        self._rejected = team.image()
        self._unshared = team.image(shared=False)
        team.add("first", self._first)
        team.add("rejected-on-delete", self._rejected, deletionPolicy="Reject")

    def customize(self) -> None:
        with step("kubectl patch argocd-cm with both files"):
            for name in CUSTOMIZATIONS:
                file = f"--patch-file={FILES / name}"
                where = ("configmap", "argocd-cm", "-n", ARGOCD)
                self._cluster.kubectl("patch", *where, "--type=merge", file)
            time.sleep(SETTLE_S)

    def install(self) -> None:
        with step("a parent Application installs the operator, then the resources"):
            objects = json.dumps(self._parent())
            self._cluster.kubectl("apply", "--filename=-", stdin=objects)
            for name in (OPERATOR, SHARES, PARENT):
                self._argo.wait(name, HEALTHY)
            shares = self._cluster.get(f"{APPLICATIONS}/{SHARES}")
            created = shares["metadata"]["creationTimestamp"]
            since = self._available_since()
            if created < since:
                raise StepFailedError(f"{SHARES}: {created}, before the operator: {since}")
            expect(self._team.membership(self._first), "accepted")

    def self_heal(self) -> None:
        with step("self-heal restores spec.decision after kubectl patch"):
            self._resources.set_decision("first", "Reject")
            until(lambda: self._resources.decision("first") == "Accept")
            self._argo.wait(SHARES, HEALTHY)
            until(lambda: self._team.membership(self._first) == "accepted")

    def wait_for_share(self) -> None:
        with step("image not shared: Progressing; after the share: Healthy"):
            self._team.add("unshared", self._unshared)
            self._push()
            self._argo.wait(SHARES, "Progressing")
            self._team.sim.share(self._unshared, self._team.project)
            self._resources.reconcile("unshared")
            self._argo.wait(SHARES, HEALTHY)

    def wrong_password(self) -> None:
        with step("wrong password: Degraded; after the correction: Healthy"):
            self._team.set_password("wrong")
            self._team.edit("first", images=[self._first, self._team.image()])
            self._push()
            self._argo.wait(SHARES, "Degraded")
            self._team.set_password(PASSWORD)
            self._push()
            self._argo.wait(SHARES, HEALTHY)

    def suspend(self) -> None:
        with step("spec.suspend true in Git: Suspended; false in Git: Healthy"):
            self._team.edit("unshared", suspend=True)
            self._push()
            self._argo.wait(SHARES, "Suspended")
            self._team.edit("unshared", suspend=False)
            self._push()
            self._argo.wait(SHARES, HEALTHY)

    def actions(self) -> None:
        with step("actions suspend, resume and reconcile through argocd-server"):
            self._act("first", "suspend")
            self._argo.wait(SHARES, "Suspended")
            self._act("first", "resume")
            self._argo.wait(SHARES, HEALTHY)
            before = self._resources.handled("first")
            self._act("first", "reconcile")
            until(lambda: self._resources.handled("first") != before)

    def prune(self) -> None:
        with step("removed from Git: pruned, and its share is rejected first"):
            self._team.remove("rejected-on-delete")
            self._push()
            until(lambda: self._resources.find("rejected-on-delete") is None)
            expect(self._team.membership(self._rejected), "rejected")

    def delete_parent(self) -> None:
        with step("deletion of the parent: resources first, then the operator; the CRD stays"):
            self._team.add("rejected-on-delete", self._rejected, deletionPolicy="Reject")
            self._push()
            until(lambda: self._team.membership(self._rejected) == "accepted")
            self._argo.wait(SHARES, HEALTHY)
            self._argo.delete(PARENT)
            until(lambda: self._argo.find(OPERATOR) is None)
            expect(self._argo.find(SHARES), None)
            expect(self._team.membership(self._rejected), "rejected")
            expect(self._cluster.find(CRD) is not None, expected=True)

    def _push(self) -> None:
        self._repositories.push("team", "production", self._team.files)
        self._argo.refresh(SHARES)

    def _parent(self) -> Json:
        """The parent of the Applications in application.yaml, which get addresses that exist."""
        operator, shares = yaml.safe_load_all((FILES / "application.yaml").read_text())
        source = operator["spec"]["source"]
        source["repoURL"] = self._repositories.mirror("operator", ROOT)
        source["helm"]["valuesObject"] |= {
            "image": image_values(self._image),
            "settings": {"allowInsecureEndpoints": True, "secretPollSeconds": 2},
        }
        team = self._repositories.push("team", "production", self._team.files)
        shares["spec"]["source"]["repoURL"] = team
        apps = self._repositories.push("parent", "apps", {"all.yaml": [operator, shares]})
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {
                "name": PARENT,
                "namespace": ARGOCD,
                "finalizers": ["resources-finalizer.argocd.argoproj.io"],
            },
            "spec": {
                "project": "default",
                "source": {"repoURL": apps, "targetRevision": "main", "path": "apps"},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": ARGOCD},
                "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
            },
        }

    def _available_since(self) -> str:
        path = f"/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/{OPERATOR}"
        rows = self._cluster.get(path)["status"]["conditions"]
        (available,) = (row for row in rows if row["type"] == "Available")
        return str(available["lastTransitionTime"])

    def _act(self, name: str, action: str) -> None:
        """Run an action of a resource, as the menu of the UI does."""
        body = {
            "name": SHARES,
            "namespace": TEAM_NAMESPACE,
            "resourceName": name,
            "group": "ims.otc.dev",
            "version": "v1alpha1",
            "kind": "ImageShareAcceptance",
            "action": action,
        }
        path = f"/api/v1/applications/{SHARES}/resource/actions/v2"
        httpx.post(f"{self._server}{path}", json=body, trust_env=False).raise_for_status()


def remove(argo: Argo) -> None:
    """Remove the Applications with their objects, the keys of argocd-cm, CRD and namespaces."""
    cluster = argo.cluster
    for name in (PARENT, SHARES, OPERATOR):
        if argo.find(name):
            argo.delete(name)
    texts = [(FILES / name).read_text() for name in CUSTOMIZATIONS]
    keys = {key: None for text in texts for key in yaml.safe_load(text)["data"]}
    patch = f"--patch={json.dumps({'data': keys})}"
    cluster.kubectl("patch", "configmap", "argocd-cm", "-n", ARGOCD, "--type=merge", patch)
    namespaces = [
        f"/api/v1/namespaces/{name}" for name in (TEAM_NAMESPACE, OPERATOR_NAMESPACE, CLOUD)
    ]
    for path in (CRD, *namespaces):
        cluster.http.delete(path)
        until(partial(_is_deleted, cluster, path))


def _is_deleted(cluster: Cluster, path: str) -> bool:
    return cluster.find(path) is None
