"""Runs the documented set-up against the real controllers of Argo CD or Flux.

    make gitops-test TOOL=argocd IMAGE=REPOSITORY:TAG ADDRESS=172.18.0.1

KUBECONFIG names a cluster in which application-controller and repo-server of Argo CD run, or
kustomize-controller of Flux, with or without helm-controller. The script serves the Git
repositories (Argo CD) or the artifacts (Flux, in place of source-controller) on ADDRESS, an address
of this machine that the controllers reach: for kind and k3d, the gateway of the Docker network.
SERVER is the URL of an argocd-server without login; without it, the actions are skipped. What the
script creates, it removes, also after a failure.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from chart.programs import PROGRAMS
from envtest import binaries
from gitops.argocd import argocd
from gitops.flux import flux
from gitops.setup import Setup
from real_cluster.cluster import Cluster
from real_cluster.release import CRD

TOOLS = {"argocd": argocd, "flux": flux}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gitops", description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--image", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--server", default="")
    arguments = parser.parse_args()
    if not os.environ.get("KUBECONFIG"):
        sys.exit("error: set KUBECONFIG")
    binaries.directory(*PROGRAMS)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        cluster = Cluster(Path(name))
        stack.callback(cluster.close)
        if cluster.find(CRD):
            sys.exit("error: the cluster has the CRD of the operator already; use another cluster")
        setup = Setup(
            cluster=cluster,
            directory=Path(name),
            image=arguments.image,
            address=arguments.address,
            server=arguments.server,
            stack=stack,
        )
        print(f"Kubernetes {cluster.version()}, {arguments.tool}, image {arguments.image}")
        TOOLS[arguments.tool](setup)


if __name__ == "__main__":
    main()
