"""Workspaces that live while services and servers come and go, and what was promised to them.

Every step goes to some replica of its service, and is repeated with the same request id when the
answer is `not now`. What was answered is written down; in the end all of it must hold everywhere.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import grpc

from agentworkspace.provision.v1 import secret_service_pb2
from agentworkspace.registry.v1 import registration_service_pb2, token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens_pb
from tests.lifecycle.launches import (
    SECRETS,
    complete,
    create,
    launch,
    set_secret,
    workspace_at,
    workspace_of,
)
from tests.lifecycle.processes import PASSING, Pair, ProvisionProcess, RegistryProcess
from tests.rounds import TIMES
from tests.rpc.registry_server import ADMIN, bearer
from tests.rpc.registry_story import SECONDS, Workspace, new_id

T = TypeVar("T")
ABREAST: Final = 3
# Of a whole life: the first one, one that was minted, one that was rotated in.
API_TOKENS: Final = 3
PAUSE_SECONDS: Final = 0.1
_SECONDS: Final = 100.0 * TIMES
MINE: Final = "a value of the workspace's own"


@dataclass
class Replicas:
    """Who can be called now. `patient`: something fails meanwhile, so `not now` is an answer."""

    registries: Sequence[RegistryProcess]
    provisions: Sequence[ProvisionProcess]
    patient: bool = False

    @classmethod
    def of(cls, pair: Pair, *, patient: bool = False) -> Replicas:
        return cls([pair.registry], pair.provisions, patient)


@dataclass(frozen=True)
class Box:
    """A box that was let in and told nothing else since."""

    workspace_id: str
    token: str
    ticket: str


@dataclass
class Ledger:
    """What was acknowledged: token text and workspace."""

    valid: list[tuple[str, str]] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)


class Lives:
    """Workspaces that are created, launched, rotated and revoked, several at once."""

    def __init__(self, seed: int) -> None:
        self.ledger = Ledger()
        self._seed = seed
        self._replicas = Replicas((), ())
        self._turn = threading.Condition()
        self._finished = 0
        self._stopping = False
        self._abandoned = False
        self._failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    @contextmanager
    def going_on(self, replicas: Replicas) -> Iterator[None]:
        """Lives follow each other until the block ends; the first failure ends all of them."""
        self._replicas = replicas
        self._threads = [
            threading.Thread(target=self._live_on, args=(self._seed + number,))
            for number in range(ABREAST)
        ]
        for thread in self._threads:
            thread.start()
        try:
            yield
        except BaseException:
            self._abandoned = True
            self.finish()
            raise
        self.finish()

    def finish(self) -> None:
        """Let those that have begun come to their end. Raises the first failure."""
        self._stopping = True
        for thread in self._threads:
            thread.join()
        if self._failures and not self._abandoned:
            raise self._failures[0]

    def call_only(self, replicas: Replicas) -> None:
        """From the next call on; calls that run go on."""
        self._replicas = replicas

    def until_more_have_lived(self, count: int) -> None:
        """Wait for so many whole lives from now on, beside those that have begun already."""
        with self._turn:
            wanted = self._finished + ABREAST + count
            done = self._turn.wait_for(lambda: self._finished >= wanted or self._failures, _SECONDS)
        if self._failures:
            raise self._failures[0]
        assert done, "the lives do not go on"

    def _live_on(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 -- a choice, not a secret
        try:
            while not self._stopping:
                self._live(chance)
                with self._turn:
                    self._finished += 1
                    self._turn.notify_all()
        except BaseException as failure:  # noqa: BLE001 -- told by whoever waits
            with self._turn:
                self._stopping = True
                self._failures.append(failure)
                self._turn.notify_all()

    def _live(self, chance: random.Random) -> None:
        """One workspace, from its creation to two launches."""
        request_id = new_id()
        created = self._at_provision(chance, lambda it: create(it, request_id))
        workspace_id = created.workspace.id
        while created.auth_token_error:
            # The registry was away: the same request asks for the first token again.
            assert self._replicas.patient, created.auth_token_error
            created = self._at_provision(chance, lambda it: create(it, request_id))
            assert created.workspace.id == workspace_id
        self._at_provision(chance, lambda it: set_secret(it, workspace_id, "MINE", MINE))
        first = self._launched(chance, workspace_id)
        self._read_secrets(chance, first)
        self._tokens(chance, workspace_id)
        if chance.random() < 0.5:
            self.ledger.boxes.append(first)
        else:
            second = self._launched(chance, workspace_id)
            self._read_secrets(chance, second)
            self.ledger.ended.append((first.token, workspace_id))
            self.ledger.boxes.append(second)
        self.ledger.valid.append((created.auth_token, workspace_id))

    def _launched(self, chance: random.Random, workspace_id: str) -> Box:
        request_id = new_id()
        answer = self._at_provision(chance, lambda it: launch(it, workspace_id, request_id))
        assert not answer.joined
        assert answer.env["CLAUDE_CODE_OAUTH_TOKEN"] == SECRETS["CLAUDE_CODE_OAUTH_TOKEN"]
        assert answer.env["MINE"] == MINE
        ticket, register_id = answer.env["WORKSPACE_BOOTSTRAP_TICKET"], new_id()
        entered = self._at_registry(
            chance, workspace_id, lambda it: it.register(ticket=ticket, request_id=register_id)
        )
        assert entered.outcome == registration_service_pb2.REGISTER_OUTCOME_BOOTSTRAPPED
        assert entered.incarnation == answer.provision.incarnation
        box = Box(workspace_id, entered.auth_token, ticket)
        self._beat(chance, box)
        self._at_provision(chance, lambda it: complete(it, answer.provision.id))
        return box

    def _beat(self, chance: random.Random, box: Box) -> None:
        told = self._at_registry(chance, box.workspace_id, lambda it: it.heartbeat(box.token))
        assert told.next_action == registration_service_pb2.NEXT_ACTION_NONE

    def _read_secrets(self, chance: random.Random, box: Box) -> None:
        request = secret_service_pb2.GetSecretValuesRequest(workspace_id=box.workspace_id)
        answer = self._at_provision(
            chance,
            lambda it: it.secrets.GetSecretValues(
                request, metadata=bearer(box.token), timeout=SECONDS
            ),
        )
        assert answer.values["MINE"] == MINE

    def _tokens(self, chance: random.Random, workspace_id: str) -> None:
        """One that stays, one that is rotated out, one that is revoked."""
        made = [self._minted(chance, workspace_id) for _ in range(3)]
        request = tokens_pb.RotateTokenRequest(
            workspace_id=workspace_id, token_id=made[1].token.token_id, request_id=new_id()
        )
        rotated = self._at_registry(
            chance,
            workspace_id,
            lambda it: it.running.tokens.RotateToken(request, metadata=ADMIN, timeout=SECONDS),
        )
        self._at_registry(
            chance,
            workspace_id,
            lambda it: it.revoke(made[2].token.token_id, reason=token_pb2.REVOKE_REASON_OPERATOR),
        )
        for issued in (made[0], rotated.issued):
            self.ledger.valid.append((issued.plaintext, workspace_id))
            assert self._at_registry(chance, workspace_id, accepts(issued.plaintext))
        for issued in made[1:]:
            self.ledger.ended.append((issued.plaintext, workspace_id))
            assert not self._at_registry(chance, workspace_id, accepts(issued.plaintext))

    def _minted(self, chance: random.Random, workspace_id: str) -> Any:
        request_id = new_id()
        return self._at_registry(
            chance, workspace_id, lambda it: it.mint(label="ci", request_id=request_id)
        )

    def _at_registry(
        self, chance: random.Random, workspace_id: str, step: Callable[[Workspace], T]
    ) -> T:
        return self._somewhere(
            lambda: step(workspace_at(chance.choice(self._replicas.registries), workspace_id))
        )

    def _at_provision(self, chance: random.Random, step: Callable[[ProvisionProcess], T]) -> T:
        return self._somewhere(lambda: step(chance.choice(self._replicas.provisions)))

    def _somewhere(self, call: Callable[[], T]) -> T:
        """Refused is a failure, and so is `not now` while nobody is going away."""
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                failed: Any = error
                waits = self._replicas.patient and not self._abandoned
                if failed.code() not in PASSING or not waits:
                    raise
                # As long as a client of ours would wait at first.
                threading.Event().wait(PAUSE_SECONDS)


def accepts(token: str) -> Callable[[Workspace], bool]:
    return lambda workspace: workspace.accepts(token)


def broken_promises(ledger: Ledger, replicas: Replicas) -> list[str]:
    """What does not hold, at some replica, of what was acknowledged by any."""
    broken: list[str] = []
    for registry in replicas.registries:
        for token, workspace_id in ledger.valid:
            if not workspace_at(registry, workspace_id).accepts(token):
                broken.append(f"{workspace_id}: an acknowledged token is refused")
        for token, workspace_id in ledger.ended:
            if workspace_at(registry, workspace_id).accepts(token):
                broken.append(f"{workspace_id}: an ended token is accepted")
        for box in ledger.boxes:
            broken += what_is_wrong_with(box, workspace_at(registry, box.workspace_id))
    for provision in replicas.provisions:
        for box in ledger.boxes:
            error = workspace_of(provision, box.workspace_id).last_error
            if error.code:
                broken.append(f"{box.workspace_id}: last_error is {error.code}")
    return broken


def what_is_wrong_with(box: Box, workspace: Workspace) -> Iterator[str]:
    """The box is in, and its workspace has the tokens that were asked for and no other."""
    told = workspace.heartbeat(box.token).next_action
    if told != registration_service_pb2.NEXT_ACTION_NONE:
        yield f"{box.workspace_id}: the box is told {told}"
    entered = workspace.register(box.token, ticket=box.ticket)
    if entered.outcome != registration_service_pb2.REGISTER_OUTCOME_AUTHENTICATED:
        yield f"{box.workspace_id}: the box came in as {entered.outcome}"
    kinds = [token.kind for token in workspace.tokens()]
    if kinds.count(token_pb2.TOKEN_KIND_INSTANCE) != 1:
        yield f"{box.workspace_id}: {kinds.count(token_pb2.TOKEN_KIND_INSTANCE)} instance tokens"
    if kinds.count(token_pb2.TOKEN_KIND_API) != API_TOKENS:
        yield f"{box.workspace_id}: {kinds.count(token_pb2.TOKEN_KIND_API)} api tokens"
