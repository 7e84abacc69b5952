"""BillingService: requests to commands."""

from __future__ import annotations

from typing import Final

from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import billing_service_pb2 as pb
from provision_service.api.parse.fields import Fields
from provision_service.api.parse.workspaces import LONGEST_MODEL, LONGEST_WORD
from provision_service.commands.call import Call
from provision_service.commands.preview_billing_mode import PreviewBillingMode
from provision_service.commands.resolve_billing_mode import ResolveBillingMode
from provision_service.commands.set_billing_mode_override import SetBillingModeOverride
from provision_service.commands.set_tenant_billing import SetTenantBilling
from provision_service.domain.billing import BillingMode

LONGEST_USAGE_TOKEN: Final = 4096
TENANT_MODES: Final = (BillingMode.BYOK, BillingMode.PLATFORM_MANAGED)


def resolve_billing_mode(request: pb.ResolveBillingModeRequest, call: Call) -> ResolveBillingMode:
    fields = Fields()
    command = ResolveBillingMode(call=call, workspace_id=fields.workspace_id(request.workspace_id))
    fields.finish()
    return command


def preview_billing_mode(request: pb.PreviewBillingModeRequest, call: Call) -> PreviewBillingMode:
    fields = Fields()
    command = PreviewBillingMode(
        call=call,
        runtime=fields.text(request.runtime, "runtime", at_most=LONGEST_WORD),
        model=fields.text(request.model.strip(), "model", at_most=LONGEST_MODEL),
        auth_env_names=frozenset(fields.names(request.auth_env_names, "auth_env_names")),
        override=fields.mode(request.override, "override"),
    )
    fields.finish()
    return command


def set_billing_mode_override(
    request: pb.SetBillingModeOverrideRequest, call: Call
) -> SetBillingModeOverride:
    fields = Fields()
    command = SetBillingModeOverride(
        call=call,
        workspace_id=fields.workspace_id(request.workspace_id),
        mode=fields.mode(request.mode, "mode"),
    )
    fields.finish()
    return command


def set_tenant_billing(request: pb.SetTenantBillingRequest, call: Call) -> SetTenantBilling:
    fields = Fields()
    mode = fields.one_of(request.default_billing, "default_billing", TENANT_MODES)
    token = None
    if request.HasField("platform_usage_token"):
        token = Secret(
            fields.text(
                request.platform_usage_token, "platform_usage_token", at_most=LONGEST_USAGE_TOKEN
            )
        )
    command = SetTenantBilling(
        call=call,
        tenant_id=fields.tenant_id(request.tenant_id),
        default_billing=BillingMode(mode) if mode in TENANT_MODES else None,
        platform_usage_token=token,
        create=request.create,
    )
    fields.finish()
    return command
