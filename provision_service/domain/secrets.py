"""Tenant and workspace secrets: how the two scopes merge, and where each value came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentworkspace.core.secret import Secret
from provision_service.domain.scope import Scope

MODEL_NAMES = ("MOLECULE_MODEL", "MODEL")


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One row as read: `value` None means that it could not be decrypted.

    `comingled` says that the value equals a registered platform credential. `provider` is
    whose credential the writer said it is, empty when nothing was said.
    """

    key: str
    scope: Scope
    value: Secret | None
    comingled: bool = False
    provider: str = ""

    @property
    def present(self) -> bool:
        """Whether there is something to use: blank is absent, an unreadable row is not."""
        return self.value is None or not self.value.is_blank()

    @property
    def shown(self) -> str:
        """Name and scope, for steps and messages."""
        return f"{self.key}@{self.scope}"


@dataclass(frozen=True, slots=True)
class MergedSecrets:
    """What one workspace sees: a workspace secret hides the global one of the same key."""

    by_key: Mapping[str, StoredSecret]
    present: frozenset[str] = field(init=False)
    present_at_workspace: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        there = [row for row in self.by_key.values() if row.present]
        at_workspace = [row.key for row in there if row.scope is Scope.WORKSPACE]
        object.__setattr__(self, "present", frozenset([row.key for row in there]))
        object.__setattr__(self, "present_at_workspace", frozenset(at_workspace))

    def text(self, key: str) -> str:
        """The value, trimmed; empty when absent, blank or unreadable."""
        row = self.by_key.get(key)
        return "" if row is None or row.value is None else row.value.reveal().strip()


def merge(
    global_rows: Iterable[StoredSecret], workspace_rows: Iterable[StoredSecret]
) -> MergedSecrets:
    """Merge a tenant's rows with one workspace's rows, keeping the scope of each."""
    merged = {row.key: row for row in global_rows}
    merged.update((row.key, row) for row in workspace_rows)
    return MergedSecrets({key: merged[key] for key in sorted(merged)})


def stored(
    values: Mapping[str, str], scope: Scope, providers: Mapping[str, str] | None = None
) -> list[StoredSecret]:
    """Rows from plain texts; `providers` says of some keys whose credential they are."""
    said = providers or {}
    return [
        StoredSecret(key, scope, Secret(text), provider=said.get(key, ""))
        for key, text in values.items()
    ]


def named_only(names: Iterable[str]) -> MergedSecrets:
    """A merged view of which nothing but names is known, as a preview has it."""
    placeholder = Secret("known by name only")
    return merge((), (StoredSecret(name, Scope.WORKSPACE, placeholder) for name in names))
