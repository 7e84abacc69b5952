"""Whatever is lost, crashes or is revoked: once the trouble is over, the box is in.

The life of a box is played against the real admission table, with faults drawn from a seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest

from agentworkspace.client.agent.launch import Launch
from agentworkspace.client.agent.life import AgentLife
from agentworkspace.client.agent.memory import ProcessMemory
from agentworkspace.client.agent.steps import (
    Answer,
    CallHeartbeat,
    CallRegister,
    NextAction,
    Recall,
    Save,
    Step,
    Steps,
    Wait,
)
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, derive_instance_token, new_token, sha256_hex
from agentworkspace.rpc.errors import RpcFailure
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import RevokeReason
from tests.rpc.agent_model_registry import WORKSPACE, ModelRegistry

LOST = RpcFailure(grpc.StatusCode.DEADLINE_EXCEEDED, "", "", "no answer came")
DOWN = RpcFailure(grpc.StatusCode.UNAVAILABLE, "", "ERROR_REASON_STORE_UNAVAILABLE", "no store")


@dataclass
class Host:
    """The machine of one box: it may crash, and its disk may refuse; it never forgets."""

    registry: ModelRegistry
    launch: Launch
    chance: random.Random
    memory: ProcessMemory = field(default_factory=ProcessMemory)
    forgets: bool = False
    trouble: bool = True
    admitted: bool = False
    beats: int = 0
    request_ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.boot()

    def boot(self) -> None:
        if self.forgets:
            self.memory = ProcessMemory()
        self.admitted = False
        self.life = AgentLife(
            self.launch,
            new_secret=lambda: new_token(TokenKind.INSTANCE, entropy=self.chance.randbytes),
            new_request_id=lambda: f"request-{self.chance.getrandbits(64):x}",
            chance=self.chance.random,
        )
        self.steps: Steps = self.life.steps()
        self.answer: Answer = None

    def turn(self) -> Step:
        step = self.steps.send(self.answer)
        self.answer = self.perform(step)
        return step

    def perform(self, step: Step) -> Answer:
        match step:
            case Recall():
                return OSError("disk") if self.happens(0.1) else self.memory.load()
            case Save():
                if self.happens(0.1):
                    return OSError("disk")
                self.memory.save(step.remembered)
            case CallRegister():
                self.check_it_cannot_be_lost(step)
                answer: Answer = self.called(
                    lambda: self.registry.register(
                        step.bearer, step.ticket, step.token_sha256, step.request_id
                    )
                )
                self.admitted = self.admitted or not isinstance(answer, RpcFailure)
                return answer
            case CallHeartbeat():
                assert self.admitted, "Register comes before the first heartbeat"
                beaten: Answer = self.called(lambda: self.registry.heartbeat(step.bearer))
                self.beats += beaten is NextAction.NONE
                return beaten
            case Wait():
                assert 0.0 <= step.seconds <= 60.0
        return None

    def called(self, call: Any) -> Any:
        if self.happens(0.2):
            return DOWN
        answer = call()
        return LOST if self.happens(0.2) else answer

    def happens(self, probability: float) -> bool:
        return self.trouble and self.chance.random() < probability

    def check_it_cannot_be_lost(self, step: CallRegister) -> None:
        kept = self.memory.load()
        again = [each for each in (kept and kept.held, kept and kept.candidate) if each]
        again += [derived for derived in [_derived(self.launch)] if derived]
        assert step.token_sha256 in {sha256_hex(each) for each in again}
        if step.token_sha256 not in {sha256_hex(d) for d in [_derived(self.launch)] if d}:
            known = self.request_ids.setdefault(step.request_id, step.token_sha256)
            assert known == step.token_sha256, "one request_id, one secret"


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a play that can be repeated, not a secret


def _derived(launch: Launch) -> Secret | None:
    if launch.ticket is None:
        return None
    return derive_instance_token(launch.ticket, launch.workspace_id, launch.incarnation or 0)


def play(host: Host, *, turns: int, revocations: bool = True) -> None:
    for _ in range(turns):
        host.turn()
        if host.chance.random() < 0.03:
            host.boot()
        if revocations and host.chance.random() < 0.03:
            host.registry.revoke(RevokeReason.OPERATOR)
        if revocations and host.chance.random() < 0.03:
            host.life.request_rotation()


def must_come_in(host: Host) -> None:
    host.trouble = False
    before = host.beats
    for _ in range(60):
        host.turn()
        if host.beats > before + 1:
            break
    else:
        raise AssertionError("still not in, with nothing in its way")
    (live,) = host.registry.live()
    held = host.life.bearer
    assert held is not None
    assert sha256_hex(held) == live.token_sha256.hex()


@pytest.mark.parametrize("policy", list(BootstrapPolicy))
def test_a_box_with_a_ticket_ends_with_exactly_one_live_token(policy: BootstrapPolicy) -> None:
    for seed in range(150):
        registry = ModelRegistry(policy)
        launch = Launch(
            workspace_id=WORKSPACE, address="r:1", ticket=registry.launch(), incarnation=1
        )
        host = Host(registry, launch, seeded(seed))
        play(host, turns=60)
        must_come_in(host)


def test_a_box_without_a_ticket_ends_with_exactly_one_live_token() -> None:
    for seed in range(150):
        launch = Launch(workspace_id=WORKSPACE, address="r:1")
        host = Host(ModelRegistry(), launch, seeded(seed))
        play(host, turns=60)
        must_come_in(host)


def test_a_box_with_a_ticket_needs_no_disk_as_long_as_nobody_revokes_or_rotates() -> None:
    for seed in range(150):
        registry = ModelRegistry(BootstrapPolicy.STRICT)
        launch = Launch(
            workspace_id=WORKSPACE, address="r:1", ticket=registry.launch(), incarnation=1
        )
        host = Host(registry, launch, seeded(seed), forgets=True)
        play(host, turns=60, revocations=False)
        must_come_in(host)


def test_a_ticket_whose_format_its_maker_chose_serves_as_well() -> None:
    for seed in range(100):
        registry = ModelRegistry(BootstrapPolicy.STRICT)
        launch = Launch(workspace_id=WORKSPACE, address="r:1", ticket=registry.launch())
        host = Host(registry, launch, seeded(seed))
        play(host, turns=60)
        must_come_in(host)


def test_the_old_box_comes_back_when_the_new_one_never_came() -> None:
    for seed in range(100):
        registry = ModelRegistry(BootstrapPolicy.STRICT)
        launch = Launch(
            workspace_id=WORKSPACE, address="r:1", ticket=registry.launch(), incarnation=1
        )
        host = Host(registry, launch, seeded(seed))
        play(host, turns=60, revocations=False)
        must_come_in(host)
        registry.launch()
        host.trouble = True
        play(host, turns=40, revocations=False)
        registry.now += timedelta(hours=1)  # the ticket of the new one has expired
        must_come_in(host)
