"""A caller confined to tenants hears of their revocations only, and still how far the feed went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentworkspace.registry.v1 import token_service_pb2 as tokens
from tests.rpc.registry_server import Running, bearer, secret_of, serving
from tests.rpc.registry_story import Workspace, sha256

GLOBEX_GATEWAY = bearer(secret_of("globex-gateway"))


def watch(running: Running, after: int = 0) -> Any:
    request = tokens.WatchRevocationsRequest(after_revision=after)
    return running.tokens.WatchRevocations(request, metadata=GLOBEX_GATEWAY, timeout=30)


def heard_up_to(stream: Any, revision: int) -> list[str]:
    """The subjects that came before a keep-alive said that nothing is missing."""
    subjects = []
    for each in stream:
        kind = each.WhichOneof("subject")
        if kind is None and each.revision >= revision:
            break
        if kind is not None:
            subjects.append(getattr(each, kind))
    stream.cancel()
    return subjects


def test_a_watcher_of_one_tenant_hears_no_other(registry_database: str, tmp_path: Path) -> None:
    with serving(registry_database, tmp_path) as running:
        stream = watch(running)
        next(stream)
        acme, globex = Workspace(running), Workspace(running, tenant_id="globex")
        acme.admit()
        globex.admit()
        foreign, own = acme.mint(), globex.mint()
        acme.revoke(foreign.token.token_id)
        globex.revoke(own.token.token_id)
        acme.mint()
        last = acme.revoke_all().revision
        assert heard_up_to(stream, last) == [sha256(own.plaintext)]
        globex.mint()
        newest = globex.revoke_all().revision
        assert heard_up_to(watch(running, last), newest) == [globex.workspace_id]
