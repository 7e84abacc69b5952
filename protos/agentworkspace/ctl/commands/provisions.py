"""`launch` and `provisions`: the environment of a box, and the history of launches."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agentworkspace.ctl import lookup
from agentworkspace.ctl.arguments import (
    PAGING,
    REQUEST_ID,
    WORKSPACE,
    one_of,
    tenant_filter,
    workspace_option,
)
from agentworkspace.ctl.command import Answer, Command, ExitCode, Group, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.delivery import keeping
from agentworkspace.ctl.files import NotKept, Unusable
from agentworkspace.ctl.output import Grid, document, facts, table, text_at
from agentworkspace.ctl.paging import listed
from agentworkspace.ctl.resolution import launch_view, resolution_view, warnings_view
from agentworkspace.ctl.standing import described, is_up, workspace_of
from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as messages
from agentworkspace.provision.v1.workspace_service_pb2_grpc import WorkspaceServiceStub

_COLUMNS = {
    "ID": "id",
    "WORKSPACE": "workspace_id",
    "INC": "incarnation",
    "STATE": "state",
    "REASON": "reason",
    "PAYS": "billing.resolved_mode",
    "ERROR": "error.code",
    "CALLER": "caller",
    "CREATED": "create_time",
    "RERUN": "rerun_required",
}
_HELD = (
    provision_pb2.PROVISION_STATE_CLAIMED,
    provision_pb2.PROVISION_STATE_ENV_DELIVERED,
)
_WIDE = ("CALLER", "CREATED", "RERUN")
_MANIFEST = {"NAME": "name", "ORIGIN": "origin", "FINGERPRINT": "fingerprint"}
_PROVISION = argument(
    "provision_id",
    metavar="launch",
    help="id of the launch, or its beginning",
    find=lookup.provision_id,
    complete=lookup.offered_provisions,
)


_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _shell(name: str, value: str) -> str:
    return f"{name}={shlex.quote(value)}\n"


def _docker(name: str, value: str) -> str:
    if "\n" in value or "\r" in value:
        raise NotKept(f"{name} has line breaks, which a docker env file cannot hold")
    return f"{name}={value}\n"


_LINES: Final[Mapping[str, Callable[[str, str], str]]] = {"shell": _shell, "docker": _docker}
FORMATS: Final = (*_LINES, "json")


def env_text(env: Mapping[str, str], form: str) -> str:
    """The text of an environment file, sorted by name. NotKept when the form cannot hold it.

    `shell` is to be sourced, `docker` is for its --env-file, `json` is one object.
    """
    for name in env:
        if not _ENV_NAME.fullmatch(name):
            raise NotKept(f"{name!r} is no name for an environment variable")
    if form == "json":
        return json.dumps(dict(sorted(env.items())), indent=2, ensure_ascii=False) + "\n"
    return "".join(_LINES[form](name, env[name]) for name in sorted(env))


def _where_it_goes(args: argparse.Namespace) -> None:
    if args.validate_only and args.env_file is not None:
        raise Unusable("--validate-only hands out nothing that --env-file could keep")
    if not args.validate_only and args.env_file is None:
        raise Unusable(
            "a launch ends the tokens of the box that runs now; say where the environment of the"
            " new one goes with --env-file FILE, or only look with --validate-only"
        )


def _launch(args: argparse.Namespace, session: Session) -> Answer:
    with keeping(args.env_file) as file:
        response = session.call(
            WorkspaceServiceStub(session.provision).ProvisionWorkspace,
            messages.ProvisionWorkspaceRequest(
                workspace_id=args.workspace,
                reason=args.reason,
                request_id=args.request_id,
                validate_only=args.validate_only,
            ),
        )
        if file is not None and response.env:
            file.write(env_text(response.env, args.env_format))
    # Exit 1, so that no box is started from a file that an earlier launch left there.
    unkept = args.env_file is not None and not response.env
    return Answer(
        document={**document(response), "envNames": sorted(response.env)},
        view=_launch_view(response),
        notes=tuple(_launch_notes(response, args)),
        exit_code=ExitCode.REFUSED if unkept else ExitCode.DONE,
    )


def _launch_ends(args: argparse.Namespace, session: Session) -> str | None:
    """A launch ends the box that runs, unless it joins another launch that is under way, which
    RESUME never does. AUTO_RESTART finds out itself whether a launch is needed.
    """
    asks_itself = args.reason == provision_pb2.PROVISION_REASON_AUTO_RESTART
    if args.validate_only or asks_itself:
        return None
    found = workspace_of(session, args.workspace)
    joins = args.reason != provision_pb2.PROVISION_REASON_RESUME
    if not is_up(found) or (joins and _is_on_its_way(session, found)):
        return None
    return f"This ends the box of {described(found)} to launch a new one."


def _is_on_its_way(session: Session, workspace: workspace_pb2.Workspace) -> bool:
    """Whether it has a claimed launch whose lease has not run out."""
    if workspace.status != workspace_pb2.WORKSPACE_STATUS_PROVISIONING:
        return False
    request = messages.ListProvisionsRequest(workspace_id=workspace.id, page_size=1)
    method = WorkspaceServiceStub(session.provision).ListProvisions
    now = datetime.now(UTC)
    return any(
        each.state in _HELD and now < each.lease_expire_time.ToDatetime(UTC)
        for each in session.call(method, request).provisions
    )


def _launch_view(response: messages.ProvisionWorkspaceResponse) -> tuple[Grid, ...]:
    launch = response.provision
    origins = {entry.name: entry.origin for entry in launch.manifest}
    names = tuple((name, origins.get(name, "-")) for name in sorted(response.env))
    return (
        facts("launch", launch, leave=("billing", "manifest")),
        *resolution_view(launch.billing),
        Grid("environment", ("NAME", "ORIGIN"), names),
        *launch_view(response.launch),
        *warnings_view(response.warnings),
    )


def _launch_notes(
    response: messages.ProvisionWorkspaceResponse, args: argparse.Namespace
) -> list[str]:
    if response.joined:
        held = response.provision
        until = text_at(held, "lease_expire_time")
        whose = f"another caller holds this launch ({held.caller or 'unnamed'}, until {until})"
        look = f"look how far it is with `workspacectl provisions get {held.id}`"
        return [f"joined: {whose}; start nothing, {look}, and launch again when it has ended"]
    if response.skipped:
        return ["skipped: no launch is needed, or boxes of this runtime are launched elsewhere"]
    if not response.env:
        return []
    report = f"workspacectl provisions complete {response.provision.id} --outcome succeeded"
    return [f"the environment is in {args.env_file}; when its box was started: {report}"]


def _list(args: argparse.Namespace, session: Session) -> Answer:
    method = WorkspaceServiceStub(session.provision).ListProvisions
    request = messages.ListProvisionsRequest(
        workspace_id=args.workspace, tenant_id=args.tenant, state=args.state
    )
    return listed(args, session, method, request, rows="provisions", columns=_COLUMNS, wide=_WIDE)


def _get(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        WorkspaceServiceStub(session.provision).GetProvision,
        messages.GetProvisionRequest(provision_id=args.provision_id),
    )
    launch = response.provision
    view = (
        facts("launch", launch, leave=("billing", "manifest")),
        *resolution_view(launch.billing),
        table("environment", _MANIFEST, launch.manifest),
    )
    return Answer(document=response, view=view)


def _complete(args: argparse.Namespace, session: Session) -> Answer:
    error = None
    if args.error_code or args.error_message:
        error = provision_pb2.ProvisionError(code=args.error_code, message=args.error_message)
    response = session.call(
        WorkspaceServiceStub(session.provision).CompleteProvision,
        messages.CompleteProvisionRequest(
            provision_id=args.provision_id, outcome=args.outcome, error=error
        ),
    )
    return _continued(response)


def _extend(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        WorkspaceServiceStub(session.provision).ExtendProvision,
        messages.ExtendProvisionRequest(provision_id=args.provision_id),
    )
    return _continued(response)


def _continued(
    response: messages.CompleteProvisionResponse | messages.ExtendProvisionResponse,
) -> Answer:
    notes = ("the inputs changed since: launch again",) if response.rerun_required else ()
    launch = facts("", response.provision, leave=("billing", "manifest"))
    return Answer(document=response, view=(launch,), notes=notes)


LAUNCH = Command(
    "launch",
    "claim a launch and fetch the environment of its box",
    _launch,
    (
        WORKSPACE,
        argument(
            "--reason",
            required=True,
            help="why",
            **one_of(provision_pb2.ProvisionReason.DESCRIPTOR),
        ),
        argument(
            "--env-file",
            type=Path,
            metavar="FILE",
            help="put the environment into FILE (mode 0600); exit 1 when there is none to put",
        ),
        argument("--env-format", choices=FORMATS, default="shell", help="default: shell"),
        argument("--validate-only", action="store_true", help="decide all, claim nothing"),
        REQUEST_ID,
    ),
    check=_where_it_goes,
    ends=_launch_ends,
)

GROUP = Group(
    "provisions",
    "launches and how far they came",
    (
        Command(
            "list",
            "launches, newest first",
            _list,
            (
                workspace_option("only of this workspace"),
                tenant_filter(),
                argument(
                    "--state",
                    default=None,
                    help="only in this state",
                    **one_of(provision_pb2.ProvisionState.DESCRIPTOR),
                ),
                *PAGING,
            ),
        ),
        Command("get", "one launch: who pays, and what its box was given", _get, (_PROVISION,)),
        Command(
            "complete",
            "say what became of a launch",
            _complete,
            (
                _PROVISION,
                argument(
                    "--outcome",
                    required=True,
                    help="was the box started",
                    **one_of(provision_pb2.ProvisionOutcome.DESCRIPTOR),
                ),
                argument("--error-code", default="", help="short upper-case name"),
                argument("--error-message", default="", help="a sentence"),
            ),
        ),
        Command("extend", "prolong the claim of a launch", _extend, (_PROVISION,)),
    ),
)
