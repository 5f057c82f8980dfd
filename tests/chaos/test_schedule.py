"""The schedule of a seed: always the same, and with everything in it."""

from chaos import schedule
from chaos.kinds import EVERY, kind_of
from chaos.model import Create, SecretKind
from chaos.test_chaos import PARAMETERS, SEED


def test_seed_makes_the_same_schedule() -> None:
    assert schedule.make(SEED, PARAMETERS) == schedule.make(SEED, PARAMETERS)
    assert schedule.make(SEED, PARAMETERS) != schedule.make(SEED + 1, PARAMETERS)


def test_shortest_run_has_every_kind_of_action() -> None:
    made = schedule.make(SEED, PARAMETERS)
    done = {kind_of(action) for action in (*(row.action for row in made.actions), *made.end)}

    assert done == EVERY


def test_shortest_run_uses_all_credentials() -> None:
    made = schedule.make(SEED, PARAMETERS)
    logins = {(login.namespace, login.name): login for login in made.logins}
    created = [row.action for row in made.actions if isinstance(row.action, Create)]
    places = {(action.target.namespace, action.spec.secret) for action in created}

    assert {logins[place].kind for place in places & logins.keys()} == set(SecretKind)
