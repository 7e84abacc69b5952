"""The descriptors that a listener shows: of the methods that it answers, and of nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

# Published without a py.typed marker.
from google.rpc import (  # type: ignore[import-untyped]
    error_details_pb2,
    status_pb2,
)


def shown_by(
    services: Iterable[ServiceDescriptor], answered: Collection[str]
) -> tuple[DescriptorPool, tuple[str, ...]]:
    """A pool with the answered methods alone, and the names of the services that have any.

    `answered` are full names as on the wire: `/package.Service/Method`.
    """
    pool = DescriptorPool()
    added: set[str] = set()
    # What a failure carries: clients ask for it by name.
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
    """A file after those that it needs."""
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
