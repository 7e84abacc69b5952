"""`secrets`: of tenants and of single workspaces. Values go in and are never shown."""

from __future__ import annotations

import argparse
from pathlib import Path

from agentworkspace.ctl.arguments import PAGING, WORKSPACE
from agentworkspace.ctl.command import Answer, Command, ExitCode, Group, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.files import Unusable, read_secret
from agentworkspace.ctl.output import Grid, facts, table, text_at
from agentworkspace.ctl.paging import listed
from agentworkspace.ctl.resolution import warnings_view
from agentworkspace.provision.v1 import secret_service_pb2 as messages
from agentworkspace.provision.v1.secret_service_pb2_grpc import SecretServiceStub

HOLDERS = {
    "TENANT": "tenant_id",
    "SCOPE": "scope",
    "WORKSPACE": "workspace_id",
    "KEY": "key",
    "EXPOSED WORKSPACES": "exposed_workspace_ids",
}
_COLUMNS = {
    "KEY": "key",
    "SCOPE": "scope",
    "WHOSE": "provider",
    "HIDES GLOBAL": "overrides_global",
    "CREATED": "create_time",
    "UPDATED": "update_time",
}
_PROBES = {
    "ENV": "env",
    "MODEL": "model",
    "PROVIDER": "provider",
    "VERDICT": "verdict",
    "HOST": "host",
    "HTTP": "http_status",
    "MISSING SCOPE": "missing_scope",
    "MESSAGE": "message",
}
_KEY = argument("secret_key", metavar="key", help="name in the environment")
_PLACE = (
    argument("--tenant", default="", metavar="TENANT", help="for all workspaces of this tenant"),
    argument("--workspace", default="", metavar="ID", help="for this workspace alone"),
)


def _set(args: argparse.Namespace, session: Session) -> Answer:
    _one_place(args)
    stub = SecretServiceStub(session.provision)
    value = read_secret(args.value_file, what="value", verbatim=args.verbatim).reveal()
    if args.tenant:
        if args.provider:
            raise Unusable("--provider is for a secret of one workspace: leave out --tenant")
        stored = session.call(
            stub.SetGlobalSecret,
            messages.SetGlobalSecretRequest(
                tenant_id=args.tenant, key=args.secret_key, value=value
            ),
        )
        return Answer(document=stored, view=(facts("", stored.secret),))
    response = session.call(
        stub.SetWorkspaceSecret,
        messages.SetWorkspaceSecretRequest(
            workspace_id=args.workspace,
            key=args.secret_key,
            value=value,
            provider=args.provider,
        ),
    )
    return Answer(document=response, view=(facts("", response), *warnings_view(response.warnings)))


def _assign_provider(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        SecretServiceStub(session.provision).AssignSecretProvider,
        messages.AssignSecretProviderRequest(
            workspace_id=args.workspace, key=args.secret_key, provider=args.provider
        ),
    )
    view = (facts("", response.secret), *warnings_view(response.warnings))
    return Answer(document=response, view=view)


def _delete(args: argparse.Namespace, session: Session) -> Answer:
    _one_place(args)
    stub = SecretServiceStub(session.provision)
    response: messages.DeleteGlobalSecretResponse | messages.DeleteWorkspaceSecretResponse
    if args.tenant:
        response = session.call(
            stub.DeleteGlobalSecret,
            messages.DeleteGlobalSecretRequest(tenant_id=args.tenant, key=args.secret_key),
        )
    else:
        response = session.call(
            stub.DeleteWorkspaceSecret,
            messages.DeleteWorkspaceSecretRequest(workspace_id=args.workspace, key=args.secret_key),
        )
    return Answer(document=response, view=(facts("", response),))


def _list(args: argparse.Namespace, session: Session) -> Answer:
    if not args.tenant and not args.workspace:
        raise Unusable("whose secrets: --tenant or --workspace")
    method = SecretServiceStub(session.provision).ListSecrets
    request = messages.ListSecretsRequest(tenant_id=args.tenant, workspace_id=args.workspace)
    return listed(args, session, method, request, rows="secrets", columns=_COLUMNS)


def _check(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        SecretServiceStub(session.provision).CheckCredentials,
        messages.CheckCredentialsRequest(workspace_id=args.workspace),
    )
    bad = (messages.PROBE_VERDICT_INVALID, messages.PROBE_VERDICT_MISSING_SCOPE)
    failed = any(each.verdict in bad for each in response.results)
    view = [table("credentials", _PROBES, response.results)]
    if response.matrix:
        view.append(table("models on the menu", _PROBES, response.matrix))
    code = ExitCode.REFUSED if failed else ExitCode.DONE
    return Answer(document=response, view=tuple(view), exit_code=code)


def _audit_shared(_args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        SecretServiceStub(session.provision).AuditSharedSecrets,
        messages.AuditSharedSecretsRequest(),
    )
    rows = tuple(
        (
            group.fingerprint,
            text_at(group, "platform_credential_names"),
            *(text_at(holder, path) for path in HOLDERS.values()),
        )
        for group in response.groups
        for holder in group.holders
    )
    view = (
        facts("", response),
        Grid("shared values", ("FINGERPRINT", "PLATFORM CREDENTIAL", *HOLDERS), rows),
    )
    return Answer(document=response, view=view)


def _one_place(args: argparse.Namespace) -> None:
    if bool(args.tenant) == bool(args.workspace):
        raise Unusable("whose secret: either --tenant or --workspace")


GROUP = Group(
    "secrets",
    "secrets of tenants and workspaces",
    (
        Command(
            "set",
            "store the value on standard input",
            _set,
            (
                _KEY,
                *_PLACE,
                argument(
                    "--provider",
                    default="",
                    metavar="NAME",
                    help="whose credential it is: a provider or a vendor of the catalogue",
                ),
                argument("--value-file", type=Path, metavar="FILE", help="read it from FILE"),
                argument("--verbatim", action="store_true", help="keep a line break at the end"),
            ),
        ),
        Command(
            "assign-provider",
            "say whose credential a stored secret of a workspace is",
            _assign_provider,
            (
                _KEY,
                argument(
                    "provider", metavar="provider", help="a provider or a vendor; '' takes back"
                ),
                argument("--workspace", required=True, metavar="ID", help="the workspace"),
            ),
        ),
        Command("delete", "delete a secret", _delete, (_KEY, *_PLACE)),
        Command("list", "names, scopes and times; never values", _list, (*_PLACE, *PAGING)),
        Command(
            "check",
            "ask the vendors whether a workspace's credentials work; exit 1 when one does not",
            _check,
            (WORKSPACE,),
        ),
        Command("audit-shared", "values that several tenants hold, or the platform", _audit_shared),
    ),
)
