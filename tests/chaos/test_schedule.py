"""The schedule is a function of seed and parameters, and holds what chaos is about."""

from dataclasses import replace

import pytest

from chaos import schedule
from chaos.kinds import EVERY, kind_of
from chaos.model import (
    SHORTEST_S,
    Action,
    CloudFault,
    Content,
    Create,
    Delete,
    Drift,
    Edit,
    Kill,
    Parameters,
    Rotate,
    Spec,
    Target,
    Timed,
)
from otc_simulator.faults import read_rule

SHORT = Parameters(seconds=60.0, objects=60)
SEEDS = (0, 1, 2, 20_260_504)


def specs(actions: tuple[Timed, ...]) -> dict[Target, Spec]:
    """The latest spec of each object that was not deleted."""
    live: dict[Target, Spec] = {}
    for action in (timed.action for timed in actions):
        match action:
            case Create(target=target, spec=spec) | Edit(target=target, spec=spec):
                live[target] = spec
            case Delete(target=target):
                del live[target]
            case _:
                pass
    return live


@pytest.mark.parametrize("seed", SEEDS)
def test_same_seed_makes_the_same_schedule(seed: int) -> None:
    assert schedule.make(seed, SHORT) == schedule.make(seed, SHORT)


def test_another_seed_makes_another_schedule() -> None:
    assert schedule.make(1, SHORT).actions != schedule.make(2, SHORT).actions


@pytest.mark.parametrize("seed", SEEDS)
def test_schedule_is_in_order_of_time(seed: int) -> None:
    times = [timed.at_s for timed in schedule.make(seed, SHORT).actions]

    assert times == sorted(times)
    assert times[-1] <= SHORT.seconds


@pytest.mark.parametrize("seed", SEEDS)
def test_objects_of_one_image_and_project_want_the_same(seed: int) -> None:
    """Else nobody could say what the cloud shall hold."""
    made = schedule.make(seed, replace(SHORT, seconds=300.0))
    wanted: dict[tuple[str, str], dict[Target, str]] = {}
    for action in (timed.action for timed in made.actions):
        if isinstance(action, Create | Edit):
            for image in action.spec.images:
                by_object = wanted.setdefault((image, action.spec.project), {})
                by_object[action.target] = action.spec.value
                assert len(set(by_object.values())) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_some_objects_overlap(seed: int) -> None:
    actions = schedule.make(seed, SHORT).actions

    def shared(count: int) -> bool:
        """Whether two objects list the same image after the first ``count`` actions."""
        listed = [image for spec in specs(actions[:count]).values() for image in spec.images]
        return len(listed) > len(set(listed))

    assert any(shared(count) for count in range(len(actions) + 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_hand_made_answers_are_against_the_spec(seed: int) -> None:
    live: list[Timed] = []
    for timed in schedule.make(seed, SHORT).actions:
        live.append(timed)
        if isinstance(timed.action, Drift):
            values = {
                spec.value
                for spec in specs(tuple(live)).values()
                if timed.action.image in spec.images
            }

            assert values == {"accepted", "rejected"} - {timed.action.value}


@pytest.mark.parametrize("seed", SEEDS)
def test_all_secrets_are_good_in_the_end(seed: int) -> None:
    made = schedule.make(seed, SHORT)
    actions: list[Action] = [timed.action for timed in made.actions]
    contents = {
        (action.namespace, action.secret): action.content
        for action in [*actions, *made.end]
        if isinstance(action, Rotate)
    }

    assert set(contents.values()) == {Content.GOOD}


@pytest.mark.parametrize("seed", SEEDS)
def test_shortest_run_has_every_kind_of_action_and_fault(seed: int) -> None:
    made = schedule.make(seed, Parameters(seconds=SHORTEST_S))

    assert {kind_of(timed.action) for timed in made.actions} == EVERY


def test_long_run_has_many_kills() -> None:
    made = schedule.make(1, Parameters(seconds=3600.0))

    assert sum(isinstance(timed.action, Kill) for timed in made.actions) > 100


def test_simulator_can_read_every_fault() -> None:
    for timed in schedule.make(1, Parameters(seconds=3600.0)).actions:
        if isinstance(timed.action, CloudFault):
            read_rule(timed.action.rule)


def test_number_of_objects_is_bounded() -> None:
    made = schedule.make(3, Parameters(seconds=300.0, objects=40))
    for count in range(0, len(made.actions), 10):
        assert len(specs(made.actions[:count])) <= 40
