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
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token, derive_proxy_token
from agentworkspace.service import store_faults as faults
from registry_service.commands import (
    deregister,
    retire_workspace,
)
from registry_service.commands.admit_workspace import FirstToken
from registry_service.commands.begin_incarnation import BegunIncarnation
from registry_service.commands.deregister import Deregister
from registry_service.commands.issued import Issued
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.domain.principal import Principal
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import RevokeReason, TokenKind, assemble
from tests.contract.protocol_model import Answer, Model, Shown, no
from tests.faults.lost_connections import connection_lost_at
from tests.storage.registry_world import (
    CONFINED,
    HOUR,
    OPERATOR,
    ORIGIN,
    World,
    all_at_once,
    sha256,
)

STEPS: Final = 11
AWAY: Final = no("STORE_UNAVAILABLE", "RETRY", hint=True)
# Row 0 is the workspace.
_STANDS: Final = """
SELECT 0 AS part, (SELECT state FROM registry.registrations r
                   WHERE r.workspace_id = w.workspace_id) AS name,
       concat_ws(' ', CASE WHEN fence IS NOT NULL AND (compromised OR fence = 'COMPROMISED')
                           THEN 'COMPROMISED' END,
                 CASE WHEN fence = 'SUSPENDED' THEN 'SUSPENDED' END),
       incarnation, registered_incarnation AS number, retire_time IS NOT NULL, box_left,
       concat_ws(' ', CASE WHEN ticket_required THEN 'ticket' END,
                 CASE WHEN evidence_required THEN 'evidence' END) AS dead, false, false
FROM registry.workspaces w WHERE workspace_id = %(id)s
UNION ALL
SELECT 1, encode(token_sha256, 'hex'), kind, incarnation, 0, first_use_time IS NOT NULL,
       coalesce(expire_time <= clock_timestamp(), false), coalesce(revoke_reason, ''),
       expire_time IS NOT NULL, unproven
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
        # By ticket, the name of the proxy token that comes of it.
        self.proxies: dict[str, str] = {}
        self.asked: list[str] = []
        # Of each launch that was asked for, whether it was to lift a suspension.
        self.lifted: dict[str, bool] = {}
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
        needs = ["ticket"] * model.ticket_required + ["evidence"] * model.evidence_required
        row = (
            *(0, model.box, " ".join(sorted(model.fences)), model.incarnation, model.registered),
            *(model.retired, model.left, " ".join(needs), False, False),
        )
        tokens = [
            (
                *(1, each.name, each.kind, each.incarnation, 0, each.used, each.expired),
                *(each.dead, each.ends, each.unproven),
            )
            for each in model.tokens.values()
        ]
        return sorted([row, *tokens] if model.known else tokens)

    # The steps

    def _any_step(self) -> Step:
        maker = self.chance.choices(
            [
                self._register,
                self._heartbeat,
                self._flush,
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
            [40, 14, 6, 6, 7, 9, 3, 5, 4, 3, 5, 1, 0.4],
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
            line = answer.line.value
            return ("in", line, answer.outcome.value, answer.incarnation, name, made), name

        return Step(f"register {shown}", do, lambda model, made: model.register(shown, made))

    def _heartbeat(self) -> Step:
        return self._heartbeat_with(self._presented(["INSTANCE"], 0.95))

    def _heartbeat_with(self, bearer: str) -> Step:
        """By a line where it says nothing new, as the service answers it."""
        secret = self.secrets.get(bearer)

        def do() -> tuple[Answer, str]:
            steady = self.world.steady(self.workspace_id, secret) if secret else None
            answer = steady or self.world.heartbeat(
                self.workspace_id,
                secret,
                policy=BootstrapPolicy(self.policy),
                seen=self.world.seen(self.workspace_id, secret) if secret else None,
            )
            if isinstance(answer, Refusal):
                raise answer
            return ("beat", answer.next_action.value), ""

        return Step(f"heartbeat {bearer}", do, lambda model, _: model.heartbeat(bearer))

    def _flush(self) -> Step:
        """What heartbeats left to be written changes nothing that anybody is told."""

        def do() -> tuple[Answer, str]:
            self.world.flush()
            return ("flushed",), ""

        return Step("flush heartbeats", do, lambda _model, _: ("flushed",))

    def _validate(self) -> Step:
        name = self._presented(["INSTANCE", "API", "TICKET", "PROXY"], 1)
        asked = self.chance.choice(["", "", "PROXY", "INSTANCE", "API"])
        confined = self.chance.random() < 0.1

        def do() -> tuple[Answer, str]:
            answer = self.world.validate(
                self.secrets[name],
                self.workspace_id,
                required_kind=TokenKind[asked] if asked else None,
                caller=CONFINED if confined else OPERATOR,
            )
            if isinstance(answer, Principal):
                backed = answer.evidence_backed
                return ("principal", answer.kind.value, answer.incarnation, backed), ""
            return ("rejected", answer.value), ""

        def tell(model: Model, _made: str) -> Answer:
            return ("rejected", "TOKEN_INVALID") if confined else model.validate(name, asked)

        return Step(f"validate {name} as {asked} confined={confined}", do, tell)

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
        ticket, evidence = self.chance.random() < 0.2, self.chance.random() < 0.2
        first = self._request(0.5)

        def do() -> tuple[Answer, str]:
            issued = self.world.admit(
                self.workspace_id,
                ticket_required=ticket,
                evidence_required=evidence,
                request_id=RequestId(first) if first else None,
                first_token=FirstToken() if first else None,
            ).issued
            if issued is None:
                return ("admitted", "", False), ""
            answer, name = self._issued(issued)
            return ("admitted", *answer[1:]), name

        return Step(
            f"admit ticket={ticket} evidence={evidence} first={first}",
            do,
            lambda model, made: model.admit(
                ticket=ticket, evidence=evidence, first=first, made=made
            ),
        )

    def _begin(self) -> Step:
        request = self._request(1, again=0.3)
        lift = self.chance.random() < 0.4
        minimum = self.chance.choice([0, 0, 0, self.model.incarnation + 2])

        def do() -> tuple[Answer, str]:
            begun: BegunIncarnation = self.world.begin(
                self.workspace_id,
                request_id=RequestId(request),
                lift_suspension=lift,
                minimum_incarnation=minimum,
            )
            name = self._keep(begun.bootstrap_ticket)
            ticket, number = begun.bootstrap_ticket, begun.incarnation
            if ticket:
                derived = derive_instance_token(ticket, self.workspace_id, number)
                self.derived[name] = self._keep(derived)
                proxy = derive_proxy_token(ticket, self.workspace_id, number)
                self.proxies[name] = self._keep(proxy)
            return ("begun", number, name, begun.revoked_count), name

        def tell(model: Model, made: str) -> Answer:
            # What is lifted is part of the request; how far the number leaps is not.
            before = self.lifted.setdefault(request, lift)
            if before is not lift and model.known and not model.retired and request in model.begun:
                return no("REQUEST_ID_REUSED", "FIX_REQUEST")
            self.lifted[request] = lift if request not in model.begun else before
            return model.begin(
                request, made, proxy=self.proxies.get(made, ""), lift=lift, minimum=minimum
            )

        return Step(f"begin {request} lift={lift} minimum={minimum}", do, tell)

    def _revoke(self) -> Step:
        return self._revoke_one(self._presented(["INSTANCE", "API", "TICKET", "PROXY"], 1))

    def _revoke_one(self, name: str) -> Step:
        reason = self.chance.choice(["OPERATOR", "OPERATOR", "COMPROMISED"])
        by_text, confined = self.chance.random() < 0.4, self.chance.random() < 0.1
        token_id = self._token_id(name)
        facts: dict[str, Any] = {
            "reason": RevokeReason(reason),
            "caller": CONFINED if confined else OPERATOR,
        }

        def do() -> tuple[Answer, str]:
            if by_text:
                facts["workspace_id"] = self.workspace_id
                receipt = self.world.revoke_text(self.secrets[name], **facts)
            else:
                receipt = self.world.revoke(self.workspace_id, token_id, **facts)
            return ("revoked", receipt.already_revoked), ""

        def tell(model: Model, _made: str) -> Answer:
            if by_text and (confined or name not in model.tokens):
                return no("TOKEN_UNKNOWN", "")
            if confined:
                return no("TENANT_FORBIDDEN", "")
            if not model.known:
                return no("WORKSPACE_UNKNOWN", "FIX_REQUEST")
            return model.revoke(name, reason)

        return Step(f"revoke {name} {reason} text={by_text} confined={confined}", do, tell)

    def _revoke_all(self) -> Step:
        reason = self.chance.choice(["OPERATOR", "COMPROMISED", "SUSPENDED"])
        kinds = self.chance.choice(
            [(), ("INSTANCE",), ("API",), ("INSTANCE", "API"), ("TICKET",), ("PROXY",)]
        )
        if reason == "SUSPENDED":
            kinds = ()

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
        ends = self.chance.random() < 0.3

        def do() -> tuple[Answer, str]:
            made = self.world.mint(
                self.workspace_id,
                kind=TokenKind[kind],
                ttl=HOUR if ends else None,
                request_id=RequestId(request),
                token_sha256=bytes.fromhex(wanted) if wanted else None,
            )
            return self._issued(made)

        return Step(
            f"mint {kind} {request} {wanted} ends={ends}",
            do,
            lambda model, made: model.mint(kind, request, wanted, made, ends=ends),
        )

    def _rotate(self) -> Step:
        name = self._presented(["API", "API", "INSTANCE"], 1)
        request = self._request(1)
        token_id = self._token_id(name)
        by_itself = name in self.model.tokens and self.chance.random() < 0.5
        overlap = self.chance.random() < 0.4

        def do() -> tuple[Answer, str]:
            bearer = self.secrets[name]
            who: dict[str, Any] = {"caller": None, "bearer": bearer} if by_itself else {}
            made = self.world.rotate(
                self.workspace_id,
                token_id,
                request_id=RequestId(request),
                overlap=HOUR if overlap else timedelta(0),
                **who,
            )
            return self._issued(made)

        return Step(
            f"rotate {name} {request} itself={by_itself} overlap={overlap}",
            do,
            lambda model, made: model.rotate(
                name, request, made, by_itself=by_itself, overlap=overlap
            ),
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
        taken += self.proxies.values()
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
        hint, line = refusal.retry_after is not None, refusal.metadata.get("line", "")
        return no(refusal.reason.value, recovery, hint=hint, line=line), ""
