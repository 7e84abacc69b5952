"""grpc.health.v1 with all of its methods: grpcio's own servicer has no List."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from grpc_health.v1 import health, health_pb2

# Its type stubs have no List either.
_pb: Final[Any] = health_pb2


class Health(health.aio.HealthServicer):
    """Of these services."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    async def List(self, _request: object, context: Any) -> Any:  # noqa: N802 - gRPC's name
        answer = _pb.HealthListResponse()
        for name in self._names:
            asked = health_pb2.HealthCheckRequest(service=name)
            answer.statuses[name].CopyFrom(await self.Check(asked, context))
        return answer
