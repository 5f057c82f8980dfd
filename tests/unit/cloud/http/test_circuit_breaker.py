"""When the circuit of an endpoint is open, and when an identity is throttled."""

from datetime import timedelta

import pytest
from drive import Clock

from image_share_operator.api.errors import ThrottledError
from image_share_operator.cloud.http.circuit_breaker import (
    MAX_OPEN_TIME,
    PROBE_TIMEOUT,
    THRESHOLD,
    CircuitBreaker,
    CircuitBreakers,
    CircuitOpenError,
)
from image_share_operator.cloud.http.throttle import Throttle

DOWN = "no connection to ims.test:443: connection refused"


def opened(clock: Clock, failures: int = THRESHOLD) -> CircuitBreaker:
    circuit = CircuitBreaker(clock.now, lambda: 1.0)
    for _ in range(failures):
        circuit.admit()
        circuit.failed(DOWN)
    return circuit


def probing() -> tuple[Clock, CircuitBreaker]:
    """Open a circuit and send its first probe."""
    clock = Clock()
    circuit = opened(clock)
    clock.pass_by(timedelta(seconds=1))
    circuit.admit()
    return clock, circuit


def test_circuit_stays_closed_below_the_threshold() -> None:
    circuit = opened(Clock(), THRESHOLD - 1)

    circuit.admit()

    assert circuit.open_until is None


def test_open_circuit_raises_with_the_remaining_time() -> None:
    circuit = opened(Clock())

    with pytest.raises(CircuitOpenError) as caught:
        circuit.admit()

    assert caught.value.retry_after == timedelta(seconds=1)
    assert str(caught.value) == DOWN


def test_open_circuit_admits_one_probe() -> None:
    _, circuit = probing()

    with pytest.raises(CircuitOpenError):
        circuit.admit()


def test_check_of_a_circuit_does_not_count_as_a_probe() -> None:
    clock = Clock()
    circuit = opened(clock)
    with pytest.raises(CircuitOpenError):
        circuit.check()
    clock.pass_by(timedelta(seconds=1))

    circuit.check()
    circuit.check()
    circuit.admit()

    with pytest.raises(CircuitOpenError):
        circuit.check()


def test_circuit_closes_when_the_probe_succeeds() -> None:
    _, circuit = probing()

    circuit.succeeded()

    circuit.admit()
    circuit.admit()


def test_circuit_opens_longer_after_each_failed_probe() -> None:
    clock = Clock()
    circuit = opened(clock)
    open_times = []
    for _ in range(8):
        assert circuit.open_until is not None
        open_times.append(circuit.open_until - clock.at)
        clock.at = circuit.open_until
        circuit.admit()
        circuit.failed(DOWN)

    assert [one.total_seconds() for one in open_times] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert max(open_times) == MAX_OPEN_TIME


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "timeout"])
def test_circuit_admits_another_probe_when_one_has_no_result(*, cancelled: bool) -> None:
    clock, circuit = probing()

    if cancelled:
        circuit.no_result()
    else:
        clock.pass_by(PROBE_TIMEOUT)

    circuit.admit()


def test_circuit_resets_its_failures_when_a_request_succeeds() -> None:
    circuit = opened(Clock(), THRESHOLD - 1)
    circuit.succeeded()

    circuit.failed(DOWN)

    circuit.admit()


def test_circuits_are_separate_for_each_endpoint() -> None:
    circuits = CircuitBreakers(Clock().now, lambda: 1.0)
    for _ in range(THRESHOLD):
        circuits.of("https://a.test").failed(DOWN)

    circuits.of("https://b.test").admit()

    with pytest.raises(CircuitOpenError):
        circuits.of("https://a.test").admit()


def test_throttle_waits_for_retry_after() -> None:
    clock = Clock()
    throttle = Throttle(clock.now)
    throttle.throttled(timedelta(seconds=7))

    with pytest.raises(ThrottledError) as caught:
        throttle.admit()

    assert caught.value.retry_after == timedelta(seconds=7)
    clock.pass_by(timedelta(seconds=7))
    throttle.admit()


def test_throttle_backs_off_without_retry_after() -> None:
    clock = Clock()
    throttle = Throttle(clock.now)
    waits = []
    for _ in range(8):
        throttle.throttled(None)
        with pytest.raises(ThrottledError) as caught:
            throttle.admit()
        waits.append((caught.value.retry_after or timedelta()).total_seconds())
        clock.pass_by(timedelta(seconds=waits[-1]))

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    throttle.accepted()
    throttle.throttled(None)
    with pytest.raises(ThrottledError) as caught:
        throttle.admit()
    assert caught.value.retry_after == timedelta(seconds=1)
