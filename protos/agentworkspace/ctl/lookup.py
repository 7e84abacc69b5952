"""Finds ids by what people remember: a workspace's name, a token's label, the start of an id."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final

import grpc

from agentworkspace.core.ids import is_canonical_uuid, uuids_beginning_with
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.files import STDIN, Unusable
from agentworkspace.ctl.output import short_name
from agentworkspace.ctl.spelling import meant
from agentworkspace.provision.v1 import workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as provision
from agentworkspace.provision.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as registry
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub
from agentworkspace.registry.v1.workspace_registry_service_pb2_grpc import (
    WorkspaceRegistryServiceStub,
)

# With fewer characters, the beginning of an id would too easily fit another thing.
_SHORTEST: Final = 4
_SHOWN: Final = 6
_OFFERED: Final = 200

# An id, and what tells it apart for people.
_Found = tuple[str, str]


def workspace(session: Session, text: str, args: argparse.Namespace) -> str:
    """The workspace with this id, name, or beginning of an id. Unusable unless one alone fits."""
    if is_canonical_uuid(text) or text == str(STDIN):
        return text
    found, live = _workspaces_named(session, text)
    if not found and uuids_beginning_with(text):
        # Only the registry knows workspaces that another launcher admitted, or that were retired
        # before anybody admitted them.
        found = live = _registrations(session, text)
    remedy = "`workspacectl workspaces list` shows names and ids"
    if not found:
        remedy += meant(text, offered_workspaces(session, "", args))
    return _only("workspace", text, live or found, remedy)


def provision_id(session: Session, text: str, _args: argparse.Namespace) -> str:
    """The launch whose id begins with this text. Unusable unless one alone fits."""
    if is_canonical_uuid(text):
        return text
    found: list[_Found] = []
    if uuids_beginning_with(text):
        request = provision.ListProvisionsRequest(id_prefix=text, page_size=_SHOWN)
        page = session.call(WorkspaceServiceStub(session.provision).ListProvisions, request)
        found = [(each.id, f"of {each.workspace_id}") for each in page.provisions]
    return _only("launch", text, found, "`workspacectl provisions list` shows them")


def token_id(session: Session, text: str, args: argparse.Namespace) -> str:
    """The token of `args.workspace` with this label or beginning of an id.

    Unusable unless one alone fits.
    """
    if not text or is_canonical_uuid(text):
        return text
    found = [
        (each.token_id, each.label)
        for each in _tokens(session, args.workspace)
        if each.label == text or each.token_id.startswith(text)
    ]
    return _only("token", text, found, f"`workspacectl tokens list {args.workspace}` shows them")


def offered_workspaces(session: Session, prefix: str, _args: argparse.Namespace) -> Iterable[str]:
    """Names and ids of the newest workspaces, for completion in a shell."""
    request = provision.ListWorkspacesRequest(page_size=_OFFERED)
    page = session.call(WorkspaceServiceStub(session.provision).ListWorkspaces, request)
    words = (word for each in page.workspaces for word in (each.name, each.id))
    return [word for word in words if word.startswith(prefix) and word]


def offered_provisions(session: Session, prefix: str, _args: argparse.Namespace) -> Iterable[str]:
    """Ids of the newest launches, for completion in a shell."""
    request = provision.ListProvisionsRequest(page_size=_OFFERED)
    page = session.call(WorkspaceServiceStub(session.provision).ListProvisions, request)
    return [each.id for each in page.provisions if each.id.startswith(prefix)]


def offered_tokens(session: Session, prefix: str, args: argparse.Namespace) -> Iterable[str]:
    """Ids of the tokens of the workspace that was typed, for completion in a shell."""
    ids = (each.token_id for each in _tokens(session, workspace(session, args.workspace, args)))
    return [each for each in ids if each.startswith(prefix)]


def _tokens(session: Session, workspace_id: str) -> Iterable[token_pb2.Token]:
    request = tokens.ListTokensRequest(
        workspace_id=workspace_id, include_revoked=True, page_size=_OFFERED
    )
    return session.call(TokenServiceStub(session.registry).ListTokens, request).tokens


def _workspaces_named(session: Session, text: str) -> tuple[list[_Found], list[_Found]]:
    """All workspaces that fit, and those of them that are not removed."""
    request = provision.ListWorkspacesRequest(named=text, show_removed=True, page_size=_SHOWN)
    try:
        page = session.call(WorkspaceServiceStub(session.provision).ListWorkspaces, request)
    except grpc.RpcError:
        # The registry can still be asked for an id; it knows no names.
        if not uuids_beginning_with(text):
            raise
        return [], []
    removed = workspace_pb2.WORKSPACE_STATUS_REMOVED
    return (
        [_described(each) for each in page.workspaces],
        [_described(each) for each in page.workspaces if each.status != removed],
    )


def _described(found: workspace_pb2.Workspace) -> _Found:
    status = short_name(workspace_pb2.WorkspaceStatus.DESCRIPTOR, found.status)
    return found.id, f"{found.name} of {found.tenant_id}, {status}"


def _registrations(session: Session, prefix: str) -> list[_Found]:
    request = registry.ListRegistrationsRequest(id_prefix=prefix, page_size=_SHOWN)
    method = WorkspaceRegistryServiceStub(session.registry).ListRegistrations
    page = session.call(method, request)
    return [(each.workspace_id, f"of {each.tenant_id}") for each in page.registrations]


def _only(thing: str, text: str, found: list[_Found], remedy: str) -> str:
    if len(text) < _SHORTEST:
        found = [each for each in found if not each[0].startswith(text)]
    if len(found) == 1:
        return found[0][0]
    if not found:
        least = f" (give at least {_SHORTEST} characters of an id)" if len(text) < _SHORTEST else ""
        raise Unusable(
            f"no {thing} is called {text!r} or has an id that begins so{least}; {remedy}"
        )
    shown = "".join(f"\n  {each}  {what}" for each, what in found[:_SHOWN])
    raise Unusable(f"{text!r} may be more than one {thing}; give the id, or more of it:{shown}")
