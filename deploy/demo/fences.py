"""Incident 7: a suspension that a box walked through, and a thief who came back."""

from __future__ import annotations

from agentworkspace.registry.v1 import token_pb2, token_service_pb2
from deploy.demo.moves import (
    admitted,
    begun,
    create,
    launch,
    register,
    revoked,
    started,
    status,
    until_let_in,
)
from deploy.demo.narrative import Narrative
from deploy.demo.stage import Stage, fresh_id


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        7,
        "a fence with a hole",
        """A workspace was suspended between its launch and its boot, and the box came up all the
        same. A copy of a token that had been cycled came back after the theft was reported.""",
    )
    a_suspension_holds(stage, tell)
    a_stolen_token_stays_out(stage, tell)


def a_suspension_holds(stage: Stage, tell: Narrative) -> None:
    workspace = _new_workspace(stage)
    first = launch(stage, workspace, "CREATE").message
    revoked(stage, workspace, "SUSPENDED")
    tell.asked("the environment is handed out, an operator suspends, and only then the box boots")
    kept_out = register(stage, workspace, ticket=first.env["WORKSPACE_BOOTSTRAP_TICKET"])
    started(stage, first.provision.id)
    restarts = [launch(stage, workspace, each) for each in ("RESTART", "AUTO_RESTART", "RECREATE")]
    tell.came_back(f"{kept_out}; and every launch: {restarts[0].reason}")
    tell.rule("admission line FENCED: a suspension voids the ticket; RESUME by an admin lifts it")
    tell.prove(
        (kept_out.reason, kept_out.recovery) == ("WORKSPACE_SUSPENDED", "STOP"),
        "the box was not let in, with the very ticket of its launch",
    )
    tell.prove(
        {each.reason for each in restarts} == {"WORKSPACE_SUSPENDED"},
        "no restart lifts a suspension, also not the one of a machine",
    )
    resumed = launch(stage, workspace, "RESUME").message
    again = register(stage, workspace, ticket=resumed.env["WORKSPACE_BOOTSTRAP_TICKET"])
    tell.prove(
        again.ok and status(stage, workspace) == "WORKSPACE_STATUS_RUNNING",
        "an admin's RESUME launched it, and the new box is in",
    )


def a_stolen_token_stays_out(stage: Stage, tell: Narrative) -> None:
    workspace = admitted(stage)
    box = register(stage, workspace, ticket=begun(stage, workspace).bootstrap_ticket).message
    tell.asked("a box's token turns up in a log; whoever found it revokes it by its own text")
    receipt = stage.as_admin(
        stage.tokens.RevokeToken,
        token_service_pb2.RevokeTokenRequest(
            token=box.auth_token, reason=token_pb2.REVOKE_REASON_COMPROMISED
        ),
    ).message
    tell.came_back(f"the token {receipt.token_id} of workspace {receipt.workspace_id} is ended")
    tell.rule("COMPROMISED ends what its holder could have made, and fences the newest launch")
    thief = register(stage, workspace, bearer=box.auth_token)
    tell.prove(
        (thief.reason, thief.recovery) == ("TICKET_REQUIRED", "RELAUNCH"),
        "behind the fence the stolen token opens nothing",
    )
    begun(stage, workspace, ticket_seconds=1)
    tell.asked("a new launch lifts the fence, but its ticket runs out; the thief tries once more")
    thief = until_let_in(stage, workspace, bearer=box.auth_token)
    tell.came_back(str(thief))
    tell.rule("admission line COMPROMISED: a stolen token is never anybody's own again")
    tell.prove(
        (thief.reason, thief.recovery) == ("BEARER_REJECTED", "RELAUNCH"),
        "and it stays out when the fence is gone",
    )


def _new_workspace(stage: Stage) -> str:
    secrets = {"CLAUDE_CODE_OAUTH_TOKEN": f"demo-oauth-{fresh_id()}"}
    return create(stage, "acme", "opus", secrets).message.workspace.id
