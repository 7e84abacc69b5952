"""The record of a rule: whether it fired, on what, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One rule of a resolution.

    `inputs` are names with their scope (`CLAUDE_CODE_OAUTH_TOKEN@workspace`) or model and
    provider names; never the value of a secret.
    """

    rule: str
    fired: bool
    inputs: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning: it stops nothing. `code` is stable, `text` is for people, `metadata` has what
    is dynamic in the text by name; never a secret.
    """

    code: str
    text: str
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
