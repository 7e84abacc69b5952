"""The outermost layer of a server, which every request and every answer passes.

It sees raw bytes in both directions, so that no failure is left for gRPC to word. For a call it
checks, in this order: capacity, deadline, size and shape of the bytes, identity and role. Then it
runs the servicer within the remaining time, and sends the answer, or the one translation of
whatever was raised.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import grpc
import grpc.aio
import structlog

from agentworkspace.core import tracing
from agentworkspace.core.caller import Caller
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.rpc.policy import Listener, Policy, PolicyIncomplete, Rule
from agentworkspace.server.call_spans import CallSpans
from agentworkspace.server.capacity import Capacity
from agentworkspace.server.edge_failures import EdgeFailures
from agentworkspace.server.edge_method import EdgeMethod
from agentworkspace.server.metrics import EdgeMetrics
from agentworkspace.server.open_calls import Surroundings
from agentworkspace.server.routing import Collected, Door, Handler, register
from agentworkspace.server.shares import ShareLimits, Shares
from agentworkspace.server.throttle import Strangers

MIB: Final = 1024 * 1024
BOXES_MAX_REQUEST_BYTES: Final = 256 * 1024

Authenticate = Callable[[str], Caller | None]
Translate = Callable[[Exception], RpcFailure]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """Limits of the edge.

    `domain` is that of every ErrorInfo. `unary_ceiling_seconds` bounds calls whose client set no
    deadline, or a later one. `shares` bounds what one caller and one tenant hold at a time.
    `strangers_burst` and `strangers_per_second` bound the calls with an unknown credential from one
    address, `strangers_total_*` those from all addresses together.
    """

    domain: str
    unary_ceiling_seconds: float = 30.0
    max_request_bytes: int = 2 * MIB
    max_in_flight: int = 1024
    control_reserve: int = 64
    max_streams: int = 1024
    shares: ShareLimits = field(default_factory=ShareLimits)
    strangers_burst: int = 500
    strangers_per_second: float = 50
    strangers_total_burst: int = 5000
    strangers_total_per_second: float = 500
    overload_retry_after: timedelta = timedelta(seconds=1)


class Edge:
    """What every call of our services passes on its way in and out.

    `authenticate` maps a presented secret to a caller, or None. `translate` maps any exception
    that a servicer raised to the failure which the client may see. `rejected` is called with the
    address and the method of every call that presents an unknown credential. None of the three may
    block. Servicers are async functions and async generators; they raise, and never touch the
    context's trailing metadata.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        authenticate: Authenticate,
        translate: Translate,
        settings: EdgeSettings,
        metrics: EdgeMetrics | None = None,
        rejected: Callable[[str, str], None] = lambda _address, _method: None,
        logger: Any = None,
    ) -> None:
        self.policy = policy
        self.settings = settings
        self.capacity = Capacity(
            max_in_flight=settings.max_in_flight,
            control_reserve=settings.control_reserve,
            max_streams=settings.max_streams,
        )
        self._metrics = metrics or EdgeMetrics()
        self._metrics.watch(self.capacity)
        self._tracer = tracing.recorder()
        self._logger = logger or structlog.get_logger("agentworkspace.rpc")
        failures = EdgeFailures(domain=settings.domain)
        self._around = Surroundings(
            failures=failures,
            authenticate=authenticate,
            translate=translate,
            capacity=self.capacity,
            shares=Shares(settings.shares, failures.share_used_up),
            strangers=Strangers(
                burst=settings.strangers_burst,
                per_second=settings.strangers_per_second,
                total_burst=settings.strangers_total_burst,
                total_per_second=settings.strangers_total_per_second,
            ),
            rejected=rejected,
            unary_ceiling_seconds=settings.unary_ceiling_seconds,
            overload_retry_after=settings.overload_retry_after,
            new_correlation_id=_counted_ids(),
            logger=self._logger,
        )

    def mount(
        self,
        server: grpc.aio.Server,
        adders: Iterable[Callable[[Any], None]],
        *,
        listener: Listener | None = None,
    ) -> frozenset[str]:
        """Add servicers to a server, behind the edge; returns the full names of their methods.

        Each adder is a generated `add_XServicer_to_server` with its servicer bound. With a
        `listener`, only the methods that the policy has there are added. PolicyIncomplete when a
        method has no line in the table. Call it once for each server.
        """
        collected = Collected()
        for add in adders:
            add(collected)
        handlers = {}
        crowds = {}
        for name, handler in collected.handlers.items():
            rule = self._rule(name, handler)
            ruled = rule if listener is None else rule.at(listener)
            if ruled is None:
                continue
            handlers[name] = self._wrap(name, ruled, handler, self.max_request_bytes(listener))
            if rule.crowd:
                crowds[name] = handlers[name]
        register(server, crowds)
        server.add_generic_rpc_handlers((Door(handlers),))
        return frozenset(handlers)

    def max_request_bytes(self, listener: Listener | None) -> int:
        """The largest request, in bytes, that is not refused; less at the boxes' listener."""
        limit = self.settings.max_request_bytes
        return min(limit, BOXES_MAX_REQUEST_BYTES) if listener is Listener.BOXES else limit

    def close(self) -> None:
        """From now on answer SHUTTING_DOWN to every new call and every open stream.

        Unary calls that run go on to their end.
        """
        self._around.close()

    def _rule(self, method: str, handler: Handler) -> Rule:
        rule = self.policy.get(method)
        if rule is None:
            raise PolicyIncomplete(f"policy table: {method} has no line")
        if handler.request_streaming:
            raise PolicyIncomplete(f"{method} streams requests, which the edge does not carry")
        return rule

    def _wrap(self, method: str, rule: Rule, handler: Handler, max_request_bytes: int) -> Handler:
        each = EdgeMethod(
            method,
            rule,
            handler,
            self._around,
            metrics=self._metrics.for_method(method, rule),
            spans=CallSpans(method, self._tracer),
            max_request_bytes=max_request_bytes,
        )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(each.unary_stream)
        return grpc.unary_unary_rpc_method_handler(each.unary_unary)


def _counted_ids() -> Callable[[], str]:
    """Correlation ids of a random start and a count: they must differ, but need not be secret."""
    start = os.urandom(6).hex()
    count = itertools.count(1)
    return lambda: f"{start}-{next(count):x}"
