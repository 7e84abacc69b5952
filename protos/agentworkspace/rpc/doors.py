"""How a call finds its method: what generated code adds is collected, and one door knows it all.

No method is registered with the aio server, but for health's check: for each registered method
the server keeps a pending accept, and sorts through all of them at every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc
from typing_extensions import override

from agentworkspace.rpc import presented

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
            presented.arrive(handler_call_details.invocation_metadata)
        return handler  # None: the next door, and in the end UNIMPLEMENTED
