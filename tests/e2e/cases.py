"""Every launch of the matrix, and the ways in which an environment gets spoilt."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.e2e.vendors import WAYS, Way

SCOPES: Final = ("global", "workspace")
MODES: Final = ("byok", "platform_managed", "disabled")
# The runtime whose program reads its environment alone. What the others read besides, and whether
# they run on it, the real programs tell: `tests/runtimes`.
RUNS_HERE: Final = "claude-code"
# Nobody said whose key is under the shared name; xiaomi-mimo has no other.
REFUSED: Final = {("xiaomi-mimo", scope, "byok"): "MISSING_BYOK_CREDENTIAL" for scope in SCOPES}
# What a runtime would rather use, if it were left in its environment.
PREFERRED: Final = {"claude-code": "CLAUDE_CODE_OAUTH_TOKEN"}
# … and where that one is the right one.
OTHERWISE: Final = {"claude-code": "ANTHROPIC_AUTH_TOKEN"}


@dataclass(frozen=True)
class Case:
    """One launch. Its tenant has every secret of `owner`, and another one for each scope."""

    runtime: str
    provider: str
    scope: str
    mode: str

    @property
    def owner(self) -> str:
        return f"{self.runtime}-{self.provider}-{self.scope}"

    @property
    def model(self) -> str:
        return WAYS[self.runtime, self.provider][0]

    @property
    def way(self) -> Way:
        return WAYS[self.runtime, self.provider][1]

    @property
    def stray(self) -> str:
        """A credential of another vendor; empty where an own key of any vendor would do."""
        if self.provider == "platform":
            return ""
        preferred = PREFERRED.get(self.runtime, "OPENAI_API_KEY")
        accepted = ("CUSTOM_API_KEY", "CODEX_AUTH_JSON", preferred)
        if self.way.credential in accepted:
            return OTHERWISE.get(self.runtime, "MINIMAX_API_KEY")
        return preferred

    @property
    def endpoint_name(self) -> str:
        return "ANTHROPIC_BASE_URL" if self.runtime == "claude-code" else "OPENAI_BASE_URL"

    def __str__(self) -> str:
        return f"{self.runtime}-{self.provider}-{self.scope}-{self.mode}"


CASES: Final = [
    Case(runtime, provider, scope, mode)
    for (runtime, provider), scope, mode in itertools.product(WAYS, SCOPES, MODES)
]

RUNNING: Final = [case for case in CASES if case.runtime == RUNS_HERE]

# Those that also run as processes of their own.
ALONE: Final = [
    Case("claude-code", "platform", "global", "platform_managed"),
    Case("claude-code", "anthropic-oauth", "workspace", "byok"),
    Case("claude-code", "minimax", "global", "byok"),
]

# Which case, what happens to its environment on the way, and what the check says.
SABOTAGE: Final[Mapping[str, tuple[Case, dict[str, str | None], str]]] = {
    "an own key sent through the proxy": (
        Case("claude-code", "minimax", "global", "byok"),
        {"ANTHROPIC_BASE_URL": "proxy"},
        "the upstream",
    ),
    "another vendor's subscription left in": (
        Case("claude-code", "minimax", "workspace", "byok"),
        {"CLAUDE_CODE_OAUTH_TOKEN": "stray-oauth-token"},
        "another credential",
    ),
    "the vendor's endpoint forgotten": (
        Case("claude-code", "deepseek", "workspace", "byok"),
        {"ANTHROPIC_BASE_URL": None},
        "the upstream",
    ),
    "the tenant's key on the platform's bill": (
        Case("claude-code", "platform", "workspace", "platform_managed"),
        {"ANTHROPIC_API_KEY": "own-key-of-the-tenant"},
        "another credential",
    ),
    "the workspace header forgotten": (
        Case("claude-code", "platform", "workspace", "platform_managed"),
        {"ANTHROPIC_CUSTOM_HEADERS": None},
        "the workspace header",
    ),
    "the model forgotten": (
        Case("claude-code", "anthropic-oauth", "global", "byok"),
        {"MODEL": "sonnet"},
        "the model",
    ),
    "no credential at all": (
        Case("claude-code", "anthropic-oauth", "workspace", "byok"),
        {"CLAUDE_CODE_OAUTH_TOKEN": None},
        "Not logged in",
    ),
    "an endpoint where nobody listens": (
        Case("claude-code", "anthropic-api", "workspace", "byok"),
        {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"},
        "Agent error",
    ),
    "an endpoint off this machine": (
        Case("claude-code", "anthropic-api", "workspace", "byok"),
        {"ANTHROPIC_BASE_URL": "https://api.anthropic.invalid"},
        "Agent error",
    ),
    "a disabled box that asks all the same": (
        Case("claude-code", "anthropic-api", "workspace", "disabled"),
        {"MOLECULE_LLM_BILLING_MODE_RESOLVED": "byok", "ANTHROPIC_API_KEY": "a-stray-key"},
        "the reply",
    ),
}
