"""Incident 5: a token that could read pull requests but not issues."""

from __future__ import annotations

from deploy.demo.moves import create, launch, started
from deploy.demo.narrative import Narrative
from deploy.demo.outside import ISSUES, MODELS, PULLS
from deploy.demo.stage import Stage, fresh_id


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        5,
        "token without a scope",
        """Engineer agents carried a source-host token that could read pull requests but not
        issues. Nobody knew until agents failed in the middle of their work.""",
    )
    secrets = {
        "GITEA_TOKEN": f"demo-gitea-{fresh_id()}",
        "ANTHROPIC_API_KEY": f"demo-anthropic-{fresh_id()}",
    }
    workspace = the_missing_scope_is_named(stage, tell, secrets)
    a_refused_key_starts_nothing(stage, tell, workspace)
    a_busy_vendor_proves_nothing(stage, tell, workspace)


def the_missing_scope_is_named(stage: Stage, tell: Narrative, secrets: dict[str, str]) -> str:
    stage.outside.source.statuses.update({PULLS: 200, ISSUES: 403})
    stage.outside.vendor.statuses[MODELS] = 200
    tell.asked("create from the template `engineer`; the host says 200 to pulls, 403 to issues")
    created = create(stage, "acme", "claude-opus-4-7", secrets, template="engineer").message
    launched = launch(stage, created.workspace.id, "CREATE").message
    started(stage, launched.provision.id)
    warnings = [each for each in created.warnings if each.code == "MISSING_SCOPE"]
    tell.came_back(f"a workspace, and a warning: {warnings[0].message if warnings else 'none'}")
    tell.rule("a template says which secrets a role needs, and what proves each of their scopes")
    tell.prove(
        len(warnings) == 1 and "read:issue" in warnings[0].message and bool(created.workspace.id),
        "the missing scope is named before any agent runs, and stops nobody",
    )
    tell.prove(
        bool(launched.env)
        and "MISSING_SCOPE" in {each.code for each in launched.warnings}
        and not [value for value in secrets.values() if value in str(launched.warnings)],
        "the launch says it again, without the token's value",
    )
    return created.workspace.id


def a_refused_key_starts_nothing(stage: Stage, tell: Narrative, workspace: str) -> None:
    stage.outside.vendor.statuses[MODELS] = 401
    tell.asked("the vendor of the model now answers 401 to the tenant's key; launch")
    refused = launch(stage, workspace, "RESTART")
    tell.came_back(str(refused))
    tell.rule("PROVISION_PROBES=enforce: a model credential that its vendor refuses is fatal")
    tell.prove(
        refused.reason == "INVALID_BYOK_CREDENTIAL", "no box starts with a key that cannot work"
    )


def a_busy_vendor_proves_nothing(stage: Stage, tell: Narrative, workspace: str) -> None:
    stage.outside.vendor.statuses[MODELS] = 429
    tell.asked("the vendor is busy and answers 429; launch")
    answer = launch(stage, workspace, "RESTART").message
    said = [each.message for each in answer.warnings if each.code == "PROBE_INCONCLUSIVE"]
    tell.came_back(f"an environment, and a warning: {said[0] if said else 'none'}")
    tell.rule("429, 5xx and time-outs are inconclusive: they stop nothing, and say so")
    tell.prove(
        bool(answer.env) and len(said) == 1 and "429" in said[0],
        "a vendor's bad moment is not a tenant's bad key",
    )
