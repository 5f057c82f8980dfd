"""The names of `envtest` that were here."""

from envtest import ACCOUNT, ROOT, SYSTEM, FreshOperator, Operator, eventually, install_rights

__all__ = [
    "ACCOUNT",
    "ROOT",
    "SYSTEM",
    "FreshOperator",
    "Operator",
    "eventually",
    "install_rights",
]
