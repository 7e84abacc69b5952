"""BillingService: requests to commands."""

from __future__ import annotations

from typing import Final

from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import billing_service_pb2 as pb
from provision_service.api import wire_enums
from provision_service.api.parse.fields import Fields
from provision_service.api.parse.workspaces import LONGEST_MODEL, LONGEST_WORD
from provision_service.commands.call import Call
from provision_service.commands.preview_billing_mode import PreviewBillingMode
from provision_service.commands.resolve_billing_mode import ResolveBillingMode
from provision_service.commands.set_billing_mode_override import SetBillingModeOverride
from provision_service.commands.set_tenant_billing import SetTenantBilling

LONGEST_USAGE_TOKEN: Final = 4096


def resolve_billing_mode(request: pb.ResolveBillingModeRequest, call: Call) -> ResolveBillingMode:
    fields = Fields()
    command = ResolveBillingMode(call=call, workspace_id=fields.workspace_id(request.workspace_id))
    return fields.finish(command)


def preview_billing_mode(request: pb.PreviewBillingModeRequest, call: Call) -> PreviewBillingMode:
    fields = Fields()
    command = PreviewBillingMode(
        call=call,
        runtime=fields.text(request.runtime, "runtime", at_most=LONGEST_WORD),
        model=fields.text(request.model.strip(), "model", at_most=LONGEST_MODEL),
        auth_env_names=frozenset(fields.names(request.auth_env_names, "auth_env_names")),
        override=fields.either(
            request.override_mode,
            "override_mode",
            wire_enums.MODE_OF,
            text=request.override,
            text_field="override",
        ),
    )
    return fields.finish(command)


def set_billing_mode_override(
    request: pb.SetBillingModeOverrideRequest, call: Call
) -> SetBillingModeOverride:
    fields = Fields()
    command = SetBillingModeOverride(
        call=call,
        workspace_id=fields.workspace_id(request.workspace_id),
        mode=fields.either(
            request.override_mode,
            "override_mode",
            wire_enums.MODE_OF,
            text=request.mode,
            text_field="mode",
        ),
    )
    return fields.finish(command)


def set_tenant_billing(request: pb.SetTenantBillingRequest, call: Call) -> SetTenantBilling:
    fields = Fields()
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
        default_billing=fields.either(
            request.global_vendor_keys,
            "global_vendor_keys",
            wire_enums.GLOBAL_VENDOR_KEYS_OF,
            text=request.default_billing,
            text_field="default_billing",
        ),
        platform_usage_token=token,
        create=request.create,
    )
    return fields.finish(command)
