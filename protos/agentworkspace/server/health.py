"""grpc.health.v1 with all of its methods, of which grpcio's own servicer lacks List."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2
from typing_extensions import override

# Its type stubs have no List either.
_pb: Final[Any] = health_pb2
# Watch needs no credential, so the number of its streams must have a limit.
MOST_WATCHERS: Final = 256


class Health(health.aio.HealthServicer):
    """The health of services, each by its full name; `""` is the server's own."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._names = tuple(names)
        self._watchers = 0

    @override
    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        if self._watchers >= MOST_WATCHERS:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "too many clients watch already; call Check instead",
            )
        self._watchers += 1
        try:
            await super().Watch(request, context)
        finally:
            self._watchers -= 1

    async def List(self, _request: object, context: Any) -> Any:  # noqa: N802 - gRPC's name
        answer = _pb.HealthListResponse()
        for name in self._names:
            asked = health_pb2.HealthCheckRequest(service=name)
            answer.statuses[name].CopyFrom(await self.Check(asked, context))
        return answer
