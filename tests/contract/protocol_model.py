"""The protocol of the registry once more, from the words of its contract and nothing else.

One workspace as a list of tokens and a few numbers. It shares no line with the service: what it
says and what the registry says are two readings of the same table, compared by the traces.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

REOPENING = ("OPERATOR", "RELAUNCHED")
FENCING = ("COMPROMISED", "SUSPENDED")

Answer = tuple[object, ...]


@dataclass
class Tok:
    """A token or ticket, named by its hash."""

    name: str
    kind: str
    incarnation: int = 0
    used: bool = False
    expired: bool = False
    dead: str = ""
    # Whose evidence made it, whom it replaces at its first use.
    made_on: str = ""
    replaces: str = ""
    request: str = ""
    client_made: bool = False
    outcome: str = ""
    by_itself: bool = False

    @property
    def live(self) -> bool:
        return not self.dead and not self.expired


@dataclass(frozen=True)
class Shown:
    """What a Register presents and asks for. Names are hashes; `bearer` may be a stranger's."""

    bearer: str = ""
    ticket: str = ""
    wanted: str = ""
    request: str = ""


@dataclass
class Model:
    policy: str
    # Hashes that belong to another workspace.
    foreign: frozenset[str]
    ticket_required: bool = False
    known: bool = False
    retired: bool = False
    incarnation: int = 0
    registered: int = 0
    fence: str = ""
    tokens: dict[str, Tok] = field(default_factory=dict)
    # Of a role's request: what it was for, and the token that answered it.
    requests: dict[tuple[object, ...], tuple[Answer, str]] = field(default_factory=dict)
    begun: dict[str, tuple[int, str, int]] = field(default_factory=dict)

    # What is there

    def own(self, name: str, kind: str) -> Tok | None:
        found = self.tokens.get(name)
        return found if found and found.kind == kind else None

    def instances(self, *, live: bool = True) -> list[Tok]:
        found = [token for token in self.tokens.values() if token.kind == "INSTANCE"]
        return [token for token in found if token.live or (not live and not token.dead)]

    def current_ticket(self) -> Tok | None:
        for token in self.tokens.values():
            newest = token.kind == "TICKET" and token.incarnation == self.incarnation
            if newest and not token.dead:
                return token
        return None

    def outstanding(self) -> Tok | None:
        ticket = self.current_ticket()
        return ticket if ticket and not ticket.used and not ticket.expired else None

    def taken(self, name: str) -> bool:
        return name in self.tokens or name in self.foreign

    # Uses and ends

    def use(self, token: Tok) -> None:
        if token.used:
            return
        token.used = True
        before = self.tokens.get(token.replaces)
        if before and before.dead in ("", *REOPENING):
            before.dead = "ROTATED"

    def end(self, tokens: list[Tok], reason: str) -> int:
        ended = [token for token in tokens if not token.dead]
        for token in ended:
            token.dead = reason
        return len(ended)

    # Register

    def register(self, shown: Shown, made: str) -> Answer:
        """`made`: the name of the token that the registry answered with, if it did."""
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "RETRY")
        if self.retired:
            return no("WORKSPACE_REMOVED", "STOP")
        return self._from_the_table(shown, made)

    def _from_the_table(  # noqa: PLR0911 -- a table, read downwards
        self, shown: Shown, made: str
    ) -> Answer:
        bearer = self.own(shown.bearer, "INSTANCE")
        ticket = self.own(shown.ticket, "TICKET")
        current = ticket if ticket is not None and ticket is self.current_ticket() else None
        redeemed = current if current and current.used else None
        if bearer and bearer.live:
            return self._line_1(bearer, shown, made)
        if current and current is self.outstanding():
            answer = self._mint("BOOTSTRAPPED", current.incarnation, current, shown, made)
            if answer[0] == "in":
                current.used = True
            return answer
        if redeemed and not self.fence:
            again = self._of_ticket(redeemed)
            if again and not again.used:
                if again.live and again.name == shown.wanted:
                    return self._same("BOOTSTRAPPED", again)
                return self._mint("BOOTSTRAPPED", redeemed.incarnation, redeemed, shown, made)
        if lost := self._lost(shown):
            return ("in", lost.outcome, lost.incarnation, lost.name, False)
        if repeated := self._repeated(shown, made):
            return repeated
        return self._from_line_5(bearer, current, shown, made)

    def _line_1(self, bearer: Tok, shown: Shown, made: str) -> Answer:
        unused = [
            token for token in self.instances() if token.made_on == bearer.name and not token.used
        ]
        if shown.wanted in ("", bearer.name):
            self.use(bearer)
            return self._same("AUTHENTICATED", bearer)
        for token in unused:
            if token.name == shown.wanted:
                self.use(bearer)
                return self._same("AUTHENTICATED", token)
        if self.taken(shown.wanted):
            return no("TOKEN_HASH_IN_USE", "FIX_REQUEST")
        self.use(bearer)
        self.end(unused, "ROTATED")
        return self._add(
            "AUTHENTICATED", bearer.incarnation, bearer, shown, made, replaces=bearer.name
        )

    def _of_ticket(self, ticket: Tok) -> Tok | None:
        made = [token for token in self.tokens.values() if token.made_on == ticket.name]
        made = [token for token in made if token.kind == "INSTANCE"]
        undead = [token for token in made if not token.dead]
        return next(reversed(undead or made), None)

    def _lost(self, shown: Shown) -> Tok | None:
        """Line 4: the same hash and request_id, live, never used."""
        token = self.own(shown.wanted, "INSTANCE")
        if token is None or not shown.request or token.request != shown.request:
            return None
        return token if token.live and not token.used and token.outcome else None

    def _repeated(self, shown: Shown, made: str) -> Answer | None:
        """A replay of request_id with the same evidence, where the answer's token got lost."""
        evidence = (shown.bearer, shown.ticket)
        lost = next(
            (
                token
                for token in self.instances()
                if shown.request
                and token.request == shown.request
                and not token.used
                and token.made_on in evidence
                and token.made_on
            ),
            None,
        )
        if lost is None or not self._opens_without(lost, shown):
            return None
        if shown.wanted or lost.client_made:
            return no("REQUEST_ID_REUSED", "FIX_REQUEST")
        replaces = lost.replaces
        lost_outcome, source = lost.outcome, self.tokens[lost.made_on]
        incarnation = lost.incarnation
        self._clear_for(replaces)
        return self._add(lost_outcome, incarnation, source, shown, made, replaces=replaces)

    def _opens_without(self, lost: Tok, shown: Shown) -> bool:
        """Whether the evidence itself would be let in were the lost token not there."""
        others = {name: replace(token) for name, token in self.tokens.items()}
        del others[lost.name]
        before = replace(self, tokens=others)
        bearer = before.own(shown.bearer, "INSTANCE")
        ticket = before.own(shown.ticket, "TICKET")
        current = ticket if ticket is not None and ticket is before.current_ticket() else None
        answer = before._from_line_6(bearer, current, replace(shown, wanted=""), "?")
        return answer[0] == "in" and bool(before.tokens["?"].made_on)

    def _from_line_5(
        self, bearer: Tok | None, current: Tok | None, shown: Shown, made: str
    ) -> Answer:
        wanted = self.own(shown.wanted, "INSTANCE")
        if current and current.used and wanted and wanted.live:
            return self._same("AUTHENTICATED", wanted)
        return self._from_line_6(bearer, current, shown, made)

    def _from_line_6(  # noqa: C901, PLR0911, PLR0912 -- a table, read downwards
        self, bearer: Tok | None, current: Tok | None, shown: Shown, made: str
    ) -> Answer:
        if bearer and bearer.dead == "COMPROMISED":
            return no("BEARER_REJECTED", "RELAUNCH")
        older = self._older(bearer, current, shown)
        if older is not None and self.registered > older:
            return no("INCARNATION_SUPERSEDED", "STOP")
        if older is not None and self.outstanding():
            return no("INCARNATION_SUPERSEDED", "RETRY", hint=True)
        if self.instances():
            reason = "BEARER_REJECTED" if shown.bearer else "BEARER_MISSING"
            return no(reason, "RELAUNCH")
        if self.fence == "SUSPENDED":
            return no("WORKSPACE_SUSPENDED", "STOP")
        if self.fence:
            return no("TICKET_REQUIRED", "RELAUNCH")
        api = self.own(shown.bearer, "API")
        if api and api.live and self.incarnation == 0 and not self.ticket_required:
            return self._mint("RECOVERED", 0, api, shown, made)
        if current and current.used:
            return self._mint("RECOVERED", current.incarnation, current, shown, made)
        if bearer and not self.outstanding():
            taken_away = bearer.dead in REOPENING or (bearer.expired and not bearer.dead)
            if taken_away:
                return self._mint(
                    "RECOVERED", bearer.incarnation, bearer, shown, made, replaces=bearer.name
                )
        if current and current.expired and not current.used:
            return no("TICKET_EXPIRED", "RELAUNCH")
        if self.incarnation > 0:
            if self.policy == "open" and not self.outstanding():
                return self._mint("BOOTSTRAPPED", self.incarnation, None, shown, made)
            return no("TICKET_REQUIRED", "RELAUNCH")
        if self.policy == "strict" or self.ticket_required:
            return no("TICKET_REQUIRED", "RELAUNCH")
        return self._mint("BOOTSTRAPPED", 0, None, shown, made)

    def _older(self, bearer: Tok | None, current: Tok | None, shown: Shown) -> int | None:
        if current:
            return None
        held = [bearer, self.own(shown.ticket, "TICKET")]
        older = [each.incarnation for each in held if each and each.incarnation < self.incarnation]
        return max(older, default=None)

    def _same(self, outcome: str, token: Tok) -> Answer:
        self.registered = max(self.registered, token.incarnation)
        return ("in", outcome, token.incarnation, token.name, False)

    def _mint(
        self,
        outcome: str,
        incarnation: int,
        source: Tok | None,
        shown: Shown,
        made: str,
        *,
        replaces: str = "",
    ) -> Answer:
        if shown.wanted and self.taken(shown.wanted):
            return no("TOKEN_HASH_IN_USE", "FIX_REQUEST")
        self._clear_for(replaces)
        return self._add(outcome, incarnation, source, shown, made, replaces=replaces)

    def _clear_for(self, spared: str) -> None:
        others = [token for token in self.instances(live=False) if token.name != spared]
        self.end(others, "ROTATED")

    def _add(
        self,
        outcome: str,
        incarnation: int,
        source: Tok | None,
        shown: Shown,
        made: str,
        *,
        replaces: str,
    ) -> Answer:
        name = shown.wanted or made
        self.tokens[name] = Tok(
            name=name,
            kind="INSTANCE",
            incarnation=incarnation,
            made_on=source.name if source else "",
            replaces=replaces,
            request=shown.request,
            client_made=bool(shown.wanted),
            outcome=outcome,
        )
        self.registered = max(self.registered, incarnation)
        return ("in", outcome, incarnation, name, not shown.wanted)

    # The box

    def heartbeat(self, bearer: str) -> Answer:
        token = self.own(bearer, "INSTANCE")
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "RETRY")
        if token is None:
            return no("BEARER_REJECTED" if bearer else "BEARER_MISSING", "REGISTER")
        if token.live and not self.retired:
            self.use(token)
            return ("beat", "NONE")
        copies = {name: replace(each) for name, each in self.tokens.items()}
        told = replace(self, tokens=copies).register(Shown(bearer=bearer), "?")
        return ("beat", "STOP" if told[2] == "STOP" else "REGISTER")

    def deregister(self, bearer: str) -> Answer:
        token = self.own(bearer, "INSTANCE")
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "")
        if token is None or not token.live:
            return no("BEARER_REJECTED" if bearer else "BEARER_MISSING", "REGISTER")
        self.use(token)
        pending = [each for each in self.tokens.values() if each.replaces == token.name]
        self.end([token, *(each for each in pending if not each.used)], "OPERATOR")
        return ("left",)

    def validate(self, name: str) -> Answer:
        token = self.tokens.get(name)
        if token is None or not token.live or token.kind == "TICKET":
            return ("rejected",)
        self.use(token)
        return ("principal", token.kind, token.incarnation)

    # The operator

    def mint(self, kind: str, request: str, wanted: str, made: str) -> Answer:
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "")
        if self.retired:
            return no("WORKSPACE_REMOVED", "")
        asked: Answer = ("mint", kind, wanted)
        if answer := self._answered(request, asked, wanted, made):
            return answer
        if kind == "INSTANCE" and (self.outstanding() or self.instances()):
            return no("INSTANCE_TOKEN_EXISTS", "")
        incarnation = self.incarnation if kind == "INSTANCE" else 0
        name = wanted or made
        self.tokens[name] = Tok(
            name=name,
            kind=kind,
            incarnation=incarnation,
            client_made=bool(wanted),
            request=request,
        )
        self.requests[*asked[:1], *asked[3:], request] = (asked, name)
        return ("issued", name, not wanted)

    def rotate(  # noqa: PLR0911 -- each line a refusal, in their order
        self, old: str, request: str, made: str, *, by_itself: bool = False
    ) -> Answer:
        token = self.tokens.get(old)
        if by_itself and token and token.dead not in ("", "ROTATED"):
            return no("CREDENTIAL_REJECTED", "")
        if self.retired:
            return no("WORKSPACE_REMOVED", "")
        if token is None or token.kind == "TICKET":
            return no("TOKEN_UNKNOWN", "")
        if token.kind != "API":
            return no("TOKEN_KIND", "")
        # By itself it is a caller of its own.
        asked: Answer = ("rotate", old, "", old if by_itself else "")
        if answer := self._answered(request, asked, "", made):
            return answer
        if not token.live:
            return no("CREDENTIAL_REJECTED" if by_itself else "TOKEN_NOT_LIVE", "")
        token.used |= by_itself
        token.dead = "ROTATED"
        heir = Tok(name=made, kind="API", made_on=old, request=request, by_itself=by_itself)
        self.tokens[made] = heir
        self.requests[*asked[:1], *asked[3:], request] = (asked, made)
        return ("issued", made, True)

    def _answered(self, request: str, asked: Answer, wanted: str, made: str) -> Answer | None:
        """The answer to a request that was answered before."""
        key = (*asked[:1], *asked[3:], request)
        before = self.requests.get(key)
        if before and before[0] != asked:
            return no("REQUEST_ID_REUSED", "FIX_REQUEST")
        if before is None:
            same = [name for what, name in self.requests.values() if wanted and what == asked]
            if not same:
                in_use = wanted and self.taken(wanted)
                return no("TOKEN_HASH_IN_USE", "FIX_REQUEST") if in_use else None
            before = (asked, same[0])
        token = self.tokens[before[1]]
        if token.client_made or not token.live or token.used:
            return ("issued", token.name, False)
        token.dead = "ROTATED"
        self.tokens[made] = replace(token, name=made, dead="", replaces="")
        self.requests[key] = (asked, made)
        return ("issued", made, True)

    def revoke(self, name: str, reason: str) -> Answer:
        token = self.tokens.get(name)
        if token is None or token.kind == "TICKET":
            return no("TOKEN_UNKNOWN", "")
        before = token.dead
        if before and not (reason == "COMPROMISED" and before in REOPENING):
            return ("revoked", True)
        going = []
        if reason in FENCING:
            going = self._offspring(name)
            if token.kind == "INSTANCE" and not before:
                going += self.instances(live=False)
        ended = self.end(going, reason)
        token.dead = reason
        if not before or ended or token.incarnation == self.incarnation:
            self._raise_fence(reason)
        return ("revoked", bool(before))

    def _offspring(self, name: str) -> list[Tok]:
        made = [token for token in self.tokens.values() if token.made_on == name]
        made = [token for token in made if token.kind == "INSTANCE" or token.by_itself]
        return made + [each for token in made for each in self._offspring(token.name)]

    def revoke_all(self, kinds: tuple[str, ...], reason: str) -> Answer:
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "")
        ended = self.end([each for each in self.tokens.values() if each.kind in kinds], reason)
        self._raise_fence(reason)
        return ("ended", ended)

    def _raise_fence(self, reason: str) -> None:
        if reason in FENCING and self.fence != "SUSPENDED":
            self.fence = reason

    # The launcher

    def admit(self, *, ticket_required: bool) -> Answer:
        if self.retired:
            return no("WORKSPACE_REMOVED", "")
        self.known = True
        self.ticket_required |= ticket_required
        return ("admitted",)

    def begin(self, request: str, made: str) -> Answer:
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "")
        if self.retired:
            return no("WORKSPACE_REMOVED", "")
        if request in self.begun:
            return self._begin_again(request, made)
        going = self.instances(live=False)
        tickets = [each for each in self.tokens.values() if each.kind == "TICKET"]
        count = self.end(going, "RELAUNCHED")
        self.end(tickets, "RELAUNCHED")
        self.incarnation += 1
        self.fence = ""
        self.tokens[made] = Tok(name=made, kind="TICKET", incarnation=self.incarnation)
        self.begun[request] = (self.incarnation, made, count)
        return ("begun", self.incarnation, made, count)

    def _begin_again(self, request: str, made: str) -> Answer:
        number, name, count = self.begun[request]
        if number < self.incarnation:
            return no("INCARNATION_SUPERSEDED", "")
        ticket = self.tokens[name]
        if ticket.used or ticket.dead:
            return ("begun", number, "", count)
        ticket.dead = "ROTATED"
        self.tokens[made] = Tok(name=made, kind="TICKET", incarnation=number)
        self.begun[request] = (number, made, count)
        return ("begun", number, made, count)

    def retire(self) -> Answer:
        count = sum(not each.dead and each.kind != "TICKET" for each in self.tokens.values())
        self.end(list(self.tokens.values()), "REMOVED")
        self.known = self.retired = True
        return ("retired", count)

    def expire(self, kind: str) -> None:
        for token in self.tokens.values():
            token.expired |= token.kind == kind


def no(reason: str, recovery: str, *, hint: bool = False) -> Answer:
    """A refusal. Without recovery: the default of the reason counts, which the edge adds."""
    return ("no", reason, recovery, hint)
