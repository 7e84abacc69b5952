"""Short ways to say what a launch starts from, for the tests of provision's domain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import provision_service
from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.decision import Decision, Inputs, decide
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, merge, stored
from provision_service.domain.spec import WorkspaceSpec

CATALOGUE_FILE = Path(provision_service.__file__).parent / "catalogue" / "catalogue.yaml"
CATALOGUE_TEXT = CATALOGUE_FILE.read_text(encoding="utf-8")
CATALOGUE = parse_catalogue(CATALOGUE_TEXT, file="catalogue.yaml")
WORKSPACE = "6b66de8d-0000-4000-8000-000000000001"

PROXY = PlatformProxy(
    base_url="https://llm.platform.test/openai/v1",
    anthropic_base_url="https://llm.platform.test/anthropic",
    usage_url="https://llm.platform.test/usage",
    usage_token=Secret("usage-token-of-the-tenant"),
)
NO_PROXY = PlatformProxy()


def secrets(
    tenant: Mapping[str, str] | None = None,
    workspace: Mapping[str, str] | None = None,
    said: Mapping[str, str] | None = None,
) -> MergedSecrets:
    """What a workspace sees of these tenant-wide and own secrets."""
    return merge(stored(tenant or {}, Scope.GLOBAL), stored(workspace or {}, Scope.WORKSPACE, said))


def launch(
    runtime: str = "claude-code",
    model: str = "",
    *,
    tenant: Mapping[str, str] | None = None,
    workspace: Mapping[str, str] | None = None,
    override: str = "",
    request_model: str = "",
    platform: PlatformProxy = PROXY,
    catalogue: Catalogue = CATALOGUE,
    role: str = "",
    parent_id: str = "",
    required_env: tuple[str, ...] = (),
    at_create: bool = False,
    said: Mapping[str, str] | None = None,
) -> Decision:
    """Decide a launch; `tenant` and `workspace` are secrets at the two scopes.

    `said` is whose credential the writer said some of the workspace's own are.
    """
    return decide(
        Inputs(
            workspace_id=WORKSPACE,
            spec=WorkspaceSpec(
                runtime=runtime,
                model=model,
                billing_mode_override=override,
                role=role,
                parent_id=parent_id,
                required_env=required_env,
            ),
            secrets=secrets(tenant, workspace, said),
            catalogue=catalogue,
            platform=platform,
            request_model=request_model,
            at_create=at_create,
        )
    )


def environment(decision: Decision) -> dict[str, str]:
    """The plain environment of a launch that was not refused."""
    assert decision.plan is not None, decision.refusal
    return decision.plan.reveal()


def table(decision: Decision) -> dict[str, str]:
    """The environment as the design's table has it: without what a launch recipe adds."""
    assert decision.plan is not None, decision.refusal
    recipe = decision.plan.launch
    added = {"WORKSPACE_LAUNCH", *recipe.names} if recipe is not None else set()
    return {name: value for name, value in environment(decision).items() if name not in added}


def reason(decision: Decision) -> str | None:
    """The short name of the refusal, or None."""
    return decision.refusal.reason.value if decision.refusal is not None else None


def message(decision: Decision) -> str:
    """The public text of the refusal."""
    assert decision.refusal is not None
    return decision.refusal.message


def removed(decision: Decision) -> dict[str, str]:
    """Names that did not reach the box, with why."""
    assert decision.plan is not None, decision.refusal
    return {entry.name: entry.why for entry in decision.plan.removed}


def warnings(decision: Decision) -> list[str]:
    """The codes of the warnings."""
    return [notice.code for notice in decision.warnings]


def edited(*changes: tuple[str, str]) -> str:
    """The shipped catalogue's text with pieces replaced, each of which must be there once."""
    text = CATALOGUE_TEXT
    for old, new in changes:
        assert text.count(old) == 1, (text.count(old), old)
        text = text.replace(old, new)
    return text


# A catalogue in which haiku leaves the tenant's bill for the platform's.
_PLATFORMS_MENU = (
    "          - moonshot/kimi-k2.6\n          - moonshot/kimi-k2.5\n          - minimax/M"
)
HAIKU_AT_THE_PLATFORM = edited(
    ("          - haiku\n          - anthropic:sonnet\n", "          - anthropic:sonnet\n"),
    (_PLATFORMS_MENU, f"          - haiku\n{_PLATFORMS_MENU}"),
)
