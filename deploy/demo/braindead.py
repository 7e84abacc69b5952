"""Incident 1: a box that was online but dead, after two launches at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from agentworkspace.registry.v1 import registration_service_pb2
from deploy.demo.moves import (
    admitted,
    begun,
    create,
    launch,
    register,
    started,
    status,
    until_let_in,
)
from deploy.demo.narrative import Narrative
from deploy.demo.stage import Stage, fresh_id

BOOTSTRAPPED = registration_service_pb2.REGISTER_OUTCOME_BOOTSTRAPPED
RECOVERED = registration_service_pb2.REGISTER_OUTCOME_RECOVERED


def new_workspace(stage: Stage) -> str:
    secrets = {"CLAUDE_CODE_OAUTH_TOKEN": f"demo-oauth-{fresh_id()}"}
    return create(stage, "acme", "opus", secrets).message.workspace.id


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        1,
        "online but braindead",
        """A watchdog and an operator relaunched one workspace within a second. The second launch
        revoked the first box's token, the box got a terminal refusal, nothing ever recovered.""",
    )
    two_launches_become_one(stage, tell)
    a_box_comes_back_from_a_lost_token(stage, tell)
    an_old_box_makes_way(stage, tell)


def two_launches_become_one(stage: Stage, tell: Narrative) -> None:
    workspace = new_workspace(stage)
    tell.asked("a watchdog and an operator call ProvisionWorkspace for one workspace at once")
    # Not AUTO_RESTART: the first caller would be told that no launch is needed.
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda reason: launch(stage, workspace, reason).message, ("RESTART",) * 2)
        )
    with_env = [answer for answer in answers if answer.env]
    joined = [answer for answer in answers if answer.joined]
    tell.came_back(f"{len(with_env)} environment handed out, {len(joined)} caller joined")
    tell.rule("one claim per workspace, taken under its row lock")
    tell.prove(len(with_env) == 1 and len(joined) == 1, "two launches at once became one")

    env = with_env[0].env
    first = register(stage, workspace, ticket=env["WORKSPACE_BOOTSTRAP_TICKET"])
    tell.asked("the box calls Register with the ticket from its environment")
    tell.came_back("BOOTSTRAPPED, with a token of its own")
    tell.rule("admission line TICKET: the current ticket, outstanding, not fenced")
    tell.prove(
        first.ok and first.message.outcome == BOOTSTRAPPED, "the box that was launched got in"
    )


def a_box_comes_back_from_a_lost_token(stage: Stage, tell: Narrative) -> None:
    workspace = admitted(stage)
    box = register(stage, workspace, ticket=begun(stage, workspace).bootstrap_ticket)
    begun(stage, workspace, ticket_seconds=1)
    tell.asked(
        "a relaunch takes the token of a running box, and its own box never comes; when its "
        "ticket has run out, the old box registers with what it holds"
    )
    back = until_let_in(stage, workspace, bearer=box.message.auth_token)
    tell.came_back(f"{box.message.line} at first, now {back.message.line}: a fresh token")
    tell.rule("admission line OWN_TOKEN: taken by a relaunch, nobody lives, no ticket outstanding")
    tell.prove(back.ok and back.message.outcome == RECOVERED, "a healthy box is never locked out")

    tell.asked(
        "the same stale token again, now that a live one exists; and somebody with only the id"
    )
    stale = register(stage, workspace, bearer=box.message.auth_token)
    stranger = register(stage, workspace)
    tell.came_back(f"{stale}; {stranger}")
    tell.rule("admission line ANOTHER_LIVES: any live instance token closes every other way in")
    tell.prove(
        (stale.reason, stranger.reason) == ("BEARER_REJECTED", "BEARER_MISSING")
        and {stale.recovery, stranger.recovery} == {"RELAUNCH"},
        "a stale bearer and a stranger were refused, and told what helps",
    )


def an_old_box_makes_way(stage: Stage, tell: Narrative) -> None:
    workspace = new_workspace(stage)
    old = launch(stage, workspace, "CREATE").message
    old_box = register(stage, workspace, ticket=old.env["WORKSPACE_BOOTSTRAP_TICKET"])
    started(stage, old.provision.id)
    new = launch(stage, workspace, "RESTART").message
    tell.asked("a newer launch is on its way, and the old box registers")
    waiting = register(stage, workspace, bearer=old_box.message.auth_token)
    tell.came_back(str(waiting))
    tell.rule("admission line NEWER_TICKET: older evidence, a newer ticket outstanding")
    tell.prove(
        (waiting.reason, waiting.recovery) == ("INCARNATION_SUPERSEDED", "RETRY"),
        "the old box was not let in, and not told never",
    )
    tell.prove(
        status(stage, workspace) == "WORKSPACE_STATUS_PROVISIONING",
        "an environment that was delivered is not reported as a running box",
    )
    register(stage, workspace, ticket=new.env["WORKSPACE_BOOTSTRAP_TICKET"])
    tell.asked("the new box has registered with its ticket; the old one tries once more")
    stopped = register(stage, workspace, bearer=old_box.message.auth_token)
    tell.came_back(str(stopped))
    tell.rule("admission line SUPERSEDED: older evidence, a newer incarnation has registered")
    tell.prove(
        (stopped.reason, stopped.recovery) == ("INCARNATION_SUPERSEDED", "STOP"),
        "only now the old box is told to stop",
    )
