"""Server reflection in both versions: v1, which clients ask for first, and v1alpha.

grpcio has only v1alpha, from which v1 is made here: the two differ in nothing but their names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from typing import Any, Final

import grpc
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

# Published without a py.typed marker.
from google.rpc import (  # type: ignore[import-untyped]
    error_details_pb2,
    status_pb2,
)
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection import aio

from agentworkspace.server.routing import Collected, Handler

# Reflection needs no credential, so the number of its streams must have a limit.
MOST_LOOKING: Final = 64
_OLDER: Final = "grpc.reflection.v1alpha"
_NEWER: Final = "grpc.reflection.v1"


def handlers(
    services: Iterable[ServiceDescriptor], answered: Collection[str]
) -> dict[str, Handler]:
    """The handlers of both versions by full name. They show only the methods in `answered`."""
    pool, shown = shown_by((*services, *_OWN), answered)
    collected = Collected()
    # Untyped, because both only quack like the pool and the server that are wanted.
    untyped: Any = _FindsMethods(pool)
    add: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
    add(_Bounded(aio.ReflectionServicer(shown, pool=untyped)), collected)
    found = collected.handlers
    return {
        **found,
        **{_renamed(name): handler for name, handler in found.items()},
    }


class _Bounded:
    """grpcio's own servicer, for at most MOST_LOOKING streams at a time."""

    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer
        self._looking = 0

    async def ServerReflectionInfo(  # noqa: N802 -- gRPC's name
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        if self._looking >= MOST_LOOKING:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "too many clients use reflection already; call again in a moment",
            )
        self._looking += 1
        try:
            async for answer in self._servicer.ServerReflectionInfo(requests, context):
                yield answer
        finally:
            self._looking -= 1


class _FindsMethods:
    """A pool of descriptors that also finds a file by the name of a method in it."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 -- as in a pool
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            parent, _, method = symbol.rpartition(".")
            service = self._pool.FindServiceByName(parent)
            if method not in service.methods_by_name:
                raise
            return service.file


def _newer_service() -> ServiceDescriptor:
    proto = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(proto)
    proto.name, proto.package = "grpc/reflection/v1/reflection.proto", _NEWER
    for field in (field for message in proto.message_type for field in message.field):
        if field.HasField("type_name"):
            field.type_name = _renamed(field.type_name)
    for method in (method for service in proto.service for method in service.method):
        method.input_type = _renamed(method.input_type)
        method.output_type = _renamed(method.output_type)
    pool = DescriptorPool()
    pool.AddSerializedFile(proto.SerializeToString())
    return pool.FindServiceByName(f"{_NEWER}.ServerReflection")


def _renamed(name: str) -> str:
    return name.replace(_OLDER, _NEWER, 1)


_OWN: Final[tuple[Any, ...]] = (
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
    _newer_service(),
)


def shown_by(
    services: Iterable[ServiceDescriptor], answered: Collection[str]
) -> tuple[DescriptorPool, tuple[str, ...]]:
    """A pool with only the answered methods, and the names of the services that have any.

    `answered` are full names as on the wire: `/package.Service/Method`.
    """
    pool = DescriptorPool()
    added: set[str] = set()
    # The types in the details of a failure, which clients look up by name.
    for details in (error_details_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR):
        _add(pool, details, answered, added)
    names: list[str] = []
    for service in services:
        _add(pool, service.file, answered, added)
        if any(f"/{service.full_name}/{each.name}" in answered for each in service.methods):
            names.append(service.full_name)
    return pool, tuple(names)


def _add(
    pool: DescriptorPool, file: FileDescriptor, answered: Collection[str], added: set[str]
) -> None:
    """Add a file, with its answered methods only, after the files that it imports."""
    if file.name in added:
        return
    added.add(file.name)
    for needed in file.dependencies:
        _add(pool, needed, answered, added)
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    for service in list(proto.service):
        full_name = f"{proto.package}.{service.name}"
        kept = [each for each in service.method if f"/{full_name}/{each.name}" in answered]
        del service.method[:]
        service.method.extend(kept)
        if not kept:
            proto.service.remove(service)
    pool.AddSerializedFile(proto.SerializeToString())
