"""In safely, out for good: a thief with a copied token, and a suspension that holds."""

from __future__ import annotations

from agentworkspace.registry.v1 import (
    token_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from deploy.demo.moves import admitted, begun, register, revoked, until_let_in
from deploy.demo.narrative import Narrative
from deploy.demo.stage import Stage, fresh_id


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        7,
        "in safely, out for good",
        """Nobody lived this one: a model of the rules found it. A copied token came back after two
        relaunches, and a suspended workspace let in whoever held a ticket.""",
    )
    a_stolen_token_stays_out(stage, tell)
    a_suspension_holds(stage, tell)


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


def a_suspension_holds(stage: Stage, tell: Narrative) -> None:
    workspace = admitted(stage)
    ticket = begun(stage, workspace).bootstrap_ticket
    revoked(stage, workspace, "SUSPENDED")
    tell.asked("a workspace is suspended while its box still boots; the box comes with its ticket")
    box = register(stage, workspace, ticket=ticket)
    tell.came_back(str(box))
    tell.prove(
        (box.reason, box.recovery) == ("WORKSPACE_SUSPENDED", "STOP"),
        "the ticket of a suspended workspace opens nothing",
    )
    again = stage.as_admin(
        stage.registered.BeginIncarnation,
        workspace_registry_service_pb2.BeginIncarnationRequest(
            workspace_id=workspace, request_id=fresh_id()
        ),
    )
    tell.asked("a watchdog launches it once more")
    tell.came_back(str(again))
    tell.rule("only a launch that is told to lift a suspension does (RESUME, by an admin)")
    tell.prove(again.reason == "WORKSPACE_SUSPENDED", "a relaunch does not lift a suspension")
    lifted = stage.as_admin(
        stage.registered.BeginIncarnation,
        workspace_registry_service_pb2.BeginIncarnationRequest(
            workspace_id=workspace, request_id=fresh_id(), lift_suspension=True
        ),
    ).message
    back = register(stage, workspace, ticket=lifted.bootstrap_ticket)
    tell.prove(back.ok, "and the launch that lifts it lets its box in")
