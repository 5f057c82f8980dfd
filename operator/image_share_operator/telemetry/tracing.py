"""Optional OpenTelemetry traces: a span for each reconcile and each request to the cloud API.

The API of OpenTelemetry creates no spans until `start` installs the SDK, which is the extra
``otel``. The environment variables of OpenTelemetry configure the exporter.

Source: OpenTelemetry specification, "Environment Variables"; semantic conventions, "HTTP Spans".
"""

import contextlib
from collections.abc import Iterator, Mapping

from opentelemetry import trace

from image_share_operator import __version__

NAME = "image-share-operator"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
OFF = "OTEL_SDK_DISABLED"

tracer = trace.get_tracer(NAME, __version__)
"""Starts all spans of the operator."""


class TracingError(Exception):
    """Traces are configured, but the packages are missing."""


def wanted(env: Mapping[str, str]) -> bool:
    """Return whether the environment configures an endpoint for traces."""
    return any(env.get(name) for name in ENDPOINTS) and env.get(OFF, "").lower() != "true"


@contextlib.contextmanager
def start(env: Mapping[str, str]) -> Iterator[None]:
    """Export traces until the exit of the context, which exports the remaining spans.

    Raises:
        TracingError: the packages are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise TracingError(
            f"{ENDPOINTS[0]} or {ENDPOINTS[1]} enables traces, but the packages are missing; "
            f"install {NAME}[otel], or set {OFF}=true"
        ) from None
    provider = TracerProvider(resource=Resource.create(_about(env)))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def _about(env: Mapping[str, str]) -> dict[str, str]:
    """Return the resource attributes. The environment may set another service name."""
    named = env.get("OTEL_SERVICE_NAME") or "service.name=" in env.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    name = {} if named else {"service.name": NAME}
    return name | {"service.version": __version__}


def trace_id() -> str | None:
    """Return the ID of the current trace, 32 hexadecimal digits; ``None`` without a trace."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
