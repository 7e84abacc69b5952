"""`registrations` and `audit`; and what the tool may need of the machine it runs on."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agentworkspace.ctl import main as command
from agentworkspace.provision.v1 import audit_service_pb2 as provision_audit
from agentworkspace.registry.v1 import audit_service_pb2 as registry_audit
from agentworkspace.registry.v1 import error_reason_pb2, registration_service_pb2, token_pb2
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as messages
from tests.rpc.workspacectl_pair import WORKSPACE, Pair, at, running_pair

REGISTRATION = messages.Registration(
    workspace_id=WORKSPACE,
    tenant_id="acme",
    state=messages.REGISTRATION_STATE_OFFLINE,
    incarnation=3,
    fence=messages.FENCE_COMPROMISED,
    needs_relaunch=True,
    relaunch_reason=messages.RELAUNCH_REASON_SILENT,
    last_heartbeat_time=at("2026-01-02T03:04:05Z"),
    rejected_registers=messages.RejectedRegisters(
        count=17, last_reason=error_reason_pb2.ERROR_REASON_TICKET_REQUIRED
    ),
)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        yield found


def test_list_shows_who_is_locked_out(pair: Pair) -> None:
    response = messages.ListRegistrationsResponse(registrations=[REGISTRATION])
    pair.registry.on("ListRegistrations", response)

    result = pair.run("registrations", "list", "--state", "offline", "--needs-relaunch")

    assert result.lines[1] == (
        "6b2f3c1e-52c4 acme OFFLINE 3 2026-01-02 03:04:05Z COMPROMISED SILENT 17"
    )
    request = pair.registry.only(messages.ListRegistrationsRequest)
    assert request == messages.ListRegistrationsRequest(
        state=messages.REGISTRATION_STATE_OFFLINE, needs_relaunch=True, page_size=50
    )


def test_get_shows_what_a_box_says_of_itself_without_letting_it_act(pair: Pair) -> None:
    registration = messages.Registration(sample_error="\x1b]0;owned\x07\nnext")
    registration.agent_card.update({"name": "scribe\x1b[31m"})
    response = messages.GetRegistrationResponse(registration=registration)
    pair.registry.on("GetRegistration", response)

    result = pair.run("registrations", "get", WORKSPACE)

    assert "\x1b" not in result.out
    assert r"sample error \x1b]0;owned\x07\nnext" in result.lines


def test_diagnose_says_what_each_kind_of_evidence_would_get(pair: Pair) -> None:
    response = messages.DiagnoseResponse(
        registration=REGISTRATION,
        tokens=[token_pb2.Token(token_id="t-1", kind=token_pb2.TOKEN_KIND_API)],
        ticket=messages.TicketStatus(incarnation=3, expire_time=at("2026-01-02T04:00:00Z")),
        forecasts=[
            messages.AdmissionForecast(
                evidence="nothing but the id",
                line=10,
                line_name="ANOTHER_LIVES",
                reason=error_reason_pb2.ERROR_REASON_TICKET_REQUIRED,
                recovery="RELAUNCH",
                explanation="only a new launch helps",
            ),
            messages.AdmissionForecast(
                evidence="the ticket",
                line=2,
                line_name="TICKET",
                outcome=registration_service_pb2.REGISTER_OUTCOME_BOOTSTRAPPED,
            ),
        ],
    )
    pair.registry.on("Diagnose", response)

    result = pair.run("registrations", "diagnose", WORKSPACE)

    assert "rejected registers last reason TICKET_REQUIRED" in result.lines
    assert "t-1 API - 0 - - -" in result.lines
    assert "expire time 2026-01-02 04:00:00Z" in result.lines
    assert result.lines[-2:] == [
        "nothing but the id ANOTHER_LIVES - TICKET_REQUIRED RELAUNCH only a new launch helps",
        "the ticket TICKET BOOTSTRAPPED - - -",
    ]


def test_retire_shows_the_receipt(pair: Pair) -> None:
    response = messages.RetireWorkspaceResponse(revoked_count=2, revision=9)
    pair.registry.on("RetireWorkspace", response)

    result = pair.run("registrations", "retire", WORKSPACE, "--tenant", "acme", "--yes")

    assert result.lines == ["revoked count 2", "revision 9"]
    request = pair.registry.only(messages.RetireWorkspaceRequest)
    assert request == messages.RetireWorkspaceRequest(workspace_id=WORKSPACE, tenant_id="acme")


@pytest.mark.parametrize("service", ["registry", "provision"])
def test_audit_asks_the_service_that_was_named(pair: Pair, service: str) -> None:
    audit = {"registry": registry_audit, "provision": provision_audit}[service]
    script = {"registry": pair.registry, "provision": pair.provision}[service]
    event = audit.AuditEvent(
        time=at("2026-01-02T03:04:05Z"),
        actor="operator",
        action="token.minted",
        subject="t-1",
        details={"kind": "API", "by": "hand"},
    )
    script.on("ListAuditEvents", audit.ListAuditEventsResponse(events=[event]))

    result = pair.run("audit", service, "--workspace", WORKSPACE, "--action", "token.minted")

    assert result.lines[1] == ("2026-01-02 03:04:05Z operator token.minted - t-1")
    (asked,) = script.asked
    assert (asked.request.workspace_id, asked.request.action) == (WORKSPACE, "token.minted")


def test_a_value_newer_than_this_tool_is_shown_as_its_number(pair: Pair) -> None:
    newer = messages.Registration()
    newer.ParseFromString(b"\x18\x63")  # field 3, state: 99
    pair.registry.on("GetRegistration", messages.GetRegistrationResponse(registration=newer))

    assert "state 99" in pair.run("registrations", "get", WORKSPACE).lines


def test_wide_letters_do_not_break_the_columns(pair: Pair) -> None:
    rows = [messages.Registration(workspace_id=name, tenant_id="t") for name in ("漢字", "four")]
    pair.registry.on("ListRegistrations", messages.ListRegistrationsResponse(registrations=rows))

    _, wide, narrow = pair.run("registrations", "list").out.splitlines()

    assert wide.index("t") + 2 == narrow.index("t")


def test_the_tool_needs_nothing_that_only_servers_have() -> None:
    script = (
        "import sys, agentworkspace.ctl.main\n"
        "servers = {'structlog', 'sqlalchemy', 'grpc_health.v1', 'prometheus_client',\n"
        "           'cryptography', 'registry_service', 'provision_service'}\n"
        "print(sorted(servers & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )

    assert ran.stdout == "[]\n"


def test_a_reader_that_stops_reading_gets_no_traceback(pair: Pair) -> None:
    rows = [REGISTRATION] * 5000
    pair.registry.on("ListRegistrations", messages.ListRegistrationsResponse(registrations=rows))
    script = "import sys; from agentworkspace.ctl.main import main; sys.exit(main())"
    words = ["--registry", pair.registry.address, "registrations", "list", "--limit", "5000"]
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.read(10)
        ran.stdout.close()
        complaint = ran.stderr.read().decode()

    assert complaint == "workspacectl: standard output was closed\n"
    assert ran.returncode == 2


def test_the_script_is_installed_under_its_name() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    script = EntryPoint("workspacectl", project["scripts"]["workspacectl"], "console_scripts")

    assert script.load() is command
