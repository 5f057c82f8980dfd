"""Jobs of the simulator that end when the test says so, however busy the machine is."""

from e2e.live.world import World

HELD_S = 600.0
"""Longer than any test."""
SHORT_S = 0.4


def hold(world: World) -> None:
    """Let the jobs that are submitted from now on run until `finish`."""
    world.sim.settings(job_seconds=HELD_S)


def finish(world: World) -> None:
    """End the jobs that run; later ones are short."""
    world.sim.settings(job_seconds=SHORT_S)
    world.sim.advance(HELD_S)
