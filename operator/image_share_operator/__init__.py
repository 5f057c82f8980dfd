"""A Kubernetes operator that answers Open Telekom Cloud image shares."""

__version__ = "0.1.0"
