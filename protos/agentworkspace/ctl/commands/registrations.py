"""`registrations`: who is alive, who is locked out, and why."""

from __future__ import annotations

import argparse

from agentworkspace.ctl.arguments import PAGING, WORKSPACE, one_of, tenant_filter
from agentworkspace.ctl.command import Answer, Command, Group, argument
from agentworkspace.ctl.commands.tokens import COLUMNS as TOKEN_COLUMNS
from agentworkspace.ctl.commands.tokens import WIDE as WIDE_OF_TOKENS
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.output import facts, table
from agentworkspace.ctl.paging import listed
from agentworkspace.ctl.standing import box_of
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as messages
from agentworkspace.registry.v1.workspace_registry_service_pb2_grpc import (
    WorkspaceRegistryServiceStub,
)

_COLUMNS = {
    "WORKSPACE": "workspace_id",
    "TENANT": "tenant_id",
    "STATE": "state",
    "INC": "incarnation",
    "LAST HEARTBEAT": "last_heartbeat_time",
    "FENCE": "fence",
    "RELAUNCH": "relaunch_reason",
    "REFUSED": "rejected_registers.count",
    "LAST REFUSAL": "rejected_registers.last_reason",
    "URL": "url",
}
_WIDE = ("LAST REFUSAL", "URL")
_FORECASTS = {
    "EVIDENCE": "evidence",
    "LINE": "line_name",
    "OUTCOME": "outcome",
    "REFUSAL": "reason",
    "RECOVERY": "recovery",
    "EXPLANATION": "explanation",
}


def _list(args: argparse.Namespace, session: Session) -> Answer:
    method = WorkspaceRegistryServiceStub(session.registry).ListRegistrations
    request = messages.ListRegistrationsRequest(
        tenant_id=args.tenant, state=args.state, needs_relaunch=args.needs_relaunch
    )
    return listed(
        args, session, method, request, rows="registrations", columns=_COLUMNS, wide=_WIDE
    )


def _get(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        WorkspaceRegistryServiceStub(session.registry).GetRegistration,
        messages.GetRegistrationRequest(workspace_id=args.workspace),
    )
    return Answer(document=response, view=(facts("", response.registration),))


def _diagnose(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        WorkspaceRegistryServiceStub(session.registry).Diagnose,
        messages.DiagnoseRequest(workspace_id=args.workspace),
    )
    view = (
        facts("registration", response.registration, leave=("agent_card",)),
        table("tokens", TOKEN_COLUMNS, response.tokens, WIDE_OF_TOKENS),
        facts("ticket of the newest launch", response.ticket),
        table("what a Register would get now", _FORECASTS, response.forecasts),
    )
    return Answer(document=response, view=view)


def _retirement_ends(args: argparse.Namespace, session: Session) -> str:
    return (
        f"This retires {box_of(session, args.workspace)} at the registry for ever: its box is told"
        " to stop, and all its tokens end."
    )


def _retire(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        WorkspaceRegistryServiceStub(session.registry).RetireWorkspace,
        messages.RetireWorkspaceRequest(workspace_id=args.workspace, tenant_id=args.tenant),
    )
    return Answer(document=response, view=(facts("", response),))


GROUP = Group(
    "registrations",
    "how boxes stand in the registry",
    (
        Command(
            "list",
            "how workspaces stand, newest first",
            _list,
            (
                tenant_filter(),
                argument(
                    "--state",
                    default=None,
                    help="only in this state",
                    **one_of(messages.RegistrationState.DESCRIPTOR),
                ),
                argument("--needs-relaunch", action="store_true", help="only silent ones"),
                *PAGING,
            ),
        ),
        Command("get", "how one workspace stands", _get, (WORKSPACE,)),
        Command(
            "diagnose",
            "why a box is locked out, and what would let it in",
            _diagnose,
            (WORKSPACE,),
        ),
        Command(
            "retire",
            "retire a workspace at the registry for ever (`workspaces remove` does this too)",
            _retire,
            (WORKSPACE, tenant_filter("its tenant; needed for an id never seen before")),
            ends=_retirement_ends,
        ),
    ),
)
