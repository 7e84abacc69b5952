"""What fields may hold, where the database and its JSON are stricter than the wire."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from agentworkspace.core.caller import Caller
from agentworkspace.core.refusal import Refusal, SharedReason, Violation
from agentworkspace.registry.v1 import registration_service_pb2 as box
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from agentworkspace.rpc.calls import Call
from agentworkspace.server.request_fields import DEFAULT_PAGE, LARGEST_PAGE
from registry_service.api.parse import registration, workspaces
from registry_service.api.parse.fields import Fields
from registry_service.api.render.workspaces import _card
from registry_service.domain.standing import BootstrapPolicy

WORKSPACE = "0b6ae4a6-6c0b-4ee7-9d0a-1f6b8f2f5a11"
CALL = Call("/agentworkspace.registry.v1.RegistrationService/Register", "test-1")
LAUNCHER = Call(
    "/agentworkspace.registry.v1.WorkspaceRegistryService/BatchAdmitWorkspaces",
    "test-1",
    caller=Caller("control-plane", frozenset({"launcher"}), None),
)


def register(**fields: Any) -> Any:
    return registration.register(
        box.RegisterRequest(**{"workspace_id": WORKSPACE, **fields}),
        CALL,
        policy=BootstrapPolicy.ADAPTIVE,
    )


def fields_refused(**fields: Any) -> list[str]:
    with pytest.raises(Refusal) as caught:
        register(**fields)
    assert caught.value.reason is SharedReason.INVALID_REQUEST
    return [each.field for each in caught.value.violations]


def struct(**values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made


def test_every_violation_is_listed_at_once() -> None:
    assert fields_refused(
        workspace_id="x",
        token_sha256="y",
        request_id="z",
        url="ftp://a",
        delivery_mode="pigeon",
        runtime="r" * 101,
        runtime_version="\0",
    ) == [
        "workspace_id",
        "token_sha256",
        "request_id",
        "url",
        "delivery_mode",
        "runtime",
        "runtime_version",
    ]


def test_absent_fields_are_absent() -> None:
    command = register()
    assert command.bearer is None
    assert command.ticket is None
    assert command.token_sha256 is None
    assert command.request_id is None
    assert command.agent_card is None


def test_an_empty_card_is_a_card() -> None:
    assert register(agent_card=Struct()).agent_card == {}


def test_a_card_comes_back_as_it_was() -> None:
    card = struct(
        name="a", count=3, ratio=0.5, on=True, nothing=None, deep={"list": [1, "x", {"y": []}]}
    )
    kept = register(agent_card=card).agent_card
    assert kept == {
        "name": "a",
        "count": 3,
        "ratio": 0.5,
        "on": True,
        "nothing": None,
        "deep": {"list": [1, "x", {"y": []}]},
    }
    assert _card(kept) == card


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_is_refused(number: float) -> None:
    assert fields_refused(agent_card=struct(bad=[number])) == ["agent_card"]


@pytest.mark.parametrize("card", [struct(**{"a\0": 1}), struct(a={"b": ["c\0"]})])
def test_a_nul_anywhere_in_a_card_is_refused(card: Struct) -> None:
    assert fields_refused(agent_card=card) == ["agent_card"]


def test_a_card_that_is_too_deep_or_too_large_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(30):
        deep = {"d": deep}
    assert fields_refused(agent_card=struct(**deep)) == ["agent_card"]
    assert fields_refused(agent_card=struct(big="x" * 70_000)) == ["agent_card"]


def test_a_value_without_a_kind_is_null() -> None:
    card = Struct()
    card.fields["empty"].SetInParent()
    assert register(agent_card=card).agent_card == {"empty": None}


@pytest.mark.parametrize(
    ("asked", "given"),
    [(0, DEFAULT_PAGE), (1, 1), (200, 200), (201, LARGEST_PAGE), (2**31 - 1, 200)],
)
def test_a_page_is_cut_to_size(asked: int, given: int) -> None:
    fields = Fields()
    assert fields.page_size(asked) == given
    fields.finish(None)


def test_a_negative_page_is_refused() -> None:
    fields = Fields()
    fields.page_size(-1)
    with pytest.raises(Refusal):
        fields.finish(None)


def test_a_batch_is_not_told_how_its_workspaces_stand() -> None:
    one = pb.AdmitWorkspaceRequest(workspace_id=WORKSPACE, tenant_id="acme")
    (command,) = workspaces.batch_admit_workspaces(
        pb.BatchAdmitWorkspacesRequest(requests=[one]), LAUNCHER
    )
    assert not command.with_registration
    assert workspaces.admit_workspace(one, LAUNCHER).with_registration


def test_launches_of_a_batch_without_a_request_id_get_one_each() -> None:
    ids = iter(["first", "second"])
    commands = workspaces.batch_begin_incarnations(
        pb.BatchBeginIncarnationsRequest(
            requests=[pb.BeginIncarnationRequest(workspace_id=WORKSPACE)] * 2
        ),
        LAUNCHER,
        new_id=lambda: next(ids),
    )
    assert [command.request_id for command in commands] == ["first", "second"]


def test_what_is_wrong_with_a_part_is_refused_with_the_rest_and_under_its_path() -> None:
    fields = Fields()
    fields.refuse("whole", "is wrong")
    part = fields.within("parts[1].")
    part.refuse("field", "is wrong")
    part.within("inner.").refuse_all([Violation("deep", "is wrong, too")])
    with pytest.raises(Refusal) as caught:
        fields.finish(None)
    assert caught.value.violations == (
        Violation("whole", "is wrong"),
        Violation("parts[1].field", "is wrong"),
        Violation("parts[1].inner.deep", "is wrong, too"),
    )
