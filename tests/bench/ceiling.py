"""The bare server that everything is compared with: grpc.aio on uvloop, one method, no work.

`python -m tests.bench.ceiling PORT` answers any call with the same bytes, and neither decodes nor
encodes. What a service reaches of its throughput is what Python leaves for the work itself.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import grpc
import grpc.aio
import uvloop
from typing_extensions import override

# As long as the answer to ValidateToken.
ANSWER = b"\x0a\x7a" + bytes(122)
METHOD = "/bench.Bare/Call"


class _Bare(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self._handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            _answer
        )

    @override
    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handler


async def _answer(_request: bytes, _context: object) -> bytes:
    return ANSWER


async def serve(port: int) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_Bare(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(1)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
