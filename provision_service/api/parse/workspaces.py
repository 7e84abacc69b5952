"""WorkspaceService, the record: requests to commands."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.server import documents
from provision_service.api import wire_enums
from provision_service.api.parse.fields import Fields
from provision_service.commands.call import Call
from provision_service.commands.create_workspace import CreateWorkspace
from provision_service.commands.get_workspace import GetWorkspace
from provision_service.commands.list_workspaces import ListWorkspaces
from provision_service.commands.remove_workspace import RemoveWorkspace
from provision_service.commands.update_workspace import UpdateWorkspace
from provision_service.domain import guards
from provision_service.domain.spec import WorkspaceSpec, spec_violations

LONGEST_NAME: Final = 200
LONGEST_WORD: Final = 128
LONGEST_MODEL: Final = 256
LONGEST_ETAG: Final = 64
DEEPEST_COMPUTE: Final = 32
# In the order of the message; each is a field of WorkspaceSpec too.
SPEC_FIELDS: Final = (
    "name",
    "runtime",
    "model",
    "template",
    "parent_id",
    "tier",
    "role",
    "max_concurrent_tasks",
    "budget_limit_micros",
    "compute",
    "delivery_mode",
    "url",
    "workspace_access",
    "required_env",
    "billing_mode_override",
)
# Three of them have a twin that is an enum; the twin's name comes first.
_ENUMS: Final = {
    "delivered_by": "delivery_mode",
    "access": "workspace_access",
    "override_mode": "billing_mode_override",
}
_PATHS: Final = (*SPEC_FIELDS, *_ENUMS)


def create_workspace(
    request: pb.CreateWorkspaceRequest, call: Call, *, new_id: str, new_request_id: str
) -> CreateWorkspace:
    fields = Fields()
    secrets = dict(request.secrets)
    fields.refuse_all(guards.secrets_violations(secrets, field="secrets"))
    for key in request.secret_providers:
        if key not in secrets:
            fields.refuse(f"secret_providers[{key[:128]}]", "must name one of the secrets given")
    command = CreateWorkspace(
        call=call,
        workspace_id=new_id,
        request_id=fields.optional_uuid(request.request_id, "request_id") or new_request_id,
        tenant_id=fields.tenant_id(request.tenant_id),
        spec=_spec(fields, request.workspace, frozenset(_PATHS)),
        secrets={key: Secret(value) for key, value in secrets.items()},
        secret_providers=dict(request.secret_providers),
        validate_only=request.validate_only,
        auth_token_sha256=fields.sha256_hex(request.auth_token_sha256, "auth_token_sha256"),
    )
    return fields.finish(command)


def get_workspace(request: pb.GetWorkspaceRequest, call: Call) -> GetWorkspace:
    fields = Fields()
    command = GetWorkspace(call=call, workspace_id=fields.workspace_id(request.workspace_id))
    return fields.finish(command)


def list_workspaces(request: pb.ListWorkspacesRequest, call: Call) -> ListWorkspaces:
    fields = Fields()
    command = ListWorkspaces(
        call=call,
        tenant_id=fields.optional_tenant_id(request.tenant_id),
        status=fields.optional_named(request.status, "status", wire_enums.STATUS_OF),
        needs_launch=request.needs_launch,
        show_removed=request.show_removed,
        named=fields.text(request.named, "named", at_most=LONGEST_NAME),
        page_size=fields.page_size(request.page_size),
        page_token=fields.page_token(request.page_token),
    )
    return fields.finish(command)


def update_workspace(
    request: pb.UpdateWorkspaceRequest, call: Call, *, new_request_id: str
) -> UpdateWorkspace:
    fields = Fields()
    paths = _paths(fields, tuple(request.update_mask.paths))
    command = UpdateWorkspace(
        call=call,
        workspace_id=fields.workspace_id(request.workspace_id),
        spec=_spec(fields, request.workspace, paths),
        mask=frozenset(_ENUMS.get(path, path) for path in paths),
        request_id=fields.optional_uuid(request.request_id, "request_id") or new_request_id,
        etag=fields.text(request.etag, "etag", at_most=LONGEST_ETAG),
    )
    return fields.finish(command)


def remove_workspace(request: pb.RemoveWorkspaceRequest, call: Call) -> RemoveWorkspace:
    fields = Fields()
    command = RemoveWorkspace(call=call, workspace_id=fields.workspace_id(request.workspace_id))
    return fields.finish(command)


def _paths(fields: Fields, paths: tuple[str, ...]) -> frozenset[str]:
    if not paths:
        fields.refuse("update_mask", "must name the fields to change")
    known = set()
    for index, path in enumerate(paths):
        name = path.removeprefix("workspace.")
        if name in _PATHS:
            known.add(name)
        else:
            fields.refuse(f"update_mask.paths[{index}]", f"must be one of: {', '.join(_PATHS)}")
    return frozenset(known)


def _spec(fields: Fields, wire: workspace_pb2.Workspace, paths: frozenset[str]) -> WorkspaceSpec:
    """The spec as sent: what was not given is empty, and the command fills it.

    Fields outside `paths` are ignored: a client that updates one field may send back the whole
    message that it read, in which each choice stands both as a text and as an enum.
    """
    seen = workspace_pb2.Workspace()
    for name in paths:
        _copy(wire, seen, name)
    if "name" in paths and not seen.name.strip():
        fields.refuse("workspace.name", "must be 1 to 200 characters")
    spec = WorkspaceSpec(
        name=seen.name,
        runtime=seen.runtime,
        model=seen.model.strip(),
        template=seen.template,
        parent_id=seen.parent_id,
        tier=seen.tier,
        role=seen.role,
        max_concurrent_tasks=seen.max_concurrent_tasks,
        budget_limit_micros=seen.budget_limit_micros or None,
        compute=documents.read(fields, seen.compute, "workspace.compute", deepest=DEEPEST_COMPUTE),
        delivery_mode=_word(fields, seen, "delivered_by", wire_enums.DELIVERY_MODE_OF),
        url=seen.url,
        workspace_access=_word(fields, seen, "access", wire_enums.ACCESS_OF),
        required_env=tuple(dict.fromkeys(seen.required_env)),
        billing_mode_override=_word(fields, seen, "override_mode", wire_enums.MODE_OF),
    )
    fields.refuse_all(spec_violations(spec, field="workspace"))
    return spec


def _word(
    fields: Fields, seen: workspace_pb2.Workspace, name: str, words: Mapping[int, StrEnum]
) -> str:
    """The choice of the enum field `name`, or of the text beside it; empty when neither is set."""
    return (
        fields.either(
            getattr(seen, name),
            f"workspace.{name}",
            words,
            text=getattr(seen, _ENUMS[name]),
            text_field=f"workspace.{_ENUMS[name]}",
        )
        or ""
    )


def _copy(source: workspace_pb2.Workspace, target: workspace_pb2.Workspace, name: str) -> None:
    if name == "compute":
        target.compute.CopyFrom(source.compute)
    elif name == "required_env":
        target.required_env.extend(source.required_env)
    else:
        setattr(target, name, getattr(source, name))
