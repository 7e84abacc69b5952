"""`catalogue diff`: what another catalogue would change, before it is put into force."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress

from agentworkspace.ctl.command import Answer, Command, ExitCode, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.files import named, read_text
from agentworkspace.ctl.output import Grid, document, facts, text_at
from agentworkspace.provision.v1 import catalogue_service_pb2 as messages
from agentworkspace.provision.v1.catalogue_service_pb2_grpc import CatalogueServiceStub

_SHOWN: Final = ("payer", "provider", "refusal", "endpoint", "credential", "model")
_HEADER: Final = ("WORKSPACE", "TENANT", "RUNTIME", "PAYER", "PROVIDER", "REFUSAL")
_WIDE: Final = ("ENDPOINT", "CREDENTIAL", "MODEL")


def _diff(args: argparse.Namespace, session: Session) -> Answer:
    request = messages.PreviewCatalogueRequest(text=read_text(args.file))
    session.files["text"] = named(args.file)
    # It takes longer the more workspaces there are: no deadline, but a progress bar.
    stream: Any = CatalogueServiceStub(session.provision).PreviewCatalogue(request)
    begun = messages.CataloguePreviewBegun()
    summary = messages.CataloguePreviewSummary()
    changes: list[messages.CatalogueChange] = []
    for piece in _with_a_bar(stream):
        match piece.WhichOneof("piece"):
            case "begun":
                begun = piece.begun
            case "changed":
                changes.append(piece.changed)
            case "summary":
                summary = piece.summary
    moved = summary.payer_changed_count
    return Answer(
        document={
            "begun": document(begun),
            "changes": [document(each) for each in changes],
            "summary": document(summary),
        },
        view=(facts("", begun), _table(changes), facts("in all", summary)),
        notes=tuple(_notes(begun, moved)),
        names=tuple(each.workspace_id for each in changes),
        exit_code=ExitCode.FOUND if moved else ExitCode.DONE,
    )


def _with_a_bar(stream: Iterable[Any]) -> Iterator[Any]:
    """The pieces as they come, with a bar on standard error while somebody looks."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("comparing")
        for piece in stream:
            kind = piece.WhichOneof("piece")
            if kind == "begun":
                progress.update(bar, total=piece.begun.workspace_count)
            elif kind == "progress":
                progress.update(bar, completed=piece.progress.examined_count)
            yield piece


def _table(changes: Iterable[messages.CatalogueChange]) -> Grid:
    """What is the same before and after is shown once."""
    rows = tuple(
        (each.workspace_id, each.tenant_id, each.runtime, *(_moved(each, name) for name in _SHOWN))
        for each in changes
    )
    return Grid("what would change", (*_HEADER, *_WIDE), rows, frozenset(_WIDE))


def _moved(change: messages.CatalogueChange, name: str) -> str:
    before, after = text_at(change.before, name), text_at(change.after, name)
    return before if before == after else f"{before} → {after}"


def _notes(begun: messages.CataloguePreviewBegun, moved: int) -> Iterator[str]:
    for reason in begun.refused_for:
        yield f"the running service would not take this catalogue over: {reason}"
    if moved:
        yield (
            f"{moved} workspace(s) would be paid for by somebody else, or by nobody, from their"
            " next launch on; nothing was changed"
        )


DIFF: Final = Command(
    "diff",
    "what another catalogue would change for every workspace; exit code 3 if any payer would",
    _diff,
    (argument("file", type=Path, metavar="FILE", help="the whole catalogue; - for stdin"),),
)
