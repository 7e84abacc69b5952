"""The metered proxy as a deployment configured it, and who it is for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agentworkspace.core.secret import Secret

WORKSPACE_PLACE: Final = "{workspace_id}"
# Never handed out: `materialize` puts the launch's own token in its place.
_MADE_AT_THE_LAUNCH: Final = Secret("made at the launch")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformProxy:
    """Addresses of the proxy and the usage token of the tenant at hand; blank is absent.

    `usage_token_unreadable`: the tenant has a token of its own, and it does not decrypt.
    `per_box`: each box shows a token of its own there, which its launch makes; `usage_token`
    then stands for it until the launch is known.
    """

    base_url: str | None = None
    anthropic_base_url: str | None = None
    usage_url: str | None = None
    usage_token: Secret | None = None
    usage_token_unreadable: bool = False
    per_box: bool = False

    def missing_for(self, *, anthropic_native: bool) -> tuple[str, ...]:
        """What a platform-paid launch lacks on the surface that its runtime speaks."""
        missing = []
        if anthropic_native:
            if not (self.anthropic_base_url or "").strip():
                missing.append("PLATFORM_LLM_ANTHROPIC_BASE_URL")
        elif not (self.base_url or "").strip():
            missing.append("PLATFORM_LLM_BASE_URL")
        if not self.per_box and (self.usage_token is None or self.usage_token.is_blank()):
            missing.append("a usage token for the tenant")
        return tuple(missing)

    def for_boxes(self) -> PlatformProxy:
        """The same proxy for boxes with tokens of their own: no tenant's token is used."""
        return replace(
            self, usage_token=_MADE_AT_THE_LAUNCH, usage_token_unreadable=False, per_box=True
        )

    def address(self, *, anthropic: bool, workspace_id: str) -> str:
        """The proxy on one of its two surfaces, for one workspace; empty when not configured."""
        return for_workspace(self.anthropic_base_url if anthropic else self.base_url, workspace_id)

    def addresses(self) -> tuple[str, ...]:
        """Every configured address."""
        every = (self.base_url, self.anthropic_base_url, self.usage_url)
        return tuple(url for url in every if url and url.strip())


def for_workspace(url: str | None, workspace_id: str) -> str:
    """An address of the proxy with `{workspace_id}` filled in; empty when there is none."""
    return (url or "").strip().replace(WORKSPACE_PLACE, workspace_id)
