"""The chart with `watchNamespaces`, as Helm installs it for two teams."""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from chart.programs import CHART, RELEASE, Helm, Json
from envtest import ControlPlane

SYSTEM = "shares-of-teams"
TEAMS = ("team-d", "team-e")
VALUES = yaml.safe_dump(
    {
        "image": {"repository": "registry.example.com/isa"},
        "watchNamespaces": list(TEAMS),
        "crds": {"install": False},
        "settings": {"allowInsecureEndpoints": True},
    }
)


@contextmanager
def installed(cluster: Helm, control_plane: ControlPlane) -> Iterator[list[Json]]:
    """Install the release and uninstall it at the end; give its objects."""
    control_plane.apply(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}} for team in TEAMS]
    )
    where = ("--namespace", SYSTEM)
    cluster("install", RELEASE, str(CHART), *where, "--create-namespace", "-f", "-", stdin=VALUES)
    yield list(yaml.safe_load_all(cluster("get", "manifest", RELEASE, *where)))
    cluster("uninstall", RELEASE, *where)
