"""What is only looked at: who am I, what is wrong, what happens, why; and in which form."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any
from unittest import mock

import grpc
import pytest
import yaml
from typing_extensions import override

from agentworkspace.core.installation import package_version
from agentworkspace.core.refusal import Recovery
from agentworkspace.ctl.main import main
from agentworkspace.ctl.next_steps import BY_REASON, BY_RECOVERY
from agentworkspace.provision.v1 import (
    billing_service_pb2,
    error_reason_pb2,
    provision_pb2,
    resolution_pb2,
    workspace_pb2,
)
from agentworkspace.provision.v1 import system_service_pb2 as provision_system
from agentworkspace.provision.v1 import workspace_service_pb2 as provision
from agentworkspace.registry.v1 import system_service_pb2 as registry_system
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as registry
from agentworkspace.rpc.errors import RpcFailure
from tests.rpc.test_workspacectl_connection import part_of
from tests.rpc.workspacectl_pair import (
    LAUNCH,
    PROVISION,
    REGISTRY,
    WORKSPACE,
    Pair,
    Result,
    run,
    running_pair,
    set_serving,
)

SCRIBE = workspace_pb2.Workspace(id=WORKSPACE, tenant_id="acme", name="scribe")


def info(kind: Any, caller: Any, **fields: Any) -> Any:
    made = kind(
        version=package_version(),
        schema_revision="0002",
        wanted_schema_revision="0002",
        caller=caller(name="operator", roles=["admin"], all_tenants=True),
    )
    made.process_time.GetCurrentTime()
    made.database_time.GetCurrentTime()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def of_registry(**fields: Any) -> Any:
    return info(registry_system.GetSystemInfoResponse, registry_system.CallerInfo, **fields)


def of_provision(pair: Pair, **fields: Any) -> Any:
    told = {"box_registry_address": pair.registry.address, "secrets_key_id": "k1", **fields}
    return info(provision_system.GetSystemInfoResponse, provision_system.CallerInfo, **told)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        for script, modules in ((found.registry, REGISTRY), (found.provision, PROVISION)):
            set_serving(script, "", *(part_of(module.__name__) for module in modules))
        found.registry.on("GetSystemInfo", of_registry())
        found.provision.on("GetSystemInfo", of_provision(found))
        yield found


def test_whoami_asks_both_services(pair: Pair) -> None:
    result = pair.run("whoami")

    assert result.code == 0
    assert "registry operator admin all" in result.lines
    assert "provision operator admin all" in result.lines
    assert pair.run("whoami", "-o", "name").out == "operator\n"


def test_whoami_shows_whoever_does_not_know_the_credential(pair: Pair) -> None:
    stranger = RpcFailure(
        grpc.StatusCode.UNAUTHENTICATED,
        "agentworkspace.provision",
        "ERROR_REASON_CREDENTIAL_REJECTED",
        "unknown",
    )
    pair.provision.on("GetSystemInfo", stranger)

    result = pair.run("whoami")

    assert result.code == 1
    assert "registry operator admin all" in result.lines
    assert "provision - - - CREDENTIAL_REJECTED" in result.lines


def findings(result: Result) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (each["service"], each["what"]): (each["state"], each["found"])
        for each in result.document["findings"]
    }


def test_a_sound_installation_gives_the_doctor_nothing_to_say(pair: Pair) -> None:
    result = pair.run("doctor", "--json")

    assert result.code == 0
    assert {state for state, _ in findings(result).values()} == {"ok"}
    assert findings(result)["provision", "keys"] == ("ok", "writes with k1")
    assert result.err == "note: 17 things looked at: 0 wrong, 0 to look at\n"


def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(pair: Pair) -> None:
    older = of_registry(schema_revision="0001", version="0.0.9")
    older.database_time.FromSeconds(older.database_time.seconds - 3600)
    pair.registry.on("GetSystemInfo", older)
    blind = of_provision(
        pair, registry_fault="the registry refuses it", box_registry_address="127.0.0.1:1"
    )
    pair.provision.on("GetSystemInfo", blind)

    result = pair.run("doctor", "--json")
    told = pair.run("doctor").out

    found = findings(result)
    assert result.code == 1
    assert found["registry", "migrations"][0] == "wrong"
    assert "run: registry-service migrate" in told
    assert found["registry", "version"] == ("look", f"0.0.9; this tool is {package_version()}")
    assert found["registry", "database clock"][0] == "look"
    assert "let NTP set all clocks" in told
    assert found["provision", "its registry"] == ("wrong", "the registry refuses it")
    assert "see PROVISION_REGISTRY_ADDRESS and PROVISION_REGISTRY_TOKEN_FILE" in told
    assert found["box", "registry"][0] == "look"
    assert "set PROVISION_BOX_REGISTRY_ADDRESS as boxes see it" in told
    assert found["both", "version"][0] == "look"


def test_the_doctor_tells_a_service_that_is_down_from_one_at_the_wrong_address(pair: Pair) -> None:
    down = run("--registry", "127.0.0.1:1", "--provision", pair.registry.address, "doctor")

    assert down.code == 4
    assert (
        "registry address wrong nothing listens at 127.0.0.1:1 (Connection refused)" in down.lines
    )
    assert "provision health wrong this is the registry service" in down.lines


def launch(state: Any) -> provision_pb2.Provision:
    return provision_pb2.Provision(id=LAUNCH, workspace_id=WORKSPACE, incarnation=4, state=state)


def test_watch_tells_each_state_that_a_launch_comes_to(pair: Pair) -> None:
    delivered, launched = (
        provision.ListProvisionsResponse(provisions=[launch(state)])
        for state in (
            provision_pb2.PROVISION_STATE_ENV_DELIVERED,
            provision_pb2.PROVISION_STATE_LAUNCHED,
        )
    )
    pair.provision.on("ListProvisions", delivered, delivered, launched)

    result = pair.run("watch", "launches", "--events", "2", "--interval", "0.01", "--json")

    assert [json.loads(line)["state"] for line in result.out.splitlines()] == [
        "PROVISION_STATE_ENV_DELIVERED",
        "PROVISION_STATE_LAUNCHED",
    ]


def test_watch_tells_who_needs_a_launch_and_who_no_longer_does(pair: Pair) -> None:
    need = workspace_pb2.NeedsLaunch(reason=workspace_pb2.NEEDS_LAUNCH_REASON_SILENT)
    waiting = workspace_pb2.Workspace(
        id=WORKSPACE, tenant_id="acme", name="scribe", needs_launch=need
    )
    nobody = provision.ListWorkspacesResponse()
    somebody = provision.ListWorkspacesResponse(workspaces=[waiting])
    pair.provision.on("ListWorkspaces", nobody, somebody, nobody)

    result = pair.run("watch", "needs-launch", "--events", "2", "--interval", "0.01")

    assert [line.split()[1:6] for line in result.lines[1:]] == [
        ["needed", "acme", "scribe", "6b2f3c1e-52c4", "SILENT"],
        ["settled", "acme", "scribe", "6b2f3c1e-52c4", "SILENT"],
    ]


def test_watch_goes_on_when_a_service_was_away(pair: Pair) -> None:
    away = RpcFailure(grpc.StatusCode.UNAVAILABLE, "", "", "gone")
    found = provision.ListProvisionsResponse(
        provisions=[launch(provision_pb2.PROVISION_STATE_PROVEN)]
    )
    pair.provision.on("ListProvisions", *[away] * 40, found)

    words = ("--timeout", "0.2", "watch", "launches", "--events", "1", "--interval", "0.01")
    result = pair.run(*words)

    assert result.code == 0
    assert "PROVEN" in result.out
    assert result.err.count("trying on") == 1


def test_a_watch_that_is_refused_ends(pair: Pair) -> None:
    refused = RpcFailure(
        grpc.StatusCode.PERMISSION_DENIED, "d", "ERROR_REASON_ROLE_REQUIRED", "needs launcher"
    )
    pair.provision.on("ListProvisions", refused)

    assert pair.run("watch", "launches").code == 1


def test_explain_needs_nobody_and_takes_a_reason_as_it_is_written_anywhere() -> None:
    step = (
        "next step use the credential of a caller of this tenant; `workspacectl whoami` shows yours"
    )
    for word in ("tenant-forbidden", "ERROR_REASON_TENANT_FORBIDDEN"):
        result = run("--registry", "127.0.0.1:1", "explain", word)
        assert result.lines == [
            "TENANT_FORBIDDEN",
            "raised by registry, provision",
            "status code PERMISSION_DENIED",
            "meaning The caller may not act for that tenant.",
            "comes with tenant_id=acme",
            step,
        ]


def test_explain_knows_every_reason_of_both_contracts() -> None:
    named = {each.name.removeprefix("ERROR_REASON_") for each in all_reasons() if each.number}

    assert set(run("explain", "-o", "name").out.split()) == named


def all_reasons() -> list[Any]:
    from agentworkspace.registry.v1 import error_reason_pb2 as of_registry  # noqa: PLC0415

    both = (error_reason_pb2.ErrorReason, of_registry.ErrorReason)
    return [each for enum in both for each in enum.DESCRIPTOR.values]


def test_next_steps_are_told_for_reasons_that_there_are() -> None:
    named = {each.name.removeprefix("ERROR_REASON_") for each in all_reasons()}

    assert set(BY_REASON) <= named
    assert set(BY_RECOVERY) == set(Recovery)


def test_explain_suggests_the_reason_that_was_meant() -> None:
    result = run("explain", "TENANT_FORBIDEN")

    assert result.code == 2
    assert "did you mean TENANT_FORBIDDEN?" in result.err


def test_why_is_a_tree_from_the_payer_down_to_what_was_looked_at(pair: Pair) -> None:
    pair.provision.on("GetWorkspace", provision.GetWorkspaceResponse(workspace=SCRIBE))
    resolution = resolution_pb2.Resolution(
        resolved_mode="byok",
        provider_selection="minimax",
        refusal=error_reason_pb2.ERROR_REASON_MISSING_BYOK_CREDENTIAL,
        refusal_message="add MINIMAX_API_KEY",
        steps=[
            resolution_pb2.Step(rule="mode.override", text="no override is stored"),
            resolution_pb2.Step(
                rule="mode.derived_vendor", fired=True, inputs=["minimax"], text="the tenant pays"
            ),
        ],
    )
    pair.provision.on(
        "ResolveBillingMode", billing_service_pb2.ResolveBillingModeResponse(resolution=resolution)
    )

    assert pair.run("billing", "why", WORKSPACE).out.splitlines() == [
        "acme/scribe resolves as byok through minimax",
        "├── a launch would be refused: MISSING_BYOK_CREDENTIAL",
        "│   └── add MINIMAX_API_KEY",
        "├── payer",
        "│   └── mode.derived_vendor: the tenant pays (minimax)",
        "└── rules that decided nothing here",
        "    └── mode.override: no override is stored",
    ]


@pytest.fixture
def tokens(pair: Pair) -> Pair:
    found = token_pb2.Token(token_id=LAUNCH, label="a label of many words " * 5)
    pair.registry.on("ListTokens", registry.ListTokensResponse(tokens=[found]))
    return pair


def test_names_json_and_yaml_say_the_same(tokens: Pair) -> None:
    words = ("tokens", "list", WORKSPACE)

    assert tokens.run(*words, "-o", "name").out == f"{LAUNCH}\n"
    document = tokens.run(*words, "-o", "json").document
    assert yaml.safe_load(tokens.run(*words, "-o", "yaml").out) == document
    assert document == tokens.run(*words, "--json").document


def test_wide_shows_whole_ids_and_every_column(tokens: Pair) -> None:
    narrow, wide = (
        tokens.run("tokens", "list", WORKSPACE, "-o", form).out for form in ("table", "wide")
    )

    assert LAUNCH[:13] in narrow
    assert LAUNCH not in narrow
    assert LAUNCH in wide
    assert "SCOPES" in wide
    assert "SCOPES" not in narrow


class Screen(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_colour", [False, True])
def test_a_terminal_gives_the_width_and_no_color_is_heard(tokens: Pair, no_colour: bool) -> None:
    screen = Screen()
    environment = {"COLUMNS": "70", "TERM": "xterm"} | ({"NO_COLOR": "1"} if no_colour else {})
    words = ["--registry", tokens.registry.address, "health", "registry"]
    with mock.patch.dict(os.environ, environment), redirect_stdout(screen):
        main(words)
        main([*words[:2], "tokens", "list", WORKSPACE])

    shown = screen.getvalue()
    assert ("\x1b[32m" in shown) is not no_colour
    plain = [line for line in shown.splitlines() if "\x1b" not in line]
    assert max(map(len, plain)) <= 70
    assert sys.stdout is not screen


def test_a_pipe_is_plain_and_unbroken(tokens: Pair) -> None:
    result = tokens.run("tokens", "list", WORKSPACE)

    assert "\x1b" not in result.out
    assert len(result.out.splitlines()) == 2
