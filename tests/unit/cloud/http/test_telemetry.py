"""What each exchange with the cloud records in the log, the metrics and the trace."""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from image_share_operator.api.errors import OutcomeUnknownError, RetryableError
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.no_response import Cause, NoResponseError
from image_share_operator.telemetry import context, metrics, tracing

ROUTE = "/v1/cloudimages/members"
NAME = "image_share_operator_cloud_errors_total"


Handler = Callable[[httpx.Request], httpx.Response]


async def send(handler: Handler, method: str = "PUT") -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        http_client = CloudHttpClient(client=client, timeout=timedelta(seconds=1))
        await http_client.send(
            client.build_request(
                method, f"https://ims.test{ROUTE}", extensions={"route": f"{method} {ROUTE}"}
            )
        )


def responding(status: int, code: str = "") -> Handler:
    body = {"error_code": code, "error_msg": "secret-looking text"} if code else {}
    return lambda _: httpx.Response(status, json=body, headers={"X-Request-Id": "req-1"})


def error_count(method: str, error: str) -> float:
    return (
        metrics.REGISTRY.get_sample_value(NAME, {"route": f"{method} {ROUTE}", "error": error}) or 0
    )


@pytest.mark.parametrize(
    ("method", "status", "code", "error", "level"),
    [
        ("PUT", 503, "IMG.0060", "throttled", "WARNING"),
        ("PUT", 500, "", "retry", "WARNING"),
        ("PUT", 403, "APIGW.0302", "denied", "WARNING"),
        ("PUT", 400, "IMG.0027", "images", "WARNING"),
        ("GET", 404, "IMG.0027", "images", "DEBUG"),
        ("GET", 401, "APIGW.0301", "token", "DEBUG"),
        ("GET", 429, "", "throttled", "WARNING"),
    ],
)
async def test_refusal_is_logged_with_code_and_request_id(
    method: str, status: int, code: str, error: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = error_count(method, error)
    caplog.set_level(logging.DEBUG)

    await send(responding(status, code), method)

    (line,) = [row for row in caplog.records if row.name.startswith("image_share_operator")]
    shown = f" {code}" if code else ""
    assert line.getMessage().startswith(f"{method} {ROUTE}: HTTP {status}{shown} in 0.")
    assert (line.levelname, line.__dict__["request_id"]) == (level, "req-1")
    assert "secret-looking" not in caplog.text
    assert error_count(method, error) == before + 1


async def test_success_is_logged_at_debug_and_counts_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = sum(s.value for m in metrics.CLOUD_ERRORS.collect() for s in m.samples)
    caplog.set_level(logging.DEBUG)

    await send(responding(200))

    levels = [row.levelname for row in caplog.records if "HTTP 200" in row.getMessage()]
    assert "DEBUG" in levels
    assert sum(s.value for m in metrics.CLOUD_ERRORS.collect() for s in m.samples) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"x-openstack-request-id": "req-2"},
        {"X-Request-Id": "req-2", "X-Openstack-Request-Id": "req-3"},
    ],
    ids=["of OpenStack", "of gateway and OpenStack"],
)
async def test_request_id_of_openstack_is_logged_without_one_of_the_gateway(
    headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    await send(lambda _: httpx.Response(500, headers=headers))

    (line,) = [row for row in caplog.records if row.levelname == "WARNING"]
    assert line.__dict__["request_id"] == "req-2"


@pytest.mark.parametrize("invalid", ["", "x" * 65, "a b", "a\u00e9", "<script>"])
async def test_invalid_request_id_is_not_logged(
    invalid: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500, headers=[(b"X-Request-Id", invalid.encode())])

    await send(handler)

    (line,) = [row for row in caplog.records if row.levelname == "WARNING"]
    assert "request_id" not in line.__dict__


@pytest.mark.parametrize(
    ("raised", "error"),
    [(TimeoutError(), "timeout"), (NoResponseError(Cause.BROKEN, "connection lost"), "broken")],
)
async def test_exchange_without_response_is_logged_and_error_count(
    raised: Exception, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = error_count("PUT", error)

    def handler(_: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(OutcomeUnknownError):
        await send(handler)

    (line,) = [row for row in caplog.records if row.levelname == "WARNING"]
    assert line.getMessage().startswith(f"PUT {ROUTE}: no response from ims.test:443: ")
    assert error_count("PUT", error) == before + 1


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def test_trace_has_the_exchange_as_a_child_of_the_reconcile(
    spans: InMemorySpanExporter,
) -> None:
    here = context.ReconcileContext(namespace="demo", name="web")
    with tracing.tracer.start_as_current_span("reconcile", attributes=here.attributes):
        running = tracing.trace_id()
        await send(responding(503))

    exchange, around = spans.get_finished_spans()
    assert (exchange.name, around.name) == (f"PUT {ROUTE}", "reconcile")
    assert exchange.parent is not None
    assert around.context is not None
    assert exchange.parent.span_id == around.context.span_id
    assert running == format(around.context.trace_id, "032x")
    assert dict(exchange.attributes or {}) == {
        "http.request.method": "PUT",
        "url.template": ROUTE,
        "server.address": "ims.test",
        "http.response.status_code": 503,
        "http.response.header.x-request-id": "req-1",
        "error.type": "retry",
    }
    assert dict(around.attributes or {})["k8s.namespace.name"] == "demo"


async def test_trace_of_an_exchange_without_response_has_the_cause(
    spans: InMemorySpanExporter,
) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise TimeoutError

    with pytest.raises(RetryableError):
        await send(handler, "GET")

    (exchange,) = spans.get_finished_spans()
    assert dict(exchange.attributes or {})["error.type"] == "timeout"


def test_traces_are_enabled_by_the_variables_of_opentelemetry() -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}

    assert not tracing.wanted({})
    assert tracing.wanted(endpoint)
    assert tracing.wanted({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"})
    assert not tracing.wanted(endpoint | {"OTEL_SDK_DISABLED": "true"})


def test_start_of_traces_raises_without_the_otel_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(tracing.TracingError, match=r"install image-share-operator\[otel\]"):
        tracing.start({}).__enter__()


def test_span_has_no_trace_id_before_the_start_of_traces() -> None:
    with tracing.tracer.start_as_current_span("reconcile"):
        assert tracing.trace_id() is None
