"""How a call finds its method: by registration with the aio server, or through a `Door`.

A registered method has a queue of its own inside gRPC, so that no other method's calls wait behind
it or are shed with it. But the server keeps a pending accept for every registered method, and goes
through all of them at every call. So only the methods that boxes and verifiers call are
registered, and health's Check. The methods of the control plane share a `Door` (a generic handler)
and its one queue, and so get through when boxes storm. Calls of methods that do not exist come to
that queue too; only a network policy can keep such calls away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc
import grpc.aio
from typing_extensions import override

from agentworkspace.rpc import call_metadata

# Quoted: generic in the type stubs only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Collected:
    """A stand-in for the server, to which generated code adds its servicers.

    `handlers` holds their methods by full name, as on the wire.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: object) -> None:
        """Ignored: generated code adds the same methods a second time below, by name."""

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        for name, handler in method_handlers.items():
            self.handlers[f"/{service_name}/{name}"] = handler


def register(server: grpc.aio.Server, handlers: Mapping[str, Handler]) -> None:
    """Give each of these methods, by full name, a queue of its own.

    Add them to a `Door` as well, because before grpcio 1.84 this does nothing.
    """
    for name, handler in handlers.items():
        _, service, method = name.split("/")
        server.add_registered_method_handlers(service, {method: handler})


class Door(grpc.GenericRpcHandler):
    """Finds the method of a call, in the call's own task, and keeps the call's metadata.

    It is not an interceptor, because that would cost two coroutines for every call.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        handler = self._handlers.get(handler_call_details.method)
        if handler is not None:
            call_metadata.arrive(handler_call_details.invocation_metadata)
        return handler  # None: gRPC asks the next generic handler, and then says UNIMPLEMENTED
