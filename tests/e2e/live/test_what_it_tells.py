"""Its log in a cluster's form, and its traces, of a real run."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from e2e.live.programs import SHORT_WAITS
from e2e.live.world import PUT, World
from envtest import Operator, eventually


class Collector(ThreadingHTTPServer):
    """Takes traces by OTLP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.services: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        for told in ExportTraceServiceRequest.FromString(sent).resource_spans:
            self.server.services |= {
                row.value.string_value
                for row in told.resource.attributes
                if row.key == "service.name"
            }
            self.server.spans += [span for scope in told.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
        del format, args


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def operator(
    kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[Operator]:
    process = Operator(
        kubeconfig,
        tmp_path_factory.mktemp("telling") / "log",
        program=SHORT_WAITS,
        ISA_LOG_FORMAT="json",
        ISA_LOG_LEVEL="info,cloud=debug",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    process.start()
    yield process
    process.terminate()


def lines(operator: Operator) -> list[dict[str, object]]:
    """The lines of the log, without one that is being written."""
    whole, _, _ = operator.log.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def test_each_line_is_json_and_that_of_a_change_names_all(world: World) -> None:
    world.accept()
    job = world.status()["job"]["id"]

    def both_changes() -> list[dict[str, object]] | None:
        """The lines about status changes; the last one is written after the status."""
        own = [row for row in lines(world.operator) if row.get("namespace") == world.namespace]
        writer = "image_share_operator.controller.status_writer"
        changes = [row for row in own if row["logger"] == writer]
        return changes if len(changes) > 1 else None

    changes = eventually(both_changes)
    assert [row["reason"] for row in changes] == ["JobRunning", "Accepted"]
    for row in changes:
        assert row["level"] == "INFO"
        assert (row["name"], row["generation"], row["jobID"]) == ("web", 1, job)
        assert re.fullmatch("[0-9a-f]{8}", str(row["reconcileID"]))
        assert re.fullmatch("[0-9a-f]{32}", str(row["traceID"]))
    assert len({row["reconcileID"] for row in changes}) == 2


def test_requests_are_logged_with_the_request_id_of_the_cloud(world: World) -> None:
    world.sim.fault(PUT, count=1, status=503)

    world.accept()

    told = [row for row in lines(world.operator) if str(row["msg"]).startswith("PUT /v1/")]
    failed = [row for row in told if "HTTP 503" in str(row["msg"])]
    assert failed
    assert failed[-1]["level"] == "WARNING"
    assert all(row["requestID"] for row in told)
    assert not any("namespace" in row for row in told), "a batch belongs to no single object"


def test_pass_is_a_trace_with_its_exchanges(world: World, collector: Collector) -> None:
    world.accept()

    def ended() -> list[Span] | None:
        passes = [span for span in collector.spans if _about(span, world.namespace)]
        writes = {span.parent_span_id for span in collector.spans if "status" in span.name}
        return passes if len(writes & {span.span_id for span in passes}) == 2 else None

    passes = eventually(ended)
    assert {span.name for span in passes} == {"reconcile"}
    assert PUT in {span.name for span in collector.spans}
    assert collector.services == {"image-share-operator"}
    job = [span for span in collector.spans if span.name.startswith("GET /v1/{project_id}/jobs")]
    assert {span.trace_id for span in job} & {span.trace_id for span in passes}


def _about(span: Span, namespace: str) -> bool:
    told = {row.key: row.value.string_value for row in span.attributes}
    return span.name == "reconcile" and told["k8s.namespace.name"] == namespace
