"""An operator as it runs in production: nothing insecure is allowed."""

from pathlib import Path

from e2e.live.world import World
from envtest import ControlPlane, Operator
from otc_simulator.client import Simulator


def test_insecure_endpoint_is_refused_by_an_operator_that_was_not_told_to_allow_it(
    control_plane: ControlPlane,
    simulator: Simulator,
    kubeconfig: Path,
    namespace: str,
    tmp_path: Path,
) -> None:
    strict = Operator(kubeconfig, tmp_path / "log", ISA_ALLOW_INSECURE_ENDPOINTS="false")
    strict.start()
    world = World(control_plane, simulator, strict, namespace)
    world.secret()

    world.apply([world.image()], endpoints={"iam": "http://127.0.0.1:1", "ims": simulator.url})
    try:
        ready = world.wait_for("InvalidRequest")
    finally:
        strict.kill()

    assert "spec.endpoints.iam must be an https:// URL" in ready["message"]
