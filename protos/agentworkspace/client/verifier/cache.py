"""The cache of live tokens: of bounded size, and emptied by the feed of revocations."""

from __future__ import annotations

from typing import NamedTuple

from agentworkspace.client.verifier.principals import Principal


class Known(NamedTuple):
    """A positive answer. It knows all revocations up to `revision`, and must not be used any more
    from `until` on, in seconds since the epoch."""

    principal: Principal
    revision: int
    until: float


class VerifierCache:
    """Answers by the SHA-256 digest of the token. Readers use the plain dict `entries`.

    When it is full, the oldest entry is dropped. It is not the least recently used one, because
    then every read would have to be noted.
    """

    def __init__(self, max_entries: int) -> None:
        if max_entries < 1:
            raise ValueError("max_entries must be positive")
        self._max_entries = max_entries
        self.entries: dict[bytes, Known] = {}
        self._of_workspace: dict[str, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def put(self, digest: bytes, known: Known) -> None:
        self.drop(digest)
        if len(self.entries) >= self._max_entries:
            self.drop(next(iter(self.entries)))
        self.entries[digest] = known
        self._of_workspace.setdefault(known.principal.workspace_id, set()).add(digest)

    def drop(self, digest: bytes) -> None:
        known = self.entries.pop(digest, None)
        if known is None:
            return
        workspace_id = known.principal.workspace_id
        siblings = self._of_workspace[workspace_id]
        siblings.discard(digest)
        if not siblings:
            del self._of_workspace[workspace_id]

    def drop_workspace(self, workspace_id: str) -> None:
        for digest in self._of_workspace.pop(workspace_id, set()):
            del self.entries[digest]

    def clear(self) -> None:
        self.entries.clear()
        self._of_workspace.clear()
