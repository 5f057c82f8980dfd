"""Prints `deploy/argocd/argocd-cm.yaml` from the Lua files beside it; `--write` writes it.

python -m argocd.config_map --write
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from argocd.scripts import ARGOCD, DISCOVERY, HEALTH, action

TARGET = ARGOCD / "argocd-cm.yaml"
NAMES = ("reconcile", "suspend", "resume")
KEY = "resource.customizations.{what}.ims.otc.dev_ImageShareAcceptance"
HEAD = """\
# Health check and actions of ImageShareAcceptance, for an Argo CD that does not include them.
# The patch adds two keys to argocd-cm and does not change other keys:
#
#   kubectl patch configmap argocd-cm -n argocd --type merge --patch-file argocd-cm.yaml
#
# Generated from resource_customizations/. Edit the Lua files there.
"""


class _Literal(yaml.SafeDumper):
    """Writes text of several lines as it stands."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Literal.add_representer(str, _text)


def rendered() -> str:
    """The text of the file."""
    actions = {
        "discovery.lua": DISCOVERY,
        "definitions": [{"name": name, "action.lua": action(name)} for name in NAMES],
    }
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "namespace": "argocd"},
        "data": {KEY.format(what="health"): HEALTH, KEY.format(what="actions"): _dump(actions)},
    }
    return HEAD + _dump(config_map)


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Literal, sort_keys=False, width=100)


def main(target: Path = TARGET) -> None:
    """Write the file, or print it."""
    if "--write" in sys.argv[1:]:
        target.write_text(rendered())
    else:
        sys.stdout.write(rendered())


if __name__ == "__main__":
    main()
