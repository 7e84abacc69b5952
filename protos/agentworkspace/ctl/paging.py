"""Lists, fetched page by page until there are as many rows as were asked for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc

from agentworkspace.ctl.command import Answer
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.output import table

LARGEST_PAGE: Final = 200


def listed(
    args: argparse.Namespace,
    session: Session,
    method: grpc.UnaryUnaryMultiCallable[Any, Any],
    request: Any,
    *,
    rows: str,
    columns: Mapping[str, str],
    wide: Iterable[str] = (),
) -> Answer:
    """The answer of a list. Raises grpc.RpcError.

    `rows` names the response's field that holds the list; `columns` maps headings to dotted paths
    into a row, and those in `wide` are shown with `-o wide` only. The document is one response with
    the rows of all pages that were fetched.
    """
    whole: Any = None
    while True:
        if not args.all:
            had = 0 if whole is None else len(getattr(whole, rows))
            request.page_size = min(LARGEST_PAGE, args.limit - had)
        else:
            request.page_size = LARGEST_PAGE
        page = session.call(method, request)
        request.page_token = page.next_page_token
        if whole is None:
            whole = page
        else:
            whole.MergeFrom(page)
            whole.next_page_token = page.next_page_token
        found = getattr(whole, rows)
        if not page.next_page_token or (not args.all and len(found) >= args.limit):
            break
    notes = ("there are more: --limit N or --all",) if whole.next_page_token else ()
    return Answer(document=whole, view=(table("", columns, found, wide),), notes=notes)
