"""What holds for every method, found by its descriptor: nobody can forget to test a new one."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.rpc.errors import RpcFailure, failure_from
from agentworkspace.rpc.policy import Rule
from provision_service.api.policy import ADMIN as ADMIN_ONLY
from provision_service.api.policy import ANY_CALLER, ANYBODY, BOX, POLICY, SERVICES
from tests.rpc.provision_server import ADMIN, GLOBEX_ADMIN, LAUNCHER, VERIFIER, Running
from tests.rpc.registry_server import bearer
from tests.services import Pair

METHODS: Final = {
    f"/{service.full_name}/{method.name}": method
    for service in SERVICES
    for method in service.methods
}
EVERY = pytest.mark.parametrize("name", sorted(METHODS))
Code = grpc.StatusCode
LIMIT: Final = 2 * 1024 * 1024
JUNK: Final = bearer("awi_" + "A" * 49)
# Every field is optional in these: nothing in the message is an answerable question.
ANSWER_NOTHING: Final = {
    "ListWorkspaces",
    "ListProvisions",
    "PreviewBillingMode",
    "AuditSharedSecrets",
    "ListPlatformCredentials",
    "ListProviders",
    "ListRuntimes",
    "ListAuditEvents",
    "GetSystemInfo",
}


def call(
    running: Running, name: str, request: bytes, credential: Any = ADMIN, timeout: float = 10
) -> RpcFailure | None:
    """The failure of a call with these bytes; None when it is answered."""
    raw: Any = running.channel.unary_unary(name)
    try:
        raw(request, metadata=credential, timeout=timeout)
    except grpc.RpcError as error:
        return failure_from(error)
    return None


def refused(running: Running, name: str, request: bytes, credential: Any = ADMIN) -> RpcFailure:
    failure = call(running, name, request, credential)
    assert failure is not None
    assert failure.correlation_id
    return failure


def short(failure: RpcFailure) -> str:
    return failure.reason.removeprefix("ERROR_REASON_")


def with_ids(method: MethodDescriptor, text: str) -> Message:
    """The request with `text` in every field that names an id."""
    request = GetMessageClass(method.input_type)()
    for field in method.input_type.fields:
        if field.type == FieldDescriptor.TYPE_STRING and field.name.endswith("_id"):
            setattr(request, field.name, text)
    return request


def valid_bytes(method: MethodDescriptor) -> bytes:
    return with_ids(method, str(uuid.uuid4())).SerializeToString()


@EVERY
def test_without_a_credential_nothing_is_looked_at(pair: Pair, name: str) -> None:
    failure = refused(pair.provision, name, valid_bytes(METHODS[name]), None)
    assert (failure.code, short(failure)) == (Code.UNAUTHENTICATED, "CREDENTIAL_MISSING")


@EVERY
def test_a_junk_token_is_unauthenticated(pair: Pair, name: str) -> None:
    failure = refused(pair.provision, name, valid_bytes(METHODS[name]), JUNK)
    expected = "BEARER_REJECTED" if POLICY[name] is BOX else "CREDENTIAL_REJECTED"
    assert (failure.code, short(failure)) == (Code.UNAUTHENTICATED, expected)


@pytest.mark.parametrize(
    ("name", "credential"),
    [
        (name, credential)
        for name in sorted(METHODS)
        for credential in (VERIFIER, LAUNCHER)
        if POLICY[name] not in (ANY_CALLER, ANYBODY, BOX)
        and not (credential is LAUNCHER and POLICY[name] is not ADMIN_ONLY)
    ],
)
def test_a_caller_of_the_wrong_role_is_told_the_right_one(
    pair: Pair, name: str, credential: Any
) -> None:
    failure = refused(pair.provision, name, valid_bytes(METHODS[name]), credential)
    rule: Rule = POLICY[name]
    assert (failure.code, short(failure)) == (Code.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert failure.metadata["roles"] == ", ".join(sorted(rule.roles))


@pytest.mark.parametrize("name", [name for name in sorted(METHODS) if POLICY[name] is BOX])
def test_a_callers_secret_is_no_instance_token(pair: Pair, name: str) -> None:
    failure = refused(pair.provision, name, valid_bytes(METHODS[name]), ADMIN)
    assert (failure.code, short(failure)) == (Code.UNAUTHENTICATED, "BEARER_REJECTED")


@EVERY
@pytest.mark.parametrize("junk", [b"\xff", b"\x0a\xff\xff\xff\xff\x7f", b"not a message"])
def test_bytes_that_are_no_message_are_malformed(pair: Pair, name: str, junk: bytes) -> None:
    for credential in (ADMIN, None):
        failure = refused(pair.provision, name, junk, credential)
        assert (failure.code, short(failure)) == (Code.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in sorted(METHODS)
        if METHODS[name].input_type.fields_by_number.get(1) is not None
        and METHODS[name].input_type.fields_by_number[1].type == FieldDescriptor.TYPE_STRING
    ],
)
def test_a_text_that_is_not_utf8_is_malformed(pair: Pair, name: str) -> None:
    failure = refused(pair.provision, name, b"\x0a\x02\xc3\x28")
    assert (failure.code, short(failure)) == (Code.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


@EVERY
def test_what_is_over_the_limit_is_too_large_whatever_is_in_it(pair: Pair, name: str) -> None:
    for credential in (ADMIN, None):
        failure = refused(pair.provision, name, b"\x00" * (LIMIT + 1), credential)
        assert (failure.code, short(failure)) == (Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE")
        assert failure.metadata["limit_bytes"] == str(LIMIT)


@pytest.mark.parametrize(
    "name", [n for n in sorted(METHODS) if with_ids(METHODS[n], "x").ByteSize()]
)
def test_a_malformed_id_is_named(pair: Pair, name: str) -> None:
    request = with_ids(METHODS[name], "Not-an-id/../\x00")
    ids = [field.name for field, _ in request.ListFields()]
    failure = refused(pair.provision, name, request.SerializeToString())
    assert (failure.code, short(failure)) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert set(ids) <= {violation.field for violation in failure.violations}
    assert "Not-an-id" not in str(failure)


@EVERY
def test_an_empty_message_gets_an_answer_or_a_reason(pair: Pair, name: str) -> None:
    failure = call(pair.provision, name, b"")
    if METHODS[name].name in ANSWER_NOTHING:
        assert failure is None
    elif METHODS[name].name == "DeriveProvider":
        assert failure is not None
        assert (failure.code, short(failure)) == (Code.FAILED_PRECONDITION, "MODEL_REQUIRED")
    else:
        assert failure is not None
        assert (failure.code, short(failure)) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert failure.violations
        assert failure.metadata["fields"]


@EVERY
def test_fields_of_the_wrong_wire_type_are_never_a_fault(pair: Pair, name: str) -> None:
    """A number where a text belongs: protobuf keeps it as an unknown field, so it is absent."""
    numbers = b"".join(bytes([field.number << 3, 1]) for field in METHODS[name].input_type.fields)
    failure = call(pair.provision, name, numbers)
    if failure is not None:
        assert failure.code not in (Code.INTERNAL, Code.UNKNOWN), failure


@EVERY
def test_an_expired_deadline_is_said(pair: Pair, name: str) -> None:
    failure = call(pair.provision, name, valid_bytes(METHODS[name]), timeout=-1)
    assert failure is not None
    assert failure.code is Code.DEADLINE_EXCEEDED


@dataclass(frozen=True)
class Theirs:
    """What belongs to the tenant acme."""

    workspace_id: str
    provision_id: str


@pytest.fixture(scope="module")
def theirs(pair: Pair) -> Theirs:
    workspaces = pair.provision.workspaces
    created = workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="theirs", model="opus"),
            secrets={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-theirs-0123456789"},
        ),
        metadata=LAUNCHER,
    )
    launched = workspaces.ProvisionWorkspace(
        pb.ProvisionWorkspaceRequest(
            workspace_id=created.workspace.id, reason=provision_pb2.PROVISION_REASON_CREATE
        ),
        metadata=LAUNCHER,
    )
    return Theirs(created.workspace.id, launched.provision.id)


def _fill(method: MethodDescriptor, theirs: Theirs) -> Message:
    """A well-formed request about what is acme's."""
    request: Any = GetMessageClass(method.input_type)()
    known: dict[str, Any] = {
        "tenant_id": "acme",
        "workspace_id": theirs.workspace_id,
        "provision_id": theirs.provision_id,
        "key": "SOME_KEY",
        "value": "some-value",
        "name": "some-name",
        "text": "schema: 1",
        "reason": provision_pb2.PROVISION_REASON_RESTART,
        "outcome": provision_pb2.PROVISION_OUTCOME_SUCCEEDED,
    }
    for field in method.input_type.fields:
        if field.name in known:
            setattr(request, field.name, known[field.name])
    if "workspace" in method.input_type.fields_by_name:
        request.workspace.name = "renamed"
    if "update_mask" in method.input_type.fields_by_name:
        request.update_mask.paths.append("name")
    return request  # type: ignore[no-any-return]


def open_to_every_tenant(name: str) -> bool:
    return POLICY[name] in (ANY_CALLER, ANYBODY, BOX) or name.endswith("/PreviewBillingMode")


@pytest.mark.parametrize("name", [n for n in sorted(METHODS) if not open_to_every_tenant(n)])
def test_another_tenants_admin_is_forbidden_and_changes_nothing(
    pair: Pair, theirs: Theirs, name: str
) -> None:
    before = pair.provision.workspaces.GetWorkspace(
        pb.GetWorkspaceRequest(workspace_id=theirs.workspace_id), metadata=LAUNCHER
    )
    request = _fill(METHODS[name], theirs)
    failure = refused(pair.provision, name, request.SerializeToString(), GLOBEX_ADMIN)
    assert (failure.code, short(failure)) == (Code.PERMISSION_DENIED, "TENANT_FORBIDDEN")
    after = pair.provision.workspaces.GetWorkspace(
        pb.GetWorkspaceRequest(workspace_id=theirs.workspace_id), metadata=LAUNCHER
    )
    assert after == before


@pytest.mark.parametrize("name", [n for n in sorted(METHODS) if not open_to_every_tenant(n)])
def test_another_tenants_ids_cannot_be_told_from_unknown_ones(
    pair: Pair, theirs: Theirs, name: str
) -> None:
    nobodys = Theirs(str(uuid.uuid4()), str(uuid.uuid4()))
    known, unknown = (
        refused(pair.provision, name, _fill(METHODS[name], each).SerializeToString(), GLOBEX_ADMIN)
        for each in (theirs, nobodys)
    )
    assert (unknown.code, short(unknown)) == (known.code, short(known))
    assert unknown.message == known.message
    assert unknown.metadata.keys() == known.metadata.keys()


def test_an_unknown_method_is_unimplemented(pair: Pair) -> None:
    failure = call(pair.provision, "/agentworkspace.provision.v1.WorkspaceService/Sing", b"")
    assert failure is not None
    assert failure.code is Code.UNIMPLEMENTED
