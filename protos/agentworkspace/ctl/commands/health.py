"""`health`: whether both services, and every part of them, take calls."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from agentworkspace.ctl.command import Answer, Command, ExitCode, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.failures import exit_code, failure_of
from agentworkspace.ctl.output import Grid
from agentworkspace.provision.v1 import (
    audit_service_pb2 as provision_audit,
)
from agentworkspace.provision.v1 import (
    billing_service_pb2,
    catalogue_service_pb2,
    secret_service_pb2,
    workspace_service_pb2,
)
from agentworkspace.registry.v1 import (
    audit_service_pb2 as registry_audit,
)
from agentworkspace.registry.v1 import (
    registration_service_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)

_STATUS: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING: Final = "SERVING"
_UNREACHABLE: Final = "UNREACHABLE"


def _names(*files: FileDescriptor) -> tuple[str, ...]:
    parts = [service.full_name for file in files for service in file.services_by_name.values()]
    return ("", *parts)


_PARTS: Final = {
    "registry": _names(
        token_service_pb2.DESCRIPTOR,
        registration_service_pb2.DESCRIPTOR,
        workspace_registry_service_pb2.DESCRIPTOR,
        registry_audit.DESCRIPTOR,
    ),
    "provision": _names(
        workspace_service_pb2.DESCRIPTOR,
        billing_service_pb2.DESCRIPTOR,
        secret_service_pb2.DESCRIPTOR,
        catalogue_service_pb2.DESCRIPTOR,
        provision_audit.DESCRIPTOR,
    ),
}


def _health(args: argparse.Namespace, session: Session) -> Answer:
    found = [
        each for which in _PARTS if args.service in (None, which) for each in _of(which, session)
    ]
    rows = tuple(
        (which, address, part or "(all)", status) for which, address, part, status in found
    )
    statuses = {status for *_, status in found}
    if _UNREACHABLE in statuses:
        code = ExitCode.UNREACHABLE
    else:
        code = ExitCode.DONE if statuses == {_SERVING} else ExitCode.REFUSED
    keys = ("service", "address", "part", "status")
    return Answer(
        document={"health": [dict(zip(keys, row, strict=True)) for row in found]},
        view=(Grid("", ("SERVICE", "ADDRESS", "PART", "STATUS"), rows),),
        exit_code=code,
    )


def _of(which: str, session: Session) -> Iterator[tuple[str, str, str, str]]:
    """A row for the whole and, once it has answered, one for each of its parts."""
    if which == "registry":
        address, channel = session.registry_address, session.registry
    else:
        address, channel = session.provision_address, session.provision
    for part in _PARTS[which]:
        status = _status(session, channel, part)
        yield which, address, part, status
        if status == _UNREACHABLE:
            return


def _status(session: Session, channel: grpc.Channel, part: str) -> str:
    # grpc.health.v1 has one field on either side, so these wrappers are the same on the wire;
    # its own stubs come with a package that only servers need.
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=Int32Value.FromString,
    )
    try:
        return _STATUS.get(session.call(check, StringValue(value=part)).value, "UNKNOWN")
    except grpc.RpcError as error:
        failure = failure_of(error, session.correlation_id)
        if exit_code(failure) == ExitCode.UNREACHABLE:
            return _UNREACHABLE
        missing = failure.code is grpc.StatusCode.NOT_FOUND
        return "SERVICE_UNKNOWN" if missing else failure.code.name


HEALTH = Command(
    "health",
    "whether the services take calls",
    _health,
    (argument("service", nargs="?", choices=tuple(_PARTS), help="only this one"),),
)
