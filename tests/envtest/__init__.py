"""Processes of tests and demos: a local Kubernetes control plane, and the operator.

The control plane is etcd and kube-apiserver without nodes. No controllers run: a deleted namespace
stays Terminating, and nothing is garbage collected.
"""

from envtest.control_plane import ControlPlane
from envtest.failures import ControlPlaneError, KubectlError
from envtest.operator_process import ACCOUNT, ROOT, SYSTEM, FreshOperator, Operator, install_rights
from envtest.processes import eventually

__all__ = [
    "ACCOUNT",
    "ROOT",
    "SYSTEM",
    "ControlPlane",
    "ControlPlaneError",
    "FreshOperator",
    "KubectlError",
    "Operator",
    "eventually",
    "install_rights",
]
