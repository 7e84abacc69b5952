"""Whatever is wrong with a call, it gets the right code and reason, and nothing is stored.

Every test runs for every method of the package, found by reflection.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import psycopg2
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as workspaces
from tests.rpc.registry_requests import (
    BATCHES,
    BOX_METHODS,
    METHODS,
    REQUESTS,
    STREAMING,
    Failed,
    call,
    failed,
    rightful,
    short,
)
from tests.rpc.registry_server import LAUNCHER, Running, bearer, secret_of, serving

StatusCode = grpc.StatusCode
FOR_ANY_CALLER = {"GetSystemInfo"}
# There is no field in their requests.
EMPTY = {"WhoAmI", "WatchRevocations", *FOR_ANY_CALLER}
NOTHING_REQUIRED = {"ListRegistrations", "ListAuditEvents", *EMPTY}
# They answer for a workspace of another tenant as for none.
ANSWER_FOR_NONE = BATCHES | {"ValidateToken"}
JUNK = "awi_" + "A" * 43 + "000000"


def fields_of(method: str, *types: int) -> list[Any]:
    """The fields of the method's request that are of one of these types."""
    request: Message = REQUESTS[short(method)](str(uuid.uuid4()), str(uuid.uuid4()))
    return [each for each in request.DESCRIPTOR.fields if each.type in types]


def innermost(method: str, request: Any) -> tuple[str, Any]:
    """The request itself, or the first of a batch, and its path."""
    return ("requests[0].", request.requests[0]) if short(method) in BATCHES else ("", request)


def every(but: Iterable[str] = (), *, having: int | None = None) -> pytest.MarkDecorator:
    """Runs the test for every method but these, or for those with a field of this type."""
    chosen = [each for each in METHODS if short(each) not in set(but)]
    if having is not None:
        chosen = [each for each in chosen if fields_of(each, having)]
    return pytest.mark.parametrize("method", chosen, ids=short)


@pytest.fixture(scope="module")
def running(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("registry")) as running:
        yield running


class Known:
    """A workspace of tenant acme with one api token."""

    def __init__(self, running: Running) -> None:
        self.workspace_id = str(uuid.uuid4())
        admitted = running.workspaces.AdmitWorkspace(
            workspaces.AdmitWorkspaceRequest(
                workspace_id=self.workspace_id,
                tenant_id="acme",
                request_id=str(uuid.uuid4()),
                first_token=workspaces.FirstToken(label="first"),
            ),
            metadata=LAUNCHER,
            timeout=10,
        )
        self.token_id: str = admitted.issued.token.token_id
        self.token: str = admitted.issued.plaintext

    def request(self, method: str) -> Any:
        return REQUESTS[short(method)](self.workspace_id, self.token_id)


@pytest.fixture(scope="module")
def known(running: Running) -> Known:
    return Known(running)


@pytest.fixture(autouse=True)
def stored(registry_database_of_module: str, known: Known) -> Iterator[None]:
    """Nothing that this module does may change a row of these tables."""
    before = contents(registry_database_of_module)
    yield
    assert contents(registry_database_of_module) == before


def contents(url: str) -> dict[str, Any]:
    """What every table holds; the pulse beats on, and what strangers do is counted behind: refused
    registers, and unknown credentials in the audit.
    """
    dsn = url.replace("postgresql+psycopg2://", "postgresql://", 1)
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name FROM information_schema.tables"
                " WHERE table_schema = 'registry' AND table_name NOT IN ('pulse', 'registrations')"
            )
            strangers = {
                "audit_events": " WHERE action <> 'credential.rejected'",
                "audit_seals": " WHERE false",
            }
            found: dict[str, Any] = {}
            for (table,) in cursor.fetchall():
                cursor.execute(
                    f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text))"  # noqa: S608 - names from the catalogue
                    f" FROM registry.{table} AS t{strangers.get(table, '')}"
                )
                found[table] = cursor.fetchone()
            return found
    finally:
        connection.close()


def checked(failure: Failed) -> Failed:
    """What holds for every failure, whatever it is."""
    assert failure.code not in (StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.OK)
    assert failure.domain == "agentworkspace.registry"
    assert failure.trailing["agentworkspace-reason"] == f"ERROR_REASON_{failure.reason}"
    assert failure.trailing["agentworkspace-recovery"] == failure.recovery
    assert failure.trailing["agentworkspace-correlation-id"]
    assert failure.recovery in {"REGISTER", "RETRY", "RELAUNCH", "STOP", "FIX_REQUEST"}
    retryable = failure.code in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED)
    assert not retryable or failure.retry_seconds is not None
    return failure


def fails(running: Running, method: str, request: Any, metadata: Any) -> Failed:
    return checked(failed(lambda: call(running.channel, method, request, metadata)))


@every(but=EMPTY)
def test_every_malformed_id_is_named(running: Running, known: Known, method: str) -> None:
    request = known.request(method)
    path, part = innermost(method, request)
    ids = [field.name for field in part.DESCRIPTOR.fields if field.name.endswith("_id")]
    for name in ids:
        setattr(part, name, "Not An Id")
    wrong = {path + name for name in ids}
    failure = fails(running, method, request, rightful(method))
    assert failure.code is StatusCode.INVALID_ARGUMENT
    assert failure.reason == "INVALID_REQUEST"
    assert set(failure.fields) == wrong
    assert set(failure.info["fields"].split(", ")) == wrong


def test_a_list_of_workspaces_is_short_and_names_the_malformed(running: Running) -> None:
    (method,) = (each for each in METHODS if short(each) == "ListRegistrations")
    fine = str(uuid.uuid4())
    request = workspaces.ListRegistrationsRequest(workspace_ids=[fine, "not-an-id", fine.upper()])
    failure = fails(running, method, request, rightful(method))
    assert failure.fields == ["workspace_ids[1]", "workspace_ids[2]"]
    request = workspaces.ListRegistrationsRequest(workspace_ids=[fine] * 201)
    assert fails(running, method, request, rightful(method)).fields == ["workspace_ids"]


@every(but=EMPTY | {"ListRegistrations"})
def test_an_id_in_capitals_is_not_canonical(running: Running, known: Known, method: str) -> None:
    request = known.request(method)
    path, part = innermost(method, request)
    part.workspace_id = known.workspace_id.upper()
    assert fails(running, method, request, rightful(method)).fields == [f"{path}workspace_id"]


@every()
def test_bytes_that_are_no_message(running: Running, known: Known, method: str) -> None:
    failure = fails(running, method, b"\xff\xff\xff\xff", rightful(method))
    assert failure.code is StatusCode.INVALID_ARGUMENT
    assert failure.reason == "MALFORMED_MESSAGE"


@every(having=FieldDescriptor.TYPE_STRING)
def test_text_that_is_no_utf8(running: Running, known: Known, method: str) -> None:
    text = fields_of(method, FieldDescriptor.TYPE_STRING)[0]
    tag = bytes([text.number << 3 | 2])
    failure = fails(running, method, tag + b"\x02\xff\xfe", rightful(method))
    assert failure.reason == "MALFORMED_MESSAGE"


@every(but=NOTHING_REQUIRED)
def test_a_field_of_the_wrong_type_is_a_field_that_is_missing(
    running: Running, known: Known, method: str
) -> None:
    # Field 1 of every request is text or a message; here it comes as a number.
    failure = fails(running, method, b"\x08\x07", rightful(method))
    assert failure.code is StatusCode.INVALID_ARGUMENT
    assert failure.reason == "INVALID_REQUEST"


@every()
def test_an_empty_message(running: Running, known: Known, method: str) -> None:
    if short(method) in NOTHING_REQUIRED - {"WhoAmI"}:
        call(running.channel, method, b"", rightful(method))
        return
    failure = fails(running, method, b"", rightful(method))
    if short(method) == "WhoAmI":
        assert (failure.code, failure.reason) == (StatusCode.UNAUTHENTICATED, "BEARER_MISSING")
    else:
        assert (failure.code, failure.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


@every()
def test_a_message_over_the_limit(running: Running, known: Known, method: str) -> None:
    # Field 15 is unknown everywhere: a message that is right but for its size.
    filler = b"\x7a\x80\x80\x18" + b"x" * (384 * 1024)
    failure = fails(running, method, filler, rightful(method))
    assert failure.code is StatusCode.INVALID_ARGUMENT
    assert failure.reason == "REQUEST_TOO_LARGE"


@every()
def test_ten_megabytes_are_not_even_read(running: Running, known: Known, method: str) -> None:
    size = b"x" * (10 * 1024 * 1024)
    failure = failed(lambda: call(running.channel, method, size, rightful(method)))
    assert failure.code is StatusCode.RESOURCE_EXHAUSTED
    assert failure.reason == ""


# A box may come with nothing: the admission table answers.
@every(but={"Register"})
def test_no_credential(running: Running, known: Known, method: str) -> None:
    failure = fails(running, method, known.request(method), ())
    assert failure.code is StatusCode.UNAUTHENTICATED
    of_box = short(method) in BOX_METHODS
    assert failure.reason == ("BEARER_MISSING" if of_box else "CREDENTIAL_MISSING")


# For Register junk is no evidence, and the admission table answers.
@pytest.mark.parametrize("junk", [JUNK, "junk", "awa_x", "Basic dXNlcg=="])
@every(but={"Register"})
def test_a_junk_token(running: Running, known: Known, method: str, junk: str) -> None:
    failure = fails(running, method, known.request(method), bearer(junk))
    assert failure.code is StatusCode.UNAUTHENTICATED
    of_box = short(method) in BOX_METHODS
    assert failure.reason == ("BEARER_REJECTED" if of_box else "CREDENTIAL_REJECTED")


@every(but=BOX_METHODS | FOR_ANY_CALLER)
def test_the_wrong_role(running: Running, known: Known, method: str) -> None:
    wrong = "control-plane" if rightful(method)[0][1].endswith("gateway-secret") else "gateway"
    failure = fails(running, method, known.request(method), bearer(secret_of(wrong)))
    assert failure.code is StatusCode.PERMISSION_DENIED
    assert failure.reason == "ROLE_REQUIRED"


@pytest.mark.parametrize("name", sorted(BOX_METHODS - {"Register"}))
def test_a_callers_credential_is_no_token_of_a_box(
    running: Running, known: Known, name: str
) -> None:
    method = f"/agentworkspace.registry.v1.RegistrationService/{name}"
    failure = fails(running, method, known.request(method), LAUNCHER)
    assert failure.code is StatusCode.UNAUTHENTICATED
    assert failure.reason == "BEARER_REJECTED"


def foreign(method: str) -> Any:
    """The rightful role, but of a caller who may act for another tenant only."""
    role = rightful(method)[0][1].removeprefix("Bearer ").removesuffix("-secret")
    return bearer(secret_of(f"globex-{role}"))


@every(but=BOX_METHODS | STREAMING | ANSWER_FOR_NONE | FOR_ANY_CALLER)
def test_another_tenants_credential(running: Running, known: Known, method: str) -> None:
    failure = fails(running, method, known.request(method), foreign(method))
    assert failure.code is StatusCode.PERMISSION_DENIED
    assert failure.reason == "TENANT_FORBIDDEN"


@every(but=BOX_METHODS | STREAMING | ANSWER_FOR_NONE | FOR_ANY_CALLER)
def test_another_tenants_ids_cannot_be_told_from_unknown_ones(
    running: Running, known: Known, method: str
) -> None:
    nobodys = REQUESTS[short(method)](str(uuid.uuid4()), str(uuid.uuid4()))
    theirs = fails(running, method, known.request(method), foreign(method))
    unknown = fails(running, method, nobodys, foreign(method))
    told = (unknown.code, unknown.reason, unknown.message)
    assert told == (theirs.code, theirs.reason, theirs.message)


def test_a_verifier_of_another_tenant_sees_a_live_token_as_invalid(
    running: Running, known: Known
) -> None:
    request = tokens.ValidateTokenRequest(token=known.token, any_workspace=True)
    stranger = running.tokens.ValidateToken(
        request, metadata=bearer(secret_of("globex-gateway")), timeout=10
    )
    assert stranger.rejection.reason == tokens.REJECTION_REASON_TOKEN_INVALID


@every()
def test_a_deadline_that_has_passed(running: Running, known: Known, method: str) -> None:
    request = known.request(method)
    failure = failed(lambda: call(running.channel, method, request, rightful(method), timeout=-1))
    assert failure.code is StatusCode.DEADLINE_EXCEEDED


@every(having=FieldDescriptor.TYPE_ENUM)
def test_a_number_that_is_no_word_of_its_enum(running: Running, known: Known, method: str) -> None:
    request = known.request(method)
    enums = fields_of(method, FieldDescriptor.TYPE_ENUM)
    for each in enums:
        if each.is_repeated:
            getattr(request, each.name).append(77)
        else:
            setattr(request, each.name, 77)
    failure = fails(running, method, request, rightful(method))
    assert {field.partition("[")[0] for field in failure.fields} == {each.name for each in enums}


@every(having=FieldDescriptor.TYPE_STRING)
def test_a_nul_character_in_any_text_is_refused_before_the_database(
    running: Running, known: Known, method: str
) -> None:
    request = known.request(method)
    _, part = innermost(method, request)
    for each in part.DESCRIPTOR.fields:
        if each.type == each.TYPE_STRING and not each.is_repeated and each.name != "token":
            setattr(part, each.name, "a\0b")
    failure = failed(lambda: call(running.channel, method, request, rightful(method)))
    assert failure.code in (StatusCode.INVALID_ARGUMENT, StatusCode.UNAUTHENTICATED)


def test_an_unknown_method_and_an_unknown_service(running: Running, known: Known) -> None:
    for method in ("/agentworkspace.registry.v1.TokenService/Forge", "/nowhere.Service/Method"):
        failure = failed(lambda method=method: call(running.channel, method, b"", LAUNCHER))  # type: ignore[misc]
        assert failure.code is StatusCode.UNIMPLEMENTED
