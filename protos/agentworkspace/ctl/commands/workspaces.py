"""`workspaces`: the record that every launch is built from."""

from __future__ import annotations

import argparse
from pathlib import Path

from agentworkspace.ctl.arguments import (
    OUT,
    PAGING,
    REQUEST_ID,
    WORKSPACE,
    one_of,
    tenant_filter,
)
from agentworkspace.ctl.command import Answer, Command, Group, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.delivery import deliver, keeping
from agentworkspace.ctl.files import Unusable
from agentworkspace.ctl.output import facts
from agentworkspace.ctl.paging import listed
from agentworkspace.ctl.resolution import resolution_view, warnings_view
from agentworkspace.ctl.spec import FLAGS, SPEC, pair, secrets_from, spec_from
from agentworkspace.ctl.standing import box_of
from agentworkspace.provision.v1 import workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as messages
from agentworkspace.provision.v1.workspace_service_pb2_grpc import WorkspaceServiceStub

_COLUMNS = {
    "ID": "id",
    "NAME": "name",
    "TENANT": "tenant_id",
    "STATUS": "status",
    "INC": "incarnation",
    "NEEDS LAUNCH": "needs_launch.reason",
    "LAST ERROR": "last_error.code",
    "RUNTIME": "runtime",
    "MODEL": "model",
    "CREATED": "create_time",
}
_WIDE = ("RUNTIME", "MODEL", "CREATED")


def _create(args: argparse.Namespace, session: Session) -> Answer:
    spec, _ = spec_from(args)
    request = messages.CreateWorkspaceRequest(
        request_id=args.request_id,
        tenant_id=args.tenant,
        workspace=spec,
        secrets=secrets_from(args.secrets_file),
        secret_providers=dict(pair(each) for each in args.secret_provider or ()),
        validate_only=args.validate_only,
        auth_token_sha256=args.auth_token_sha256,
    )
    with keeping(args.out) as out:
        response = session.call(WorkspaceServiceStub(session.provision).CreateWorkspace, request)
        why_not = response.auth_token_error or "none was to be made"
        way = deliver(response.auth_token, field="auth_token", out=out, why_not=why_not)
    view = (
        facts("workspace", response.workspace),
        *resolution_view(response.billing),
        *warnings_view(response.warnings),
        *way.view,
    )
    return Answer(
        document=response,
        view=view,
        notes=way.notes,
        revealed=way.revealed,
        exit_code=way.exit_code,
    )


def _get(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        WorkspaceServiceStub(session.provision).GetWorkspace,
        messages.GetWorkspaceRequest(workspace_id=args.workspace),
    )
    return Answer(document=response, view=(facts("", response.workspace),))


def _list(args: argparse.Namespace, session: Session) -> Answer:
    method = WorkspaceServiceStub(session.provision).ListWorkspaces
    request = messages.ListWorkspacesRequest(
        tenant_id=args.tenant,
        status=args.status,
        needs_launch=args.needs_launch,
        show_removed=args.show_removed,
    )
    return listed(args, session, method, request, rows="workspaces", columns=_COLUMNS, wide=_WIDE)


def _update(args: argparse.Namespace, session: Session) -> Answer:
    spec, named = spec_from(args)
    changed = {*named, *args.clear}
    if set(named) & set(args.clear):
        raise Unusable("a field is either set or cleared")
    if not changed:
        raise Unusable("nothing to change: name a field")
    request = messages.UpdateWorkspaceRequest(
        workspace_id=args.workspace, workspace=spec, etag=args.etag, request_id=args.request_id
    )
    request.update_mask.paths.extend(sorted(changed))
    response = session.call(WorkspaceServiceStub(session.provision).UpdateWorkspace, request)
    view = (
        facts("workspace", response.workspace),
        *resolution_view(response.billing),
        *warnings_view(response.warnings),
    )
    return Answer(document=response, view=view)


def _removal_ends(args: argparse.Namespace, session: Session) -> str:
    return (
        f"This removes {box_of(session, args.workspace)} for ever: its box is stopped, all its"
        " tokens end, its secrets are deleted."
    )


def _remove(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        WorkspaceServiceStub(session.provision).RemoveWorkspace,
        messages.RemoveWorkspaceRequest(workspace_id=args.workspace),
    )
    return Answer(document=response, view=(facts("", response.workspace),))


GROUP = Group(
    "workspaces",
    "the records that launches are built from",
    (
        Command(
            "create",
            "create a workspace; its first token is shown once, or goes to --out",
            _create,
            (
                argument("--tenant", required=True, metavar="TENANT", help="whose it is"),
                *SPEC,
                argument(
                    "--secrets-file",
                    type=Path,
                    metavar="FILE",
                    help="workspace secrets, a JSON object of names and values; - for stdin",
                ),
                argument(
                    "--secret-provider",
                    action="append",
                    metavar="NAME=PROVIDER",
                    help="whose credential one of these secrets is; may be repeated",
                ),
                argument(
                    "--auth-token-sha256", default="", metavar="HEX", help="of your own token"
                ),
                argument("--validate-only", action="store_true", help="decide all, store nothing"),
                OUT,
                REQUEST_ID,
            ),
        ),
        Command("get", "one workspace", _get, (WORKSPACE,)),
        Command(
            "list",
            "workspaces, newest first",
            _list,
            (
                tenant_filter(),
                argument(
                    "--status",
                    default=None,
                    help="only with this status",
                    **one_of(workspace_pb2.WorkspaceStatus.DESCRIPTOR),
                ),
                argument("--needs-launch", action="store_true", help="only those to be launched"),
                argument("--show-removed", action="store_true", help="also removed ones"),
                *PAGING,
            ),
        ),
        Command(
            "update",
            "change the fields that are named",
            _update,
            (
                WORKSPACE,
                *SPEC,
                argument(
                    "--clear",
                    action="append",
                    default=[],
                    choices=(*FLAGS, "compute"),
                    metavar="FIELD",
                    help="back to its default; may be repeated",
                ),
                argument("--etag", default="", help="only if nobody changed it since"),
                REQUEST_ID,
            ),
        ),
        Command("remove", "remove a workspace for ever", _remove, (WORKSPACE,), ends=_removal_ends),
    ),
)
