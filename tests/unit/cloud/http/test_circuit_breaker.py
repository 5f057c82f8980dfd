"""When an endpoint is left alone, and when one identity keeps quiet."""

from datetime import timedelta

import pytest
from drive import Clock

from image_share_operator.api.errors import ThrottledError
from image_share_operator.cloud.http.circuit_breaker import (
    CEILING,
    PROBE_TIME,
    THRESHOLD,
    CircuitBreaker,
    CircuitBreakers,
    CircuitOpenError,
)
from image_share_operator.cloud.http.throttle import Throttle


def broken(clock: Clock, failures: int = THRESHOLD) -> CircuitBreaker:
    circuit = CircuitBreaker("https://ims.test", clock.now, lambda: 1.0)
    for _ in range(failures):
        circuit.admit()
        circuit.failed()
    return circuit


def test_circuit_stays_closed_below_the_threshold() -> None:
    circuit = broken(Clock(), THRESHOLD - 1)

    circuit.admit()

    assert circuit.open_until is None


def test_circuit_refuses_without_asking_and_says_how_long() -> None:
    circuit = broken(Clock())

    with pytest.raises(CircuitOpenError) as caught:
        circuit.admit()

    assert caught.value.retry_after == timedelta(seconds=1)
    assert "https://ims.test" in str(caught.value)


def test_circuit_lets_one_probe_through() -> None:
    clock = Clock()
    circuit = broken(clock)
    clock.pass_by(timedelta(seconds=1))

    circuit.admit()

    with pytest.raises(CircuitOpenError):
        circuit.admit()


def test_question_whether_a_probe_may_go_sends_none() -> None:
    clock = Clock()
    circuit = broken(clock)
    with pytest.raises(CircuitOpenError):
        circuit.check()
    clock.pass_by(timedelta(seconds=1))

    circuit.check()
    circuit.check()
    circuit.admit()

    with pytest.raises(CircuitOpenError):
        circuit.check()


def test_circuit_closes_when_the_probe_comes_back() -> None:
    clock = Clock()
    circuit = broken(clock)
    clock.pass_by(timedelta(seconds=1))
    circuit.admit()

    circuit.succeeded()

    circuit.admit()
    circuit.admit()


def test_circuit_rests_longer_after_each_failed_probe_up_to_a_ceiling() -> None:
    clock = Clock()
    circuit = broken(clock)
    rests = []
    for _ in range(8):
        assert circuit.open_until is not None
        rests.append(circuit.open_until - clock.at)
        clock.at = circuit.open_until
        circuit.admit()
        circuit.failed()

    assert [rest.total_seconds() for rest in rests] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert max(rests) == CEILING


def test_circuit_does_not_wait_for_a_probe_that_is_never_heard_of() -> None:
    clock = Clock()
    circuit = broken(clock)
    clock.pass_by(timedelta(seconds=1))
    circuit.admit()

    clock.pass_by(PROBE_TIME)

    circuit.admit()


def test_circuit_lets_another_probe_through_when_the_first_gave_up() -> None:
    clock = Clock()
    circuit = broken(clock)
    clock.pass_by(timedelta(seconds=1))
    circuit.admit()

    circuit.gave_up()

    circuit.admit()


def test_circuit_forgets_failures_when_one_request_succeeds() -> None:
    circuit = broken(Clock(), THRESHOLD - 1)
    circuit.succeeded()

    circuit.failed()

    circuit.admit()


def test_circuits_keep_endpoints_apart() -> None:
    circuits = CircuitBreakers(Clock().now, lambda: 1.0)
    for _ in range(THRESHOLD):
        circuits.of("https://a.test").failed()

    circuits.of("https://b.test").admit()

    with pytest.raises(CircuitOpenError):
        circuits.of("https://a.test").admit()


def test_throttle_keeps_quiet_as_long_as_the_cloud_says() -> None:
    clock = Clock()
    throttle = Throttle(clock.now)
    throttle.refused(timedelta(seconds=7))

    with pytest.raises(ThrottledError) as caught:
        throttle.admit()

    assert caught.value.retry_after == timedelta(seconds=7)
    clock.pass_by(timedelta(seconds=7))
    throttle.admit()


def test_throttle_keeps_quiet_longer_each_time_when_the_cloud_does_not_say() -> None:
    clock = Clock()
    throttle = Throttle(clock.now)
    waits = []
    for _ in range(8):
        throttle.refused(None)
        with pytest.raises(ThrottledError) as caught:
            throttle.admit()
        waits.append((caught.value.retry_after or timedelta()).total_seconds())
        clock.pass_by(timedelta(seconds=waits[-1]))

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    throttle.passed()
    throttle.refused(None)
    with pytest.raises(ThrottledError) as caught:
        throttle.admit()
    assert caught.value.retry_after == timedelta(seconds=1)
