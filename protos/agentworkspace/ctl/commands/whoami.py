"""`whoami`: whom both services take this credential for."""

from __future__ import annotations

import argparse
from typing import Any

import grpc

from agentworkspace.ctl.command import Answer, Command, ExitCode
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.failures import exit_code, explain, failure_of
from agentworkspace.ctl.identity import OTHER, system_info_of
from agentworkspace.ctl.output import Grid, document


def _whoami(_args: argparse.Namespace, session: Session) -> Answer:
    rows: list[tuple[str, ...]] = []
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    code = ExitCode.DONE
    for service in OTHER:
        try:
            caller = system_info_of(session, service).caller
        except grpc.RpcError as error:
            failure = failure_of(error, session)
            notes.append(f"{service}: {explain(failure, session)}")
            code = max(code, exit_code(failure))
            reason = failure.reason.removeprefix("ERROR_REASON_")
            rows.append((service, "-", "-", "-", reason or failure.message))
            found.append({"service": service, "reason": failure.reason, "message": failure.message})
            continue
        tenants = "all" if caller.all_tenants else ", ".join(caller.tenants)
        rows.append((service, caller.name, ", ".join(caller.roles), tenants, ""))
        found.append({"service": service, **document(caller)})
    header = ("SERVICE", "CALLER", "ROLES", "TENANTS", "")
    view = (
        Grid(
            "",
            (),
            (
                ("context", session.context_name or "(none)"),
                ("credential from", session.context.token_from),
            ),
        ),
        Grid("", header, tuple(rows)),
    )
    return Answer(
        document={"context": session.context_name, "callers": found},
        view=view,
        names=tuple(dict.fromkeys(row[1] for row in rows if row[1] != "-")),
        notes=tuple(notes),
        exit_code=code,
    )


WHOAMI = Command("whoami", "whom both services take you for, and what you may do", _whoami)
