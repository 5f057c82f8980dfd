"""What the tests of an API server that fails share: paths, refusals, and calls over time."""

from itertools import pairwise

from e2e.live.world import World
from envtest import eventually, proxy
from envtest.proxy import Call, FaultyProxy

RESOURCES = "*/imageshareacceptances"
CRDS = "*/customresourcedefinitions"
STATUS = "*/imageshareacceptances/*/status"
OBJECT = "*/imageshareacceptances/web"
SECRET = "*/secrets/*"
FIRST_PAGE = "limit=100"
"""In the query of the watch's own list; the check whether all is known asks for one object."""
REQUEST_TIMEOUT_S = 2.0
INVALID = {"reason": "FieldValueInvalid", "message": "Invalid value", "field": "status.job"}
CONFLICT = proxy.refusal(409, "Conflict", "the object has been modified; please apply again")


def start(world: World, faulty: FaultyProxy) -> None:
    """Start the operator and wait until it watches."""
    world.operator.start()
    eventually(lambda: faulty.open_watches(RESOURCES) or None)


def gaps(calls: list[Call]) -> list[float]:
    """Seconds from each call to the next."""
    return [later.at - earlier.at for earlier, later in pairwise(calls)]
