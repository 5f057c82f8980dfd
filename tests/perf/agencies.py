"""What IAM sees of one user who assumes an agency in many projects: counted at the simulator.

`PYTHONPATH=operator:tests:tests/perf .venv/bin/python tests/perf/agencies.py`. Each project has a
resource; all are created at once. The operator, the API server and the cloud are real processes.
"""

import asyncio
import sys
from collections.abc import Sequence

from cluster import Cluster
from figures import Figure, show
from rich.console import Console
from stages import machine

from envtest import ControlPlane
from otc_simulator.client import Simulator

PROJECTS = 1_000
MOST_PER_S = 20
MOST_SEEN = 22
"""Starts are 50 ms apart; requests take different times, so more may arrive in some second."""
LOGIN = "POST /v3/auth/tokens"
ACCOUNT, AGENCY = "customer", "image-sharing"
AGENT, PASSWORD = "agent", "password-of-the-agent"


def figures(projects: int = PROJECTS) -> list[Figure]:
    """The table."""
    with machine() as (control_plane, cloud, (operator,)):
        operator.start()
        try:
            asyncio.run(_assume(control_plane, cloud, projects))
        finally:
            operator.terminate()
        rows = cloud.journal(LOGIN)
        failed = int(cloud.counters()["logins_failed"])
    times = sorted(row["at_monotonic_s"] for row in rows)
    agency = sum(row["project"] is not None for row in rows)
    name = f"agency of {projects} projects"
    return [
        Figure(f"{name}: base logins", len(rows) - agency, target=("=", 1)),
        Figure(f"{name}: agency tokens", agency, target=("=", projects)),
        Figure(f"{name}: rejected logins", failed, target=("=", 0)),
        Figure(f"{name}: logins, on average", _average(times), "/s", ("<=", MOST_PER_S)),
        Figure(f"{name}: logins, in the busiest second", _busiest(times), "/s", ("<=", MOST_SEEN)),
    ]


async def _assume(control_plane: ControlPlane, cloud: Simulator, projects: int) -> None:
    cloud.add_agency(AGENCY, ACCOUNT)
    cloud.add_user(AGENT, PASSWORD, agent_operator=True)
    rows = [{"name": f"eu-de_{number}"} for number in range(projects)]
    (account,) = cloud.seed(accounts=[{"name": ACCOUNT, "projects": rows}])["accounts"]
    ids = [str(project["id"]) for project in account["projects"]]
    login = {"username": AGENT, "password": PASSWORD, "domainName": cloud.domain}
    async with Cluster(control_plane, cloud) as cluster:
        agency = {"name": AGENCY, "domainName": ACCOUNT}
        await cluster.run_in(ids, login, agency=agency)


def _average(times: Sequence[float]) -> float:
    """Logins per second, from the first to the last one."""
    return (len(times) - 1) / (times[-1] - times[0])


def _busiest(times: Sequence[float]) -> int:
    """The most logins in any second."""
    return max(sum(begin <= at < begin + 1 for at in times) for begin in times)


if __name__ == "__main__":
    found = figures()
    show(Console(highlight=False), found)
    sys.exit(0 if all(figure.met for figure in found) else 1)
