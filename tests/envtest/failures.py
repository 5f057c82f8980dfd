"""What can go wrong with the local control plane."""


class ControlPlaneError(Exception):
    """The control plane can't be built or started; the message holds the end of the log."""


class KubectlError(ControlPlaneError):
    """kubectl returned anything but 0.

    Attributes:
        stderr: what it said.
    """

    def __init__(self, command: str, stderr: str) -> None:
        super().__init__(f"kubectl {command}: {stderr.strip()}")
        self.stderr = stderr
