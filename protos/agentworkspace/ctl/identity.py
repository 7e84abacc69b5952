"""The gRPC services of registry and provision, and which of the two answers at an address."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from agentworkspace.ctl.connection import Session
from agentworkspace.provision.v1 import audit_service_pb2 as provision_audit
from agentworkspace.provision.v1 import (
    billing_service_pb2,
    catalogue_service_pb2,
    secret_service_pb2,
    workspace_service_pb2,
)
from agentworkspace.provision.v1 import system_service_pb2 as provision_system
from agentworkspace.provision.v1.system_service_pb2_grpc import (
    SystemServiceStub as ProvisionSystemStub,
)
from agentworkspace.registry.v1 import audit_service_pb2 as registry_audit
from agentworkspace.registry.v1 import (
    registration_service_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from agentworkspace.registry.v1 import system_service_pb2 as registry_system
from agentworkspace.registry.v1.system_service_pb2_grpc import (
    SystemServiceStub as RegistrySystemStub,
)

OTHER: Final = {"registry": "provision", "provision": "registry"}
_STATUS: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def _names(*files: FileDescriptor) -> tuple[str, ...]:
    return tuple(each.full_name for file in files for each in file.services_by_name.values())


# The gRPC services of each, as health checks name them. The first tells the two apart.
PARTS: Final = {
    "registry": _names(
        token_service_pb2.DESCRIPTOR,
        registration_service_pb2.DESCRIPTOR,
        workspace_registry_service_pb2.DESCRIPTOR,
        registry_audit.DESCRIPTOR,
        registry_system.DESCRIPTOR,
    ),
    "provision": _names(
        workspace_service_pb2.DESCRIPTOR,
        billing_service_pb2.DESCRIPTOR,
        secret_service_pb2.DESCRIPTOR,
        catalogue_service_pb2.DESCRIPTOR,
        provision_audit.DESCRIPTOR,
        provision_system.DESCRIPTOR,
    ),
}


def health_of(session: Session, service: str, part: str = "") -> str:
    """The status that grpc.health.v1 gives at this service's address, such as `SERVING`.

    `part` is one of PARTS, or empty for the whole. Raises grpc.RpcError.
    """
    # grpc.health.v1 has one field on either side, so these wrappers are the same on the wire;
    # its own stubs come with a package that only servers need.
    check = session.channel(service).unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=Int32Value.FromString,
    )
    try:
        return _STATUS.get(session.call(check, StringValue(value=part)).value, "UNKNOWN")
    except grpc.RpcError as error:
        if getattr(error, "code")() is grpc.StatusCode.NOT_FOUND:  # noqa: B009 - the stubs lack it
            return "SERVICE_UNKNOWN"
        raise


def is_part_of(session: Session, at: str, service: str) -> bool:
    """Whether `service` is what answers at the address that is configured for `at`."""
    try:
        return health_of(session, at, PARTS[service][0]) != "SERVICE_UNKNOWN"
    except grpc.RpcError:
        return False


def system_info_of(session: Session, service: str) -> Any:
    """The service's GetSystemInfo: about itself and its caller. Raises grpc.RpcError."""
    if service == "registry":
        registry = RegistrySystemStub(session.registry)
        return session.call(registry.GetSystemInfo, registry_system.GetSystemInfoRequest())
    provision = ProvisionSystemStub(session.provision)
    return session.call(provision.GetSystemInfo, provision_system.GetSystemInfoRequest())
