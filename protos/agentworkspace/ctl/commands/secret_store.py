"""`secrets`: those of tenants and of workspaces. Values go in and are never shown."""

from __future__ import annotations

import argparse
from pathlib import Path

from agentworkspace.ctl.arguments import PAGING, WORKSPACE, workspace_option
from agentworkspace.ctl.command import Answer, Command, ExitCode, Group, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.files import Unusable, read_secret
from agentworkspace.ctl.output import Grid, facts, table, text_at
from agentworkspace.ctl.paging import LARGEST_PAGE, listed
from agentworkspace.ctl.resolution import warnings_view
from agentworkspace.ctl.spelling import meant
from agentworkspace.ctl.standing import box_of
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
_WIDE_OF_PROBES = ("HOST", "HTTP", "MISSING SCOPE")
_KEY = argument("secret_key", metavar="key", help="name in the environment")
_PLACE = (
    argument("--tenant", default="", metavar="TENANT", help="for all workspaces of this tenant"),
    workspace_option("for this workspace alone"),
)


def _set(args: argparse.Namespace, session: Session) -> Answer:
    stub = SecretServiceStub(session.provision)
    value = read_secret(args.value_file, what="value", verbatim=args.verbatim).reveal()
    if args.tenant:
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


def _deletion_ends(args: argparse.Namespace, session: Session) -> str:
    whose = f"tenant {args.tenant}" if args.tenant else box_of(session, args.workspace).rstrip(",")
    return f"This deletes secret {args.secret_key} of {whose}; nobody can read it back."


def _delete(args: argparse.Namespace, session: Session) -> Answer:
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
    if response.deleted:
        return Answer(document=response, view=(facts("", response),), names=(args.secret_key,))
    near = meant(args.secret_key, _keys(args, session))
    note = f"nothing was deleted: there is no secret {args.secret_key} at this scope{near}"
    return Answer(document=response, notes=(note,), names=(), exit_code=ExitCode.REFUSED)


def _keys(args: argparse.Namespace, session: Session) -> list[str]:
    """The names of the secrets there are at this scope."""
    request = messages.ListSecretsRequest(
        tenant_id=args.tenant, workspace_id=args.workspace, page_size=LARGEST_PAGE
    )
    page = session.call(SecretServiceStub(session.provision).ListSecrets, request)
    return [each.key for each in page.secrets]


def _list(args: argparse.Namespace, session: Session) -> Answer:
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
    view = [table("credentials", _PROBES, response.results, _WIDE_OF_PROBES)]
    if response.matrix:
        view.append(table("models on the menu", _PROBES, response.matrix, _WIDE_OF_PROBES))
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
    found = ExitCode.FOUND if response.groups else ExitCode.DONE
    return Answer(document=response, view=view, exit_code=found)


def _one_place(args: argparse.Namespace) -> None:
    if bool(args.tenant) == bool(args.workspace):
        raise Unusable("whose secret: either --tenant or --workspace")
    if args.tenant and getattr(args, "provider", ""):
        raise Unusable("--provider is for a secret of one workspace: leave out --tenant")


def _any_place(args: argparse.Namespace) -> None:
    if not args.tenant and not args.workspace:
        raise Unusable("whose secrets: --tenant or --workspace")


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
            check=_one_place,
            secret="value",
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
                workspace_option("the workspace", required=True),
            ),
        ),
        Command(
            "delete",
            "delete a secret",
            _delete,
            (_KEY, *_PLACE),
            check=_one_place,
            ends=_deletion_ends,
        ),
        Command(
            "list",
            "names, scopes and times; never values",
            _list,
            (*_PLACE, *PAGING),
            check=_any_place,
        ),
        Command(
            "check",
            "ask the vendors whether a workspace's credentials work; exit 1 when one does not",
            _check,
            (WORKSPACE,),
        ),
        Command(
            "audit-shared",
            "values that several tenants hold, or the platform; exit code 3: there are some",
            _audit_shared,
        ),
    ),
)
