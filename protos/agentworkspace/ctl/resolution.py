"""Who pays and why, as a person wants to read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from agentworkspace.ctl.output import Branch, Grid, facts, text_at
from agentworkspace.provision.v1 import launch_pb2, resolution_pb2, workspace_pb2

# The branches of the tree, each with the rules that it shows: those named `mode.…`, and so on.
_GROUPS: Final = {"payer": "mode", "provider": "derivation", "model": "model"}


def resolution_view(resolution: resolution_pb2.Resolution) -> tuple[Grid, ...]:
    """The decision, what would change it, the rules in their order, and warnings."""
    # The alternatives are sentences, which read badly as a list on one line.
    grids = [facts("who pays", resolution, leave=("alternatives",))]
    if resolution.alternatives:
        rows = tuple((each,) for each in resolution.alternatives)
        grids.append(Grid("what would change it", (), rows))
    return (*grids, steps_view(resolution.steps), *warnings_view(resolution.warnings))


def why_tree(workspace: workspace_pb2.Workspace, found: resolution_pb2.Resolution) -> Branch:
    """The payer, and below it what made it so, down to what each rule looked at."""
    through = f" through {found.provider_selection}" if found.provider_selection else ""
    branches = [
        Branch(title, tuple(_decided(step) for step in found.steps if _fired(step, rules)))
        for title, rules in _GROUPS.items()
    ]
    branches = [each for each in branches if each.reasons]
    passed = tuple(Branch(f"{s.rule}: {s.text}") for s in found.steps if not s.fired)
    branches.append(Branch("rules that decided nothing here", passed))
    if found.refusal:
        reason = text_at(found, "refusal")
        why = (Branch(found.refusal_message),)
        branches.insert(0, Branch(f"a launch would be refused: {reason}", why, decided=True))
    if found.warnings:
        odd = tuple(Branch(f"{each.code}: {each.message}") for each in found.warnings)
        branches.append(Branch("what is odd", odd))
    if found.alternatives:
        branches.append(Branch("what would change it", tuple(map(Branch, found.alternatives))))
    payer = f"{workspace.tenant_id}/{workspace.name} resolves as {found.resolved_mode}{through}"
    return Branch(payer, tuple(branches), decided=True)


def _fired(step: resolution_pb2.Step, rules: str) -> bool:
    return step.fired and step.rule.partition(".")[0] == rules


def _decided(step: resolution_pb2.Step) -> Branch:
    looked_at = f" ({', '.join(step.inputs)})" if step.inputs else ""
    return Branch(f"{step.rule}: {step.text}{looked_at}")


def launch_view(launch: launch_pb2.Launch) -> tuple[Grid, ...]:
    """What the box gets beside its environment; nothing where there is no recipe."""
    rows = [("model, as the program spells it", launch.model)] if launch.model else []
    rows += [("set beside the table", ", ".join(launch.env_names))] if launch.env_names else []
    rows += [("argument", argument) for argument in launch.arguments]
    rows += [("fresh directory", f"{made.env} = {made.path}") for made in launch.directories]
    for file in launch.files:
        kind = "file (secret)" if file.secret else "file"
        rows.append((kind, f"{file.path} {file.mode}"))
    return (Grid("launch recipe", (), tuple(rows)),) if rows else ()


def steps_view(steps: Sequence[resolution_pb2.Step]) -> Grid:
    """The rules in the order they were looked at; those marked with `*` decided something."""
    rows = tuple(
        (
            f"{number}",
            "*" if step.fired else "",
            step.rule,
            text_at(step, "inputs"),
            step.text,
        )
        for number, step in enumerate(steps, start=1)
    )
    return Grid("steps (* decided)", ("#", "", "RULE", "LOOKED AT", "WHY"), rows)


def warnings_view(warnings: Iterable[resolution_pb2.Warning]) -> tuple[Grid, ...]:
    """Nothing at all when there is nothing to warn of."""
    rows = tuple((each.code, each.message) for each in warnings)
    return (Grid("warnings", ("CODE", "WHAT TO KNOW"), rows),) if rows else ()
