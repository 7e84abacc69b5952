"""WorkspaceService, the record: requests to commands."""

from __future__ import annotations

from typing import Final

from agentworkspace.core.public_urls import parse_destination
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
from provision_service.domain.spec import WorkspaceSpec

LONGEST_NAME: Final = 200
LONGEST_WORD: Final = 128
LONGEST_MODEL: Final = 256
LONGEST_ETAG: Final = 64
DEEPEST_COMPUTE: Final = 32
MOST_TASKS: Final = 10_000
LARGEST_BUDGET: Final = 2**63 - 1
DELIVERY_MODES: Final = ("push", "poll")
ACCESSES: Final = ("none", "read_only", "read_write")
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
_ALL: Final = frozenset(SPEC_FIELDS)


def create_workspace(
    request: pb.CreateWorkspaceRequest, call: Call, *, new_id: str, new_request_id: str
) -> CreateWorkspace:
    fields = Fields()
    secrets = dict(request.secrets)
    fields.secrets(secrets, "secrets")
    for key in request.secret_providers:
        if key not in secrets:
            fields.refuse(f"secret_providers[{key[:128]}]", "must name one of the secrets given")
    command = CreateWorkspace(
        call=call,
        workspace_id=new_id,
        request_id=fields.optional_uuid(request.request_id, "request_id") or new_request_id,
        tenant_id=fields.tenant_id(request.tenant_id),
        spec=_spec(fields, request.workspace, _ALL),
        secrets={key: Secret(value) for key, value in secrets.items()},
        secret_providers=dict(request.secret_providers),
        validate_only=request.validate_only,
        auth_token_sha256=fields.sha256_hex(request.auth_token_sha256, "auth_token_sha256"),
    )
    fields.finish()
    return command


def get_workspace(request: pb.GetWorkspaceRequest, call: Call) -> GetWorkspace:
    fields = Fields()
    command = GetWorkspace(call=call, workspace_id=fields.workspace_id(request.workspace_id))
    fields.finish()
    return command


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
    fields.finish()
    return command


def update_workspace(
    request: pb.UpdateWorkspaceRequest, call: Call, *, new_request_id: str
) -> UpdateWorkspace:
    fields = Fields()
    mask = _mask(fields, tuple(request.update_mask.paths))
    command = UpdateWorkspace(
        call=call,
        workspace_id=fields.workspace_id(request.workspace_id),
        spec=_spec(fields, request.workspace, mask),
        mask=mask,
        request_id=fields.optional_uuid(request.request_id, "request_id") or new_request_id,
        etag=fields.text(request.etag, "etag", at_most=LONGEST_ETAG),
    )
    fields.finish()
    return command


def remove_workspace(request: pb.RemoveWorkspaceRequest, call: Call) -> RemoveWorkspace:
    fields = Fields()
    command = RemoveWorkspace(call=call, workspace_id=fields.workspace_id(request.workspace_id))
    fields.finish()
    return command


def _mask(fields: Fields, paths: tuple[str, ...]) -> frozenset[str]:
    if not paths:
        fields.refuse("update_mask", "must name the fields to change")
    known = set()
    for index, path in enumerate(paths):
        name = path.removeprefix("workspace.")
        if name in _ALL:
            known.add(name)
        else:
            fields.refuse(
                f"update_mask.paths[{index}]", f"must be one of: {', '.join(SPEC_FIELDS)}"
            )
    return frozenset(known)


def _spec(fields: Fields, wire: workspace_pb2.Workspace, mask: frozenset[str]) -> WorkspaceSpec:
    """The spec as sent: what was not given is empty, and the command fills it.

    Fields outside `mask` are not looked at: whoever updates one field may send the
    message that was read before.
    """
    seen = workspace_pb2.Workspace()
    for name in mask:
        _copy(wire, seen, name)
    text = _Texts(fields)
    budget = fields.number(
        seen.budget_limit_micros, "workspace.budget_limit_micros", at_most=LARGEST_BUDGET
    )
    return WorkspaceSpec(
        name=text("name", seen.name, LONGEST_NAME, at_least=1 if "name" in mask else 0),
        runtime=text("runtime", seen.runtime, LONGEST_WORD),
        model=text("model", seen.model.strip(), LONGEST_MODEL),
        template=text("template", seen.template, LONGEST_WORD),
        parent_id=fields.optional_uuid(seen.parent_id, "workspace.parent_id"),
        tier=fields.number(seen.tier, "workspace.tier", at_most=4),
        role=text("role", seen.role, LONGEST_WORD),
        max_concurrent_tasks=fields.number(
            seen.max_concurrent_tasks, "workspace.max_concurrent_tasks", at_most=MOST_TASKS
        ),
        budget_limit_micros=budget or None,
        compute=documents.read(fields, seen.compute, "workspace.compute", deepest=DEEPEST_COMPUTE),
        delivery_mode=fields.one_of(seen.delivery_mode, "workspace.delivery_mode", DELIVERY_MODES),
        url=_url(fields, seen.url),
        workspace_access=fields.one_of(
            seen.workspace_access, "workspace.workspace_access", ACCESSES
        ),
        required_env=fields.names(seen.required_env, "workspace.required_env"),
        billing_mode_override=fields.mode(
            seen.billing_mode_override, "workspace.billing_mode_override"
        )
        or "",
    )


class _Texts:
    """The plain texts of a spec, by the name of their field."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def __call__(self, name: str, text: str, at_most: int, *, at_least: int = 0) -> str:
        return self._fields.text(text, f"workspace.{name}", at_most=at_most, at_least=at_least)


def _copy(source: workspace_pb2.Workspace, target: workspace_pb2.Workspace, name: str) -> None:
    if name == "compute":
        target.compute.CopyFrom(source.compute)
    elif name == "required_env":
        target.required_env.extend(source.required_env)
    else:
        setattr(target, name, getattr(source, name))


def _url(fields: Fields, url: str) -> str:
    if url:
        destination = parse_destination(url)
        if isinstance(destination, str):
            fields.refuse("workspace.url", destination)
    return url
