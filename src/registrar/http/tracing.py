"""OpenTelemetry: requests and their steps as spans, sent over OTLP. It is loaded only where it is configured."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final, NamedTuple, TypeVar

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from registrar.domain.errors import ProtocolError
from registrar.domain.settings import Tracing
from registrar.http import proxies
from registrar.http.wire import Scope
from registrar.service.ports import FetchError, StoreError

_PARENT: Final = (b"traceparent", b"tracestate")
_LINKS: Final = 128
_SERVER_ERRORS: Final = 500
_EXPECTED: Final = (ProtocolError, StoreError, FetchError)
"""What steps end with when they work as they should: a refusal is not a failure of the server."""

Result = TypeVar("Result")


class Begun(NamedTuple):
    """A request that is under way: its span, and what makes the one before it current again."""

    span: Span
    token: Any


class OpenTelemetry:
    """Spans of this process.

    Args:
        settings: `[server.tracing]`.
        exporter: what they are given to, instead of OTLP over HTTP.
    """

    def __init__(self, settings: Tracing, exporter: SpanExporter | None = None) -> None:
        named = {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "registrar"),
            "service.version": version("oauth-registrar"),
        }
        # A provider of our own: a program that embeds this one may have another, which is its own matter.
        self._provider = TracerProvider(
            resource=Resource.create(named),
            sampler=ParentBased(TraceIdRatioBased(settings.share)),
            shutdown_on_exit=False,
        )
        exporter = exporter or OTLPSpanExporter(endpoint=settings.endpoint, timeout=settings.seconds)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=settings.seconds * 1000))
        self._tracer = self._provider.get_tracer("registrar")
        self._parents = TraceContextTextMapPropagator()

    def begin(self, scope: Scope) -> Begun:
        """Begin with a request, as a part of what a trusted proxy began.

        A stranger's trace is only linked: nobody outside decides what is sampled, or joins a trace of ours.
        """
        carried = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _PARENT}
        parent = self._parents.extract(carried, Context()) if carried else Context()
        links: list[Link] = []
        if proxies.PROXIED not in scope:
            links = [Link(one)] if (one := trace.get_current_span(parent).get_span_context()).is_valid else []
            parent = Context()
        span = self._tracer.start_span("request", parent, SpanKind.SERVER, links=links)
        return Begun(span, contexts.attach(trace.set_span_in_context(span, parent)))

    def end(self, begun: Begun, status: int, **attributes: str) -> None:
        """A request has its answer.

        Args:
            begun: what `begin` gave.
            status: of the answer; 0 where there is none.
            attributes: what is told of it, by the names of OpenTelemetry's conventions.
        """
        contexts.detach(begun.token)
        span = begun.span
        if span.is_recording():
            span.update_name(f"{attributes['http.request.method']} {attributes['registrar.endpoint'] or 'nowhere'}")
            span.set_attributes({name: value for name, value in attributes.items() if value})
            span.set_attribute("http.response.status_code", status)
            if status >= _SERVER_ERRORS or not status:
                span.set_status(StatusCode.ERROR)
        span.end()

    async def within(self, name: str, step: Awaitable[Result], **attributes: str | int) -> Result:
        """Do a step as a span within the one that is under way."""
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                return await step
            except BaseException as problem:
                # The kind of problem and no more: its words may repeat what was sent.
                kind = problem.kind.name if isinstance(problem, ProtocolError) else type(problem).__name__
                span.set_attribute("error.type", kind)
                if not isinstance(problem, _EXPECTED):
                    span.set_status(StatusCode.ERROR)
                raise

    def here(self) -> SpanContext | None:
        """The span that is under way, where its trace is sampled."""
        span = trace.get_current_span()
        return span.get_span_context() if span.is_recording() else None

    @contextmanager
    def batch(self, name: str, steps: Sequence[Any]) -> Iterator[None]:
        """Time what is done for several spans at once; it is linked with each of them."""
        if not steps:  # no trace that is sampled has a part in it
            yield
            return
        links = [Link(one) for one in steps[:_LINKS]]
        # In the trace of the first: a span that is linked alone would be found by nobody who looks at that trace.
        parent = trace.set_span_in_context(trace.NonRecordingSpan(steps[0]), Context())
        with self._tracer.start_as_current_span(
            name, parent, links=links, record_exception=False, attributes={"registrar.operations": len(steps)}
        ):
            yield

    def close(self) -> None:
        """Send what has not been sent, within the seconds of the settings."""
        self._provider.shutdown()
