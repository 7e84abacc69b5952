"""Every method has one line that says who may call it, and the line says what its comment says."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from agentworkspace.provision.v1 import workspace_service_pb2
from agentworkspace.rpc.policy import INFRASTRUCTURE, Rule, require_total
from provision_service.api.policy import ADMIN, ANYBODY, BOX, LAUNCHER, POLICY, SERVICES

DIRECTORY = Path(workspace_service_pb2.__file__).parent
PROTOSET = DIRECTORY.parents[2] / "agentworkspace.protoset"
COMMENT_OF = {
    "launcher": LAUNCHER,
    "admin": ADMIN,
    "admin of all tenants": ADMIN,
    "the box": BOX,
    "anybody who is authenticated": ANYBODY,
}


def methods_of_the_protoset() -> set[str]:
    files = FileDescriptorSet.FromString(PROTOSET.read_bytes())
    return {
        f"/{file.package}.{service.name}/{method.name}"
        for file in files.file
        if file.package == "agentworkspace.provision.v1"
        for service in file.service
        for method in service.method
    }


def commented_callers() -> dict[str, str]:
    """Method name to the first words after `Caller:` in its comment."""
    found = {}
    for path in DIRECTORY.glob("*_service.proto"):
        caller = ""
        for line in path.read_text().splitlines():
            said = re.match(r"\s*// Caller: ([^,;.]+)", line)
            if said is not None:
                caller = said[1]
            method = re.match(r"\s*rpc (\w+)\(", line)
            if method is not None:
                found[method[1]] = caller
    return found


def test_every_method_that_reflection_shows_has_a_line() -> None:
    require_total(POLICY, SERVICES)
    assert methods_of_the_protoset() == set(POLICY) - set(INFRASTRUCTURE)


def test_health_and_reflection_have_a_line_too() -> None:
    assert POLICY["/grpc.health.v1.Health/Check"].public
    assert POLICY["/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"].public


def test_the_line_is_what_the_comment_of_the_method_promises() -> None:
    expected: dict[str, Rule] = {
        method: COMMENT_OF[caller] for method, caller in commented_callers().items()
    }
    lines = {name.rpartition("/")[2]: rule for name, rule in POLICY.items()}
    assert {method: lines[method] for method in expected} == expected


def test_nothing_of_the_service_is_public() -> None:
    assert not [name for name in POLICY if name not in INFRASTRUCTURE and POLICY[name].public]


def test_boxes_and_readers_of_the_catalogue_wait_in_queues_of_their_own() -> None:
    crowds = {name.rpartition("/")[2] for name, rule in POLICY.items() if rule.crowd}
    catalogue = {"ListProviders", "ListRuntimes", "ListModels", "DeriveProvider"}
    assert crowds == catalogue | {"GetSecretValues"}
