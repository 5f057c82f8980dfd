"""Optional OpenTelemetry traces: a span for each reconcile and each request to the cloud API.

Without traces, a span costs one comparison. The packages are the extra ``otel``. The environment
variables of OpenTelemetry configure the exporter.

Source: OpenTelemetry specification, "Environment Variables"; semantic conventions, "HTTP Spans".
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from image_share_operator import __version__

NAME = "image-share-operator"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
OFF = "OTEL_SDK_DISABLED"

Value = str | int | float | bool


class TracingError(Exception):
    """Traces are configured, but the packages are missing."""


class Span(Protocol):
    """A span of a trace."""

    def set_attribute(self, key: str, value: Value) -> None:
        """Set an attribute of the span."""
        ...


class _Nothing:
    def set_attribute(self, key: str, value: Value) -> None:
        del key, value


class _Tracer(Protocol):
    def start_as_current_span(
        self, name: str, *, attributes: Mapping[str, Value]
    ) -> AbstractContextManager[Span]: ...


_tracer: _Tracer | None = None
_NOTHING: AbstractContextManager[Span] = nullcontext(_Nothing())


def wanted(env: Mapping[str, str]) -> bool:
    """Return whether the environment configures an endpoint for traces."""
    return any(env.get(name) for name in ENDPOINTS) and env.get(OFF, "").lower() != "true"


def start(env: Mapping[str, str]) -> AbstractContextManager[object]:
    """Start to export traces. The exit of the context exports the remaining spans.

    Raises:
        TracingError: the packages are not installed.
    """
    global _tracer  # noqa: PLW0603 - set once, before the first span
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
    _tracer = provider.get_tracer(NAME, __version__)
    return _Sending(provider)


def _about(env: Mapping[str, str]) -> dict[str, Value]:
    """Return the resource attributes. The environment may set another service name."""
    named = env.get("OTEL_SERVICE_NAME") or "service.name=" in env.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    name: dict[str, Value] = {} if named else {"service.name": NAME}
    return name | {"service.version": __version__}


class _Provider(Protocol):
    def shutdown(self) -> None: ...


class _Sending(AbstractContextManager[object]):
    def __init__(self, provider: _Provider) -> None:
        self._provider = provider

    def __exit__(self, *exc: object) -> None:
        """Export the remaining spans."""
        global _tracer  # noqa: PLW0603 - as above
        _tracer = None
        self._provider.shutdown()


def span(name: str, attributes: Mapping[str, Value]) -> AbstractContextManager[Span]:
    """Return a context manager for a span, a child of the current span of the task."""
    if _tracer is None:
        return _NOTHING
    return _tracer.start_as_current_span(name, attributes=attributes)


def trace_id() -> str | None:
    """Return the ID of the current trace, 32 hexadecimal digits; ``None`` without a trace."""
    if _tracer is None:
        return None
    from opentelemetry import trace  # noqa: PLC0415 - installed, because there is a tracer

    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
