"""The recorder takes down what the verdict needs, whatever becomes of the answer."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chaos.faults import PUT
from chaos.marks import shows_secret
from chaos.tape import Put
from chaos.world import RecordedSimulator
from envtest import eventually


@pytest.fixture(scope="module")
def sim() -> Iterator[RecordedSimulator]:
    with RecordedSimulator() as running:
        yield running


@pytest.fixture
def image(sim: RecordedSimulator) -> str:
    sim.clear_faults()
    return sim.add_image(shared_with=(sim.project_id,))


def send(sim: RecordedSimulator, image: str, value: str = "accepted", **body: Any) -> None:
    """Send a batch of one; its answer may get lost."""
    told = {"images": [image], "project_id": sim.project_id, "status": value, **body}
    token = sim.token(sim.user_id, sim.project_id)
    try:
        httpx.put(
            f"{sim.url}/v1/cloudimages/members",
            json=told,
            headers={"X-Auth-Token": token},
            timeout=10.0,
            trust_env=False,
        )
    except httpx.TransportError:
        return


def puts(sim: RecordedSimulator, image: str) -> list[Put]:
    return [put for put in sim.tape().puts if image in put.images]


def until_held(sim: RecordedSimulator, image: str, value: str) -> None:
    eventually(lambda: sim.membership(image, sim.project_id) == value or None)


def test_put_tells_who_set_what(sim: RecordedSimulator, image: str) -> None:
    send(sim, image)
    until_held(sim, image, "accepted")

    (put,) = puts(sim, image)

    assert (put.user, put.token_project, put.body_project) == (
        sim.user_id,
        sim.project_id,
        sim.project_id,
    )
    assert (put.value, put.status, put.effects) == ("accepted", 200, ())
    assert (put.settings[0].held, put.settings[0].applied) == ("pending", True)
    assert put.needless() == ()


def test_put_of_what_is_done_changes_nothing(sim: RecordedSimulator, image: str) -> None:
    send(sim, image)
    until_held(sim, image, "accepted")
    send(sim, image)

    assert len(puts(sim, image)[1].needless()) == 1


def test_put_of_what_a_job_is_about_to_do_changes_nothing(
    sim: RecordedSimulator, image: str
) -> None:
    send(sim, image)
    send(sim, image)
    until_held(sim, image, "accepted")

    assert len(puts(sim, image)[1].needless()) == 1


def test_put_after_a_job_that_lied_is_needed(sim: RecordedSimulator, image: str) -> None:
    sim.fault(PUT, images=[image], count=1, job={"apply": "nothing"})
    send(sim, image)
    send(sim, image)
    until_held(sim, image, "accepted")

    first, second = puts(sim, image)

    assert (first.effects, first.settings[0].applied) == (("job",), False)
    assert second.needless() == ()


def test_put_whose_answer_is_lost_is_known_with_its_job(sim: RecordedSimulator, image: str) -> None:
    sim.fault(PUT, images=[image], count=1, reset=True, handle=True)
    send(sim, image)
    until_held(sim, image, "accepted")

    (put,) = puts(sim, image)

    assert put.status == 0
    assert put.effects == ("handle", "reset")
    assert put.job is not None
    assert put.settings[0].applied


def test_refused_put_has_no_job(sim: RecordedSimulator, image: str) -> None:
    sim.fault(PUT, images=[image], count=1, status=429)
    send(sim, image)

    (put,) = puts(sim, image)

    assert (put.status, put.job, put.needless()) == (429, None, ())


def test_foreign_project_is_told(sim: RecordedSimulator, image: str) -> None:
    send(sim, image, project_id="f" * 32)

    assert puts(sim, image)[0].body_project == "f" * 32


def test_tokens_are_marked(sim: RecordedSimulator) -> None:
    token = sim.token(sim.user_id, sim.project_id)

    assert shows_secret(token)
    assert shows_secret(token[-20:])
    assert shows_secret(token[:40])
