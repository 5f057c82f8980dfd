"""The scripts of `deploy/argocd` and what they say of an object."""

from pathlib import Path
from typing import Any

from argocd import sandbox
from argocd.kstatus import Kstatus

ARGOCD = Path(__file__).parents[2] / "deploy/argocd"
KIND = ARGOCD / "resource_customizations/ims.otc.dev/ImageShareAcceptance"
TESTDATA = KIND / "testdata"
ACTIONS = KIND / "actions"
HEALTH = (KIND / "health.lua").read_text()
DISCOVERY = (ACTIONS / "discovery.lua").read_text()

Json = dict[str, Any]

AGREEING = {
    "Healthy": {Kstatus.CURRENT},
    "Progressing": {Kstatus.IN_PROGRESS, Kstatus.TERMINATING},
    "Degraded": {Kstatus.FAILED},
    # kstatus has no word for it: it sees what was last known, whatever that was.
    "Suspended": {Kstatus.CURRENT, Kstatus.IN_PROGRESS},
}
"""Health of Argo CD, and what kstatus may say of the same object."""


def verdict(obj: Json) -> str:
    """The health status of Argo CD."""
    return sandbox.health(HEALTH, obj)["status"]


def action(name: str) -> str:
    """The script of an action."""
    return (ACTIONS / name / "action.lua").read_text()
