"""How a call finds its method: generated code adds it here, and it goes one of two ways.

A method that is registered with the aio server has a queue of its own there: no other waits behind
its calls or is shed with them. But the server keeps a pending accept for each, and sorts through
all of them at every call. So only those are registered that boxes and verifiers call, and health's
check; the control plane's share a door and its queue, and get through when the others storm. Calls
of methods that do not exist come to that door, too: only a network policy keeps strangers away.
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
    """Stands in for the server while generated code adds servicers to it.

    `handlers` has their methods by full name, as on the wire.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: object) -> None:
        """Generated code adds the same methods twice; the registered ones come by name."""

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        for name, handler in method_handlers.items():
            self.handlers[f"/{service_name}/{name}"] = handler


def register(server: grpc.aio.Server, handlers: Mapping[str, Handler]) -> None:
    """Give each of these methods, by full name, a queue of its own.

    Put them behind a door all the same: before grpcio 1.84 this does nothing.
    """
    for name, handler in handlers.items():
        _, service, method = name.split("/")
        server.add_registered_method_handlers(service, {method: handler})


class Door(grpc.GenericRpcHandler):
    """Finds the method of a call, in the call's own task, and keeps what the call presents.

    Not an interceptor, which costs two coroutines a call.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        handler = self._handlers.get(handler_call_details.method)
        if handler is not None:
            call_metadata.arrive(handler_call_details.invocation_metadata)
        return handler  # None: the next door, and in the end UNIMPLEMENTED
