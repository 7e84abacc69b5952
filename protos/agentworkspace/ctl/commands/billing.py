"""`billing`: who pays for the LLM, why, and how to change it."""

from __future__ import annotations

import argparse
from pathlib import Path

from agentworkspace.ctl.arguments import AUTH_ENV, MODES, WORKSPACE
from agentworkspace.ctl.command import Answer, Command, Group, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.files import Unusable, read_secret
from agentworkspace.ctl.output import facts
from agentworkspace.ctl.resolution import launch_view, resolution_view, warnings_view, why_tree
from agentworkspace.ctl.standing import workspace_of
from agentworkspace.provision.v1 import billing_service_pb2 as messages
from agentworkspace.provision.v1.billing_service_pb2_grpc import BillingServiceStub

_DERIVED = "derived"


def _resolve(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        BillingServiceStub(session.provision).ResolveBillingMode,
        messages.ResolveBillingModeRequest(workspace_id=args.workspace),
    )
    view = (*resolution_view(response.resolution), *launch_view(response.launch))
    return Answer(document=response, view=view)


def _why(args: argparse.Namespace, session: Session) -> Answer:
    workspace = workspace_of(session, args.workspace)
    response = session.call(
        BillingServiceStub(session.provision).ResolveBillingMode,
        messages.ResolveBillingModeRequest(workspace_id=args.workspace),
    )
    return Answer(document=response, view=(why_tree(workspace, response.resolution),))


def _preview(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        BillingServiceStub(session.provision).PreviewBillingMode,
        messages.PreviewBillingModeRequest(
            runtime=args.runtime,
            model=args.model,
            auth_env_names=args.auth_env,
            override=args.override,
        ),
    )
    view = (*resolution_view(response.resolution), *launch_view(response.launch))
    return Answer(document=response, view=view)


def _override(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        BillingServiceStub(session.provision).SetBillingModeOverride,
        messages.SetBillingModeOverrideRequest(
            workspace_id=args.workspace, mode=None if args.mode == _DERIVED else args.mode
        ),
    )
    view = (*resolution_view(response.resolution), *warnings_view(response.warnings))
    return Answer(document=response, view=view)


def _one_usage_token(args: argparse.Namespace) -> None:
    if args.usage_token_file is not None and args.remove_usage_token:
        raise Unusable("--usage-token-file and --remove-usage-token exclude each other")


def _tenant_ends(args: argparse.Namespace, _session: Session) -> str | None:
    if not args.remove_usage_token:
        return None
    return (
        f"This forgets the usage token of tenant {args.tenant}: launches on the platform's bill are"
        " refused until there is another one."
    )


def _tenant(args: argparse.Namespace, session: Session) -> Answer:
    request = messages.SetTenantBillingRequest(
        tenant_id=args.tenant, default_billing=args.default_billing, create=args.create
    )
    if args.usage_token_file is not None:
        token = read_secret(args.usage_token_file, what="usage token")
        request.platform_usage_token = token.reveal()
    elif args.remove_usage_token:
        request.platform_usage_token = ""
    response = session.call(BillingServiceStub(session.provision).SetTenantBilling, request)
    return Answer(document=response, view=(facts("", response),))


GROUP = Group(
    "billing",
    "who pays for the LLM",
    (
        Command("why", "who pays for a workspace, as a tree of reasons", _why, (WORKSPACE,)),
        Command(
            "resolve", "who pays for a workspace, every rule in its order", _resolve, (WORKSPACE,)
        ),
        Command(
            "preview",
            "who would pay for a workspace that does not exist yet",
            _preview,
            (
                argument("--runtime", default="", help="the runtime; default: the service's"),
                argument("--model", default="", help="the model"),
                AUTH_ENV,
                argument("--override", choices=MODES, help="an override, as if it were stored"),
            ),
        ),
        Command(
            "override",
            "set the payer of a workspace, or go back to the derived one",
            _override,
            (WORKSPACE, argument("mode", choices=(*MODES, _DERIVED))),
        ),
        Command(
            "tenant",
            "set what gates a tenant's global secrets, and its usage token at the platform's proxy",
            _tenant,
            (
                argument("tenant", help="the tenant"),
                argument(
                    "--default-billing",
                    choices=("byok", "platform_managed"),
                    default="",
                    help="platform_managed: its global secrets may hold no vendor's key; this"
                    " decides nothing else, never who pays; default: left as it is",
                ),
                argument(
                    "--usage-token-file",
                    type=Path,
                    metavar="FILE",
                    help="store the usage token in FILE; - for standard input",
                ),
                argument("--remove-usage-token", action="store_true", help="forget it"),
                argument(
                    "--create",
                    action="store_true",
                    help="also for a tenant that has nothing here yet",
                ),
            ),
            check=_one_usage_token,
            ends=_tenant_ends,
        ),
    ),
)
