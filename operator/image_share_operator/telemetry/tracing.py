"""Traces by OpenTelemetry, for those who ask for them: a span for each pass and each exchange.

Off, it costs a comparison. The packages are the extra ``otel``; what is sent where, how often and
with which headers is set by the environment variables that OpenTelemetry defines.

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
    """Traces are asked for and can't be made."""


class Span(Protocol):
    """What happened between two moments."""

    def set_attribute(self, key: str, value: Value) -> None:
        """Add a fact."""
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
    """Whether someone said where traces go."""
    return any(env.get(name) for name in ENDPOINTS) and env.get(OFF, "").lower() != "true"


def start(env: Mapping[str, str]) -> AbstractContextManager[object]:
    """Send traces from now on; leaving the context sends what is left.

    Raises:
        TracingError: the packages are not there.
    """
    global _tracer  # noqa: PLW0603 - set once, before anything is traced
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise TracingError(
            f"{ENDPOINTS[0]} or {ENDPOINTS[1]} asks for traces: install {NAME}[otel], "
            f"or set {OFF}=true"
        ) from None
    provider = TracerProvider(resource=Resource.create(_about(env)))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer(NAME, __version__)
    return _Sending(provider)


def _about(env: Mapping[str, str]) -> dict[str, Value]:
    """What the traces are of; the environment may give the service another name."""
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
        """Send what is left."""
        global _tracer  # noqa: PLW0603 - as above
        _tracer = None
        self._provider.shutdown()


def span(name: str, attributes: Mapping[str, Value]) -> AbstractContextManager[Span]:
    """A span around what runs in it; within another one in the same task, part of that."""
    if _tracer is None:
        return _NOTHING
    return _tracer.start_as_current_span(name, attributes=attributes)


def trace_id() -> str | None:
    """The id of the running trace, 32 hexadecimal digits; ``None`` when there is none."""
    if _tracer is None:
        return None
    from opentelemetry import trace  # noqa: PLC0415 - there, or there would be no tracer

    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
