"""Short random lives of one workspace: the same steps for the registry and for the model.

A trace knows every secret that was ever made and presents any of them in any combination, so it
plays the box, the box that comes late, the thief with an old token and the one with only the id.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token
from agentworkspace.service import store_faults as faults
from registry_service.commands import (
    deregister,
    retire_workspace,
)
from registry_service.commands.begin_incarnation import BegunIncarnation
from registry_service.commands.deregister import Deregister
from registry_service.commands.issued import Issued
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.domain.principal import Principal
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import RevokeReason, TokenKind, assemble
from tests.contract.protocol_model import Answer, Model, Shown, no
from tests.faults.lost_connections import connection_lost_at
from tests.storage.registry_world import OPERATOR, ORIGIN, World, all_at_once, sha256

STEPS: Final = 11
AWAY: Final = no("STORE_UNAVAILABLE", "RETRY", hint=True)
# Row 0 is the workspace.
_STANDS: Final = """
SELECT 0 AS part, '' AS name, coalesce(fence, ''), incarnation, registered_incarnation AS number,
       retire_time IS NOT NULL, false, '' AS dead
FROM registry.workspaces WHERE workspace_id = %(id)s
UNION ALL
SELECT 1, encode(token_sha256, 'hex'), kind, incarnation, 0, first_use_time IS NOT NULL,
       coalesce(expire_time <= clock_timestamp(), false), coalesce(revoke_reason, '')
FROM registry.tokens WHERE workspace_id = %(id)s
"""


@dataclass(frozen=True)
class Step:
    """`do` asks the registry: its answer, and the name of the token it made. `tell`: the model."""

    words: str
    do: Callable[[], tuple[Answer, str]]
    tell: Callable[[Model, str], Answer]


class Trace:
    """One workspace, one seed."""

    def __init__(self, world: World, surgeon: Surgeon, seed: int, *, steps: int = STEPS) -> None:
        self.world, self.surgeon, self.seed, self.steps = world, surgeon, seed, steps
        self.chance = random.Random(seed)  # noqa: S311 -- a seed, not a secret
        self.workspace_id = WorkspaceId(self._uuid())
        self.policy = self.chance.choice(["adaptive", "adaptive", "open", "strict"])
        # By name: what anybody may present. Newest last.
        self.secrets: dict[str, Secret] = {}
        self.derived: dict[str, str] = {}
        self.asked: list[str] = []
        self.told: list[str] = []
        foreign = frozenset(map(self._keep, surgeon.foreign))
        self.model = Model(policy=self.policy, foreign=foreign)

    def run(self) -> int:
        """How many answers were compared."""
        compared = 0
        if self.chance.random() < 0.9:
            self._take([self._admit()])
            if self.chance.random() < 0.5:
                self._launched_and_rotating()
            else:
                self._take([self.chance.choice([self._register, self._begin, self._mint])()])
        for _ in range(self.steps):
            together = self.chance.choice([1] * 9 + [2, 3])
            steps = [self._any_step() for _ in range(together)]
            self._take(steps)
            compared += together
        return compared

    def _launched_and_rotating(self) -> None:
        """A box that came by its ticket and rotates, used its new token or not, lost one or not."""
        self._take([self._begin()])
        tickets = [name for name in self.derived if name in self.model.tokens]
        if not tickets:
            return
        first = self.derived[tickets[-1]]
        second = self._keep(self._secret(TokenKind.INSTANCE))
        self._take([self._register_with(Shown(ticket=tickets[-1], wanted=first))])
        self._take([self._register_with(Shown(bearer=first, wanted=second))])
        if self.chance.random() < 0.5:
            self._take([self._heartbeat_with(second)])
        if self.chance.random() < 0.7:
            self._take([self._revoke_one(self.chance.choice([first, second, second]))])

    # Asking both

    def _take(self, steps: Sequence[Step]) -> None:
        cut = self.chance.randrange(1, 9) if self.chance.random() < 0.06 else None
        if cut is not None and len(steps) == 1:
            with self.surgeon.cutting(cut):
                found = [answered(steps[0])]
        elif len(steps) == 1:
            found = [answered(steps[0])]
        else:
            found = all_at_once([partial(answered, step) for step in steps])
        mark = "" if len(steps) == 1 else "at once: "
        self.told += [
            mark + f"{step.words} -> {each}" for step, each in zip(steps, found, strict=True)
        ]
        self._agree(steps, found)

    def _agree(self, steps: Sequence[Step], found: Sequence[Any]) -> None:
        """In some order the model says the same, and stands as the registry stands."""
        if AWAY in [each[0] for each in found if isinstance(each, tuple)]:
            steps, found = [], []
        stored = self._stored()
        said: list[object] = []
        for order in itertools.permutations(range(len(steps))):
            model = deepcopy(self.model)
            expected = [(place, steps[place].tell(model, found[place][1])) for place in order]
            if all(found[place][0] == answer for place, answer in expected):
                if self._modelled(model) == stored:
                    self.model = model
                    return
                said.append(("stands", self._modelled(model)))
            said.append(expected)
        story = "\n".join(self.told)
        raise AssertionError(
            f"seed {self.seed}, policy {self.policy}:\n{story}\n"
            f"the contract says {said}\nstored: {stored}"
        )

    def _stored(self) -> list[Any]:
        return sorted(map(tuple, self.surgeon.other.sql(_STANDS, id=self.workspace_id)))

    def _modelled(self, model: Model) -> list[Any]:
        row = (0, "", model.fence, model.incarnation, model.registered, model.retired, False, "")
        tokens = [
            (1, each.name, each.kind, each.incarnation, 0, each.used, each.expired, each.dead)
            for each in model.tokens.values()
        ]
        return sorted([row, *tokens] if model.known else tokens)

    # The steps

    def _any_step(self) -> Step:
        maker = self.chance.choices(
            [
                self._register,
                self._heartbeat,
                self._validate,
                self._begin,
                self._revoke,
                self._revoke_all,
                self._mint,
                self._rotate,
                self._deregister,
                self._expire,
                self._admit,
                self._retire,
            ],
            [40, 14, 6, 7, 9, 3, 5, 4, 3, 5, 1, 0.4],
        )[0]
        return maker()

    def _register(self) -> Step:
        bearer = self._presented(["INSTANCE", "API"], 0.65)
        ticket = self._presented(["TICKET"], 0.5)
        request = self._request(0.7)
        wanted = self._wanted(ticket)
        holder = self.model.tokens.get(bearer)
        if holder and self.chance.random() < 0.6:
            # A box that lives by its token alone; every other time it rotates.
            fresh = self._keep(self._secret(TokenKind.INSTANCE))
            ticket, wanted = "", self.chance.choice(["", fresh])
        return self._register_with(
            Shown(bearer=bearer, ticket=ticket, wanted=wanted, request=request)
        )

    def _register_with(self, shown: Shown) -> Step:
        bearer, ticket, wanted, request = shown.bearer, shown.ticket, shown.wanted, shown.request

        def do() -> tuple[Answer, str]:
            answer = self.world.register(
                self.workspace_id,
                policy=BootstrapPolicy(self.policy),
                bearer=self.secrets.get(bearer),
                ticket=self.secrets.get(ticket),
                token_sha256=bytes.fromhex(wanted) if wanted else None,
                request_id=RequestId(request) if request else None,
            )
            name = answer.token.token_sha256.hex()
            if answer.auth_token:
                self.secrets[name] = answer.auth_token
            made = bool(answer.auth_token)
            return ("in", answer.outcome.value, answer.incarnation, name, made), name

        return Step(f"register {shown}", do, lambda model, made: model.register(shown, made))

    def _heartbeat(self) -> Step:
        return self._heartbeat_with(self._presented(["INSTANCE"], 0.95))

    def _heartbeat_with(self, bearer: str) -> Step:

        def do() -> tuple[Answer, str]:
            answer = self.world.heartbeat(
                self.workspace_id,
                self.secrets.get(bearer),
                policy=BootstrapPolicy(self.policy),
            )
            if isinstance(answer, Refusal):
                raise answer
            return ("beat", answer.next_action.value), ""

        return Step(f"heartbeat {bearer}", do, lambda model, _: model.heartbeat(bearer))

    def _validate(self) -> Step:
        name = self._presented(["INSTANCE", "API", "TICKET"], 1)

        def do() -> tuple[Answer, str]:
            answer = self.world.validate(self.secrets[name], self.workspace_id)
            if isinstance(answer, Principal):
                return ("principal", answer.kind.value, answer.incarnation), ""
            return ("rejected",), ""

        return Step(f"validate {name}", do, lambda model, _: model.validate(name))

    def _deregister(self) -> Step:
        bearer = self._presented(["INSTANCE"], 0.9)

        def do() -> tuple[Answer, str]:
            deregister.run(
                self.world.store,
                Deregister(
                    origin=ORIGIN,
                    workspace_id=self.workspace_id,
                    bearer=self.secrets.get(bearer),
                ),
            )
            return ("left",), ""

        return Step(f"deregister {bearer}", do, lambda model, _: model.deregister(bearer))

    def _admit(self) -> Step:
        required = self.chance.random() < 0.2

        def do() -> tuple[Answer, str]:
            self.world.admit(self.workspace_id, ticket_required=required)
            return ("admitted",), ""

        return Step(
            f"admit required={required}",
            do,
            lambda model, _: model.admit(ticket_required=required),
        )

    def _begin(self) -> Step:
        request = self._request(1, again=0.3)

        def do() -> tuple[Answer, str]:
            begun: BegunIncarnation = self.world.begin(
                self.workspace_id, request_id=RequestId(request)
            )
            name = self._keep(begun.bootstrap_ticket)
            if begun.bootstrap_ticket:
                derived = derive_instance_token(
                    begun.bootstrap_ticket, self.workspace_id, begun.incarnation
                )
                self.derived[name] = self._keep(derived)
            return ("begun", begun.incarnation, name, begun.revoked_count), name

        return Step(f"begin {request}", do, lambda model, made: model.begin(request, made))

    def _revoke(self) -> Step:
        return self._revoke_one(self._presented(["INSTANCE", "API"], 1))

    def _revoke_one(self, name: str) -> Step:
        reason = self.chance.choice(["OPERATOR", "OPERATOR", "COMPROMISED", "SUSPENDED"])
        token_id = self._token_id(name)

        def do() -> tuple[Answer, str]:
            receipt = self.world.revoke(self.workspace_id, token_id, reason=RevokeReason(reason))
            return ("revoked", receipt.already_revoked), ""

        def tell(model: Model, _made: str) -> Answer:
            return model.revoke(name, reason) if model.known else no("WORKSPACE_UNKNOWN", "")

        return Step(f"revoke {name} {reason}", do, tell)

    def _revoke_all(self) -> Step:
        reason = self.chance.choice(["OPERATOR", "COMPROMISED", "SUSPENDED"])
        kinds = self.chance.choice([("INSTANCE",), ("API",), ("INSTANCE", "API")])

        def do() -> tuple[Answer, str]:
            receipt = self.world.revoke_all(
                self.workspace_id,
                RevokeReason(reason),
                kinds=frozenset(TokenKind[kind] for kind in kinds),
            )
            return ("ended", receipt.revoked_count), ""

        return Step(
            f"revoke all {kinds} {reason}", do, lambda model, _: model.revoke_all(kinds, reason)
        )

    def _mint(self) -> Step:
        kind = self.chance.choice(["API", "API", "INSTANCE"])
        request = self._request(1)
        wanted = self._wanted("") if self.chance.random() < 0.4 else ""

        def do() -> tuple[Answer, str]:
            made = self.world.mint(
                self.workspace_id,
                kind=TokenKind[kind],
                request_id=RequestId(request),
                token_sha256=bytes.fromhex(wanted) if wanted else None,
            )
            return self._issued(made)

        return Step(
            f"mint {kind} {request} {wanted}",
            do,
            lambda model, made: model.mint(kind, request, wanted, made),
        )

    def _rotate(self) -> Step:
        name = self._presented(["API", "API", "INSTANCE"], 1)
        request = self._request(1)
        token_id = self._token_id(name)
        by_itself = name in self.model.tokens and self.chance.random() < 0.5

        def do() -> tuple[Answer, str]:
            bearer = self.secrets[name]
            who: dict[str, Any] = {"caller": None, "bearer": bearer} if by_itself else {}
            made = self.world.rotate(
                self.workspace_id, token_id, request_id=RequestId(request), **who
            )
            return self._issued(made)

        return Step(
            f"rotate {name} {request} itself={by_itself}",
            do,
            lambda model, made: model.rotate(name, request, made, by_itself=by_itself),
        )

    def _expire(self) -> Step:
        kind = self.chance.choice(["INSTANCE", "TICKET", "TICKET", "API"])

        def do() -> tuple[Answer, str]:
            self.world.expire(self.workspace_id, TokenKind[kind])
            return ("expired",), ""

        def tell(model: Model, _made: str) -> Answer:
            model.expire(kind)
            return ("expired",)

        return Step(f"expire {kind}", do, tell)

    def _retire(self) -> Step:
        def do() -> tuple[Answer, str]:
            command = RetireWorkspace(
                origin=ORIGIN, caller=OPERATOR, workspace_id=self.workspace_id
            )
            receipt = retire_workspace.run(self.world.store, command)
            return ("retired", receipt.revoked_count), ""

        return Step("retire", do, lambda model, _: model.retire())

    # What there is to present

    def _presented(self, kinds: Sequence[str], likely: float) -> str:
        """The name of a secret: mostly of ours and mostly a young one; or a stranger's, or none."""
        if self.chance.random() > likely:
            return ""
        ours = [name for name, each in self.model.tokens.items() if each.kind in kinds]
        ours = [name for name in ours if name in self.secrets]
        if ours and self.chance.random() < 0.93:
            return self.chance.choice(ours[-2:] if self.chance.random() < 0.7 else ours)
        if self.chance.random() < 0.5:
            return self.chance.choice(sorted(self.model.foreign))
        return self._keep(self._secret(TokenKind.INSTANCE))

    def _wanted(self, ticket: str) -> str:
        """The hash a caller asks for: derived from its ticket, fresh, taken, or none."""
        roll = self.chance.random()
        if roll < 0.3:
            return ""
        if ticket in self.derived and roll < 0.8:
            return self.derived[ticket]
        taken = [*self.model.tokens, *sorted(self.model.foreign), *self.derived.values()]
        if taken and roll < 0.95 and self.chance.random() < 0.45:
            return self.chance.choice(taken)
        return self._keep(self._secret(TokenKind.INSTANCE))

    def _request(self, likely: float, *, again: float = 0.35) -> str:
        if self.chance.random() > likely:
            return ""
        if self.asked and self.chance.random() < again:
            return self.chance.choice(self.asked[-3:])
        self.asked.append(self._uuid())
        return self.asked[-1]

    def _token_id(self, name: str) -> TokenId:
        rows = self.surgeon.other.sql(
            "SELECT token_id FROM registry.tokens WHERE token_sha256 = %(name)s",
            name=bytes.fromhex(name),
        )
        return TokenId(str(rows[0][0] if rows else UUID(int=0)))

    def _issued(self, made: Issued) -> tuple[Answer, str]:
        name = made.token.token_sha256.hex()
        if made.plaintext:
            self._keep(made.plaintext)
        return ("issued", name, made.plaintext is not None), name

    def _keep(self, secret: Secret | None) -> str:
        if secret is None:
            return ""
        name = sha256(secret).hex()
        self.secrets[name] = secret
        return name

    def _secret(self, kind: TokenKind) -> Secret:
        return assemble(kind, self.chance.randbytes(32))

    def _uuid(self) -> str:
        return str(UUID(bytes=self.chance.randbytes(16), version=4))


class Surgeon:
    """Looks on by a connection of its own, and ends those of commands. Holds another workspace."""

    def __init__(self, world: World, other: World) -> None:
        self.world, self.other = world, other
        foreign = other.workspace()
        # Its live tokens.
        self.foreign = (other.first_token(foreign), other.box(foreign))

    def cutting(self, statement: int) -> AbstractContextManager[object]:
        """Just before this statement of the next command."""
        return connection_lost_at(self.world, self.other, statement)


def answered(step: Step) -> tuple[Answer, str]:
    """What the registry says; a refusal is an answer."""
    try:
        return faults.attempt(step.do, tries=1)
    except Refusal as refusal:
        recovery = refusal.recovery.value if refusal.recovery else ""
        return no(refusal.reason.value, recovery, hint=refusal.retry_after is not None), ""
