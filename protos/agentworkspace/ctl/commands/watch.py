"""`watch`: what happens, a line for each event, until Ctrl-C."""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from agentworkspace.ctl.arguments import seconds, tenant_filter, whole_number
from agentworkspace.ctl.command import Answer, Command, ExitCode, Group, Live, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.failures import exit_code, explain, failure_of
from agentworkspace.ctl.output import document, text_at
from agentworkspace.provision.v1 import workspace_service_pb2 as messages
from agentworkspace.provision.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub

Event = tuple[tuple[str, ...], Message | Mapping[str, Any]]
# The size of the one page that a poll reads: changes beyond it are missed.
_NEWEST: Final = 200
_LAUNCH: Final = ("workspace_id", "id", "incarnation", "state", "reason", "error.code")
_NEED: Final = ("tenant_id", "name", "id", "needs_launch.reason", "needs_launch.since")


def _launches(args: argparse.Namespace, session: Session) -> Answer:
    def look() -> dict[str, Any]:
        request = messages.ListProvisionsRequest(tenant_id=args.tenant, page_size=_NEWEST)
        page = session.call(WorkspaceServiceStub(session.provision).ListProvisions, request)
        return {each.id: each for each in reversed(page.provisions)}

    def changes(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Event]:
        for key, launch in now.items():
            if key not in before or before[key].state != launch.state:
                yield (_clock(), *(text_at(launch, path) for path in _LAUNCH)), launch

    header = ("TIME", "WORKSPACE", "LAUNCH", "INC", "STATE", "REASON", "ERROR")
    events = _polled(args, session, look, changes)
    return _live(args, header, (8, 13, 13, 4, 14, 12, 20), events)


def _needs_launch(args: argparse.Namespace, session: Session) -> Answer:
    def look() -> dict[str, Any]:
        request = messages.ListWorkspacesRequest(
            tenant_id=args.tenant, needs_launch=True, page_size=_NEWEST
        )
        page = session.call(WorkspaceServiceStub(session.provision).ListWorkspaces, request)
        return {each.id: each for each in reversed(page.workspaces)}

    def changes(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Event]:
        for what, these, others in (("needed", now, before), ("settled", before, now)):
            for key, workspace in these.items():
                if key not in others:
                    cells = (text_at(workspace, path) for path in _NEED)
                    yield (_clock(), what, *cells), {"event": what, **document(workspace)}

    header = ("TIME", "LAUNCH", "TENANT", "NAME", "WORKSPACE", "REASON", "SINCE")
    events = _polled(args, session, look, changes)
    return _live(args, header, (8, 7, 12, 16, 13, 14, 20), events)


def _revocations(args: argparse.Namespace, session: Session) -> Answer:
    revision = 0
    stub = TokenServiceStub(session.registry)

    def told() -> Iterator[Event]:
        nonlocal revision
        for each in stub.WatchRevocations(tokens.WatchRevocationsRequest(after_revision=revision)):
            revision = each.revision
            if each.WhichOneof("subject") is not None:
                what = each.workspace_id or f"token with SHA-256 {each.token_sha256[:16]}…"
                yield (_clock(), str(each.revision), text_at(each, "reason"), what), each

    header = ("TIME", "REVISION", "REASON", "WHAT")
    events = _again(session, told, args.interval)
    return _live(args, header, (8, 10, 12, 36), events)


def _polled(
    args: argparse.Namespace,
    session: Session,
    look: Callable[[], dict[str, Any]],
    changes: Callable[[dict[str, Any], dict[str, Any]], Iterator[Event]],
) -> Iterator[Event]:
    """What changed from poll to poll. The first reports all that is there, unless --only-new."""
    seen: dict[str, Any] | None = None

    def looked() -> Iterator[Event]:
        nonlocal seen
        while True:
            now = look()
            if seen is None and args.only_new:
                seen = now
            yield from changes(seen or {}, now)
            seen = now
            _pause(args.interval)

    return _again(session, looked, args.interval)


def _again(session: Session, told: Callable[[], Iterator[Event]], pause: float) -> Iterator[Event]:
    """The events, through outages of the service: each is noted once on standard error.

    A refusal ends it: grpc.RpcError.
    """
    away = False
    while True:
        try:
            for event in told():
                away = False
                yield event
        except grpc.RpcError as error:
            failure = failure_of(error, session)
            if exit_code(failure) is not ExitCode.UNREACHABLE:
                raise
            if not away:
                explain(failure, session)
                print(f"note: {failure.message}; trying on", file=sys.stderr)
            away = True
        _pause(pause)


def _live(
    args: argparse.Namespace,
    header: tuple[str, ...],
    widths: tuple[int, ...],
    events: Iterable[Event],
) -> Answer:
    if args.output == "wide":
        widths = tuple(36 if width == 13 else width for width in widths)
    return Answer(
        live=Live(header=header, widths=widths, events=itertools.islice(events, args.events))
    )


def _pause(span: float) -> None:
    threading.Event().wait(span)


def _clock() -> str:
    return datetime.now(UTC).strftime("%H:%M:%S")


_OPTIONS = (
    argument("--events", type=whole_number(1, 10**9), metavar="N", help="stop after so many"),
    argument(
        "--interval", type=seconds, default=2.0, metavar="SECONDS", help="between two polls (2)"
    ),
)
_LOOKED = (
    tenant_filter(),
    argument("--only-new", action="store_true", help="leave out what is there already"),
    *_OPTIONS,
)

GROUP = Group(
    "watch",
    "what happens, live",
    (
        Command("launches", "every launch, and each state that it comes to", _launches, _LOOKED),
        Command(
            "needs-launch",
            "workspaces that come to need a launch, and those that no longer do",
            _needs_launch,
            _LOOKED,
        ),
        Command("revocations", "what is revoked, as verifiers hear it", _revocations, _OPTIONS),
    ),
)
