"""A method's comment, its request and the list of methods that change nothing say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from agentworkspace.provision.v1 import workspace_service_pb2
from agentworkspace.rpc.idempotency import CHANGES_NOTHING, REQUEST_ID

PACKAGES = Path(workspace_service_pb2.__file__).parents[2]
PROTOSET = PACKAGES.parent / "agentworkspace.protoset"
READ_ONLY = ("read only", "as ValidateToken")


def comments() -> dict[str, str]:
    """Full method name to what its comment says after `Idempotency:`."""
    said = {}
    for path in PACKAGES.glob("*/v1/*_service.proto"):
        package = service = idempotency = ""
        for line in path.read_text().splitlines():
            if found := re.match(r"package ([\w.]+);", line):
                package = found[1]
            elif found := re.match(r"service (\w+)", line):
                service = found[1]
            elif found := re.match(r"\s*// Idempotency: (.*)", line):
                idempotency = found[1]
            elif found := re.match(r"\s*rpc (\w+)\(", line):
                said[f"/{package}.{service}/{found[1]}"] = idempotency
    return said


def methods_that_take_a_request_id() -> set[str]:
    """Those that take one, and those that take several requests of which each has its own."""
    files = FileDescriptorSet.FromString(PROTOSET.read_bytes()).file
    fields = {
        f".{file.package}.{message.name}": message.field
        for file in files
        for message in file.message_type
    }
    with_one = {
        name for name, own in fields.items() if any(field.name == REQUEST_ID for field in own)
    }
    with_several = {
        name for name, own in fields.items() if any(field.type_name in with_one for field in own)
    }
    messages = with_one | with_several
    return {
        f"/{file.package}.{service.name}/{method.name}"
        for file in files
        for service in file.service
        for method in service.method
        if method.input_type in messages
    }


COMMENTS = comments()
TAKE_AN_ID = methods_that_take_a_request_id()


def test_the_methods_that_change_nothing_are_those_whose_comments_say_so() -> None:
    assert {name for name, said in COMMENTS.items() if said.startswith(READ_ONLY)} == (
        CHANGES_NOTHING
    )


def test_a_method_that_changes_nothing_has_nothing_to_remember() -> None:
    assert not CHANGES_NOTHING & TAKE_AN_ID


@pytest.mark.parametrize("method", sorted(COMMENTS))
def test_every_method_is_read_only_naturally_idempotent_or_takes_a_request_id(method: str) -> None:
    naturally = "naturally idempotent" in COMMENTS[method]
    assert [method in CHANGES_NOTHING, method in TAKE_AN_ID, naturally].count(True) == 1
