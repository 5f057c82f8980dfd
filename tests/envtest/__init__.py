"""A local Kubernetes control plane for tests and demos: etcd and kube-apiserver, no nodes.

No controllers run: a deleted namespace stays Terminating, and nothing is garbage collected.
"""

from envtest.control_plane import ControlPlane
from envtest.failures import ControlPlaneError, KubectlError

__all__ = ["ControlPlane", "ControlPlaneError", "KubectlError"]
