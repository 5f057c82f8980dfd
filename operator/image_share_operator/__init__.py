"""A Kubernetes operator that accepts or rejects Open Telekom Cloud image shares."""

__version__ = "0.1.0"
