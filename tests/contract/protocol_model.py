"""The protocol of the registry once more, from the words of its contract and nothing else.

One workspace as a list of tokens and a few marks. It shares no line with the service: what it
says and what the registry says are two readings of the same table, compared by the traces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

REOPENING = ("OPERATOR", "RELAUNCHED")

Answer = tuple[object, ...]


@dataclass
class Tok:
    """A token or ticket, named by its hash."""

    name: str
    kind: str
    incarnation: int = 0
    used: bool = False
    # It has an end, and that has come.
    ends: bool = False
    expired: bool = False
    dead: str = ""
    # Whose evidence made it, whom it replaces at its first use.
    made_on: str = ""
    replaces: str = ""
    request: str = ""
    client_made: bool = False
    outcome: str = ""
    unproven: bool = False
    # Of a ticket: what its proxy token would hash to.
    proxy: str = ""

    @property
    def live(self) -> bool:
        return not self.dead and not self.expired

    @property
    def opens(self) -> bool:
        """It is accepted, or would let its holder in again."""
        return self.dead in ("", *REOPENING)


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
    known: bool = False
    retired: bool = False
    ticket_required: bool = False
    evidence_required: bool = False
    incarnation: int = 0
    registered: int = 0
    left: bool = False
    # Of its box: PENDING, ONLINE, OFFLINE or REMOVED. No box falls silent here.
    box: str = "PENDING"
    fences: frozenset[str] = frozenset()
    tokens: dict[str, Tok] = field(default_factory=dict)
    # Of a role's request: what it was for, and the token that answered it.
    requests: dict[tuple[object, ...], tuple[Answer, str]] = field(default_factory=dict)
    begun: dict[str, tuple[int, str, int]] = field(default_factory=dict)

    # What is there

    def own(self, name: str, *kinds: str) -> Tok | None:
        found = self.tokens.get(name)
        return found if found and found.kind in kinds else None

    def of_kind(self, *kinds: str) -> list[Tok]:
        return [token for token in self.tokens.values() if token.kind in kinds]

    def instances(self) -> list[Tok]:
        return [token for token in self.of_kind("INSTANCE") if token.live]

    def newest_ticket(self) -> Tok | None:
        """Issued last for the newest launch, void or not."""
        tickets = [t for t in self.of_kind("TICKET") if t.incarnation == self.incarnation]
        return tickets[-1] if tickets else None

    def outstanding(self) -> Tok | None:
        ticket = self.newest_ticket()
        return ticket if ticket and ticket.live and not ticket.used else None

    def taken(self, name: str) -> bool:
        return name in self.tokens or name in self.foreign

    # Uses and ends

    def use(self, token: Tok) -> None:
        if token.used:
            return
        token.used = True
        before = self.tokens.get(token.replaces)
        if before and before.opens:
            before.dead = "ROTATED"

    def end(self, tokens: Iterable[Tok], reason: str) -> list[Tok]:
        ended = [token for token in tokens if not token.dead]
        for token in ended:
            token.dead = reason
        return ended

    # Register

    def register(self, shown: Shown, made: str) -> Answer:
        """`made`: the name of the token that the registry answered with, if it did."""
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "RETRY", line="UNKNOWN")
        if self.retired:
            return no("WORKSPACE_REMOVED", "STOP", line="RETIRED")
        return _Attempt(self, shown, made).judged()

    # The box

    def heartbeat(self, bearer: str) -> Answer:
        token = self.own(bearer, "INSTANCE")
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "RETRY", line="UNKNOWN")
        if token is None:
            reason = "BEARER_REJECTED" if bearer else "BEARER_MISSING"
            return no(reason, "REGISTER", line="NO_TOKEN")
        if token.live and not self.retired:
            self.use(token)
            self.box = "ONLINE"
            return ("beat", "NONE")
        told = self.copy().register(Shown(bearer=bearer), "?")
        return ("beat", "STOP" if told[2] == "STOP" else "REGISTER")

    def deregister(self, bearer: str) -> Answer:
        token = self.own(bearer, "INSTANCE")
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "RETRY")
        if token is None or not token.live:
            return no("BEARER_REJECTED" if bearer else "BEARER_MISSING", "REGISTER")
        self.use(token)
        pending = [each for each in self.tokens.values() if each.replaces == token.name]
        self.end([token, *(each for each in pending if not each.used)], "DEREGISTERED")
        self.box = "OFFLINE"
        self.left = self.left or token.incarnation == self.incarnation
        return ("left",)

    def validate(self, name: str, asked: str) -> Answer:
        token = self.tokens.get(name)
        if token is None or not token.live or token.kind == "TICKET":
            return ("rejected", "TOKEN_INVALID")
        if token.kind == "PROXY":
            boxes = [box for box in self.instances() if box.incarnation == token.incarnation]
            if not boxes:
                return ("rejected", "TOKEN_INVALID")
        self.use(token)
        if asked != token.kind and (asked or token.kind == "PROXY"):
            return ("rejected", "TOKEN_KIND")
        return ("principal", token.kind, token.incarnation, not token.unproven)

    def copy(self) -> Model:
        return replace(self, tokens={name: replace(each) for name, each in self.tokens.items()})

    # The operator

    def mint(  # noqa: PLR0911 -- each line a refusal, in their order
        self, kind: str, request: str, wanted: str, made: str, *, ends: bool
    ) -> Answer:
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "FIX_REQUEST")
        if self.retired:
            return no("WORKSPACE_REMOVED", "")
        asked: Answer = ("mint", kind, wanted, "", ends)
        if answer := self._answered(request, asked, wanted, made):
            return answer
        if kind == "INSTANCE":
            if "SUSPENDED" in self.fences:
                return no("WORKSPACE_SUSPENDED", "FIX_REQUEST")
            if self.fences:
                return no("INCARNATION_FENCED", "")
            if self.outstanding() or self.instances():
                return no("INSTANCE_TOKEN_EXISTS", "")
        incarnation = self.incarnation if kind == "INSTANCE" else 0
        return self._issue(
            Tok(name="", kind=kind, incarnation=incarnation, ends=ends, request=request),
            asked,
            wanted,
            made,
        )

    def rotate(  # noqa: PLR0911 -- each line a refusal, in their order
        self, old: str, request: str, made: str, *, by_itself: bool, overlap: bool
    ) -> Answer:
        token = self.tokens.get(old)
        if by_itself and token and token.dead not in ("", "ROTATED"):
            return no("CREDENTIAL_REJECTED", "")
        if self.retired:
            return no("WORKSPACE_REMOVED", "")
        if token is None or token.kind in ("TICKET", "PROXY"):
            return no("TOKEN_UNKNOWN", "")
        if token.kind != "API":
            return no("TOKEN_KIND", "")
        # By itself it is a caller of its own.
        asked: Answer = ("rotate", old, "", old if by_itself else "", overlap)
        if answer := self._answered(request, asked, "", made):
            return answer
        if not token.live:
            return no("CREDENTIAL_REJECTED" if by_itself else "TOKEN_NOT_LIVE", "")
        token.used |= by_itself
        heirs = [each for each in self.of_kind("API") if each.made_on == old]
        time_of = heirs[-1] if heirs else token
        heir = Tok(
            name="",
            kind="API",
            made_on=old,
            request=request,
            ends=time_of.ends,
            expired=time_of.expired,
        )
        if overlap:
            token.ends = True
        else:
            token.dead = "ROTATED"
        return self._issue(heir, asked, "", made)

    def _issue(self, draft: Tok, asked: Answer, wanted: str, made: str) -> Answer:
        name = wanted or made
        self.tokens[name] = replace(draft, name=name, client_made=bool(wanted))
        self.requests[asked[0], asked[3], draft.request] = (asked, name)
        return ("issued", name, not wanted)

    def _answered(self, request: str, asked: Answer, wanted: str, made: str) -> Answer | None:
        """The answer to a request that was answered before."""
        key = (asked[0], asked[3], request)
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
        if token is None:
            return no("TOKEN_UNKNOWN", "")
        before = bool(token.dead)
        if reason == "OPERATOR":
            self.end([token], reason)
        else:
            self._condemn([token, *self._holdings(token)])
            of_the_box = token.kind in ("INSTANCE", "TICKET")
            if of_the_box and token.incarnation == self.incarnation:
                self._fence("COMPROMISED")
        return ("revoked", before)

    def _condemn(self, tokens: Iterable[Tok]) -> int:
        fresh = {token.name for token in tokens if not token.dead}
        for token in tokens:
            token.dead = "COMPROMISED"
        return len(fresh)

    def _holdings(self, stolen: Tok) -> list[Tok]:
        """What its holder could have made, or could come back with."""
        if stolen.kind == "PROXY":
            return []
        if stolen.kind == "API":
            return [token for token in self._family(stolen) if token.opens]
        held = self.of_kind("INSTANCE", "PROXY")
        return [token for token in held if token.incarnation <= stolen.incarnation and token.opens]

    def _family(self, api: Tok) -> list[Tok]:
        """Its rotations either way, and what was registered with any of these, and so on."""
        names = {api.name}
        while True:
            more = {
                each.name
                for each in self.tokens.values()
                if each.made_on in names or (each.kind == "API" and self._rotated_into(each, names))
            }
            if more <= names:
                return [self.tokens[name] for name in names]
            names |= more

    def _rotated_into(self, api: Tok, names: set[str]) -> bool:
        heirs = [each for each in self.of_kind("API") if each.made_on == api.name]
        return any(heir.name in names for heir in heirs)

    def revoke_all(self, kinds: tuple[str, ...], reason: str) -> Answer:
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "FIX_REQUEST")
        named = kinds or ("INSTANCE", "API")
        alive = [each for each in self.of_kind(*named) if not each.dead]
        if reason == "OPERATOR":
            self.end(alive, reason)
        elif reason == "SUSPENDED":
            self._fence(reason)
        else:
            going = [each for each in alive if each.kind in ("TICKET", "PROXY")]
            if "INSTANCE" in named or "TICKET" in named:
                going += [each for each in self.of_kind("INSTANCE", "PROXY") if each.opens]
            # Also of an api token that is dead: what was made with it may live.
            for each in self.of_kind(*{"API"}.intersection(named)):
                going += self._holdings(each)
            if "INSTANCE" in named or "TICKET" in named:
                ticket = self.outstanding()
                going += [ticket] if ticket else []
                self.fences |= {"COMPROMISED"}
            fresh = {each.name for each in going if not each.dead and each.kind in named}
            self._condemn(going)
            return ("ended", len(fresh))
        return ("ended", sum(bool(each.dead) for each in alive))

    def _fence(self, mark: str) -> None:
        self.fences |= {mark}
        self.end(self.of_kind("INSTANCE", "PROXY"), mark)
        ticket = self.outstanding()
        self.end([ticket] if ticket else [], mark)

    # The launcher

    def admit(self, *, ticket: bool, evidence: bool, first: str = "", made: str = "") -> Answer:
        """`first`: the request of a first token."""
        if self.retired:
            return no("WORKSPACE_REMOVED", "")
        new = not self.known
        self.known = True
        self.ticket_required |= ticket
        self.evidence_required |= evidence
        if not first:
            return ("admitted", "", False)
        asked: Answer = ("admit", "API", "", "", "")
        if not new:
            answer = self._answered(first, asked, "", made)
            return ("admitted", *answer[1:]) if answer else ("admitted", "", False)
        self._issue(Tok(name="", kind="API", request=first), asked, "", made)
        return ("admitted", made, True)

    def begin(
        self, request: str, made: str, *, proxy: str = "", lift: bool = False, minimum: int = 0
    ) -> Answer:
        if not self.known:
            return no("WORKSPACE_UNKNOWN", "FIX_REQUEST")
        if self.retired:
            return no("WORKSPACE_REMOVED", "")
        if request in self.begun:
            return self._begin_again(request, made, proxy)
        if "SUSPENDED" in self.fences and not lift:
            return no("WORKSPACE_SUSPENDED", "FIX_REQUEST")
        count = len(self.end(self.of_kind("INSTANCE"), "RELAUNCHED"))
        self.end(self.of_kind("TICKET"), "RELAUNCHED")
        self.incarnation = max(self.incarnation, minimum) + 1
        self.fences, self.left = frozenset(), False
        self._ticket(made, proxy)
        self.begun[request] = (self.incarnation, made, count)
        return ("begun", self.incarnation, made, count)

    def _ticket(self, made: str, proxy: str) -> None:
        self.tokens[made] = Tok(
            name=made, kind="TICKET", incarnation=self.incarnation, ends=True, proxy=proxy
        )

    def _begin_again(self, request: str, made: str, proxy: str) -> Answer:
        number, name, count = self.begun[request]
        if number < self.incarnation:
            return no("INCARNATION_SUPERSEDED", "")
        if self.fences:
            return no("INCARNATION_FENCED", "")
        ticket = self.tokens[name]
        if ticket.used or ticket.dead not in ("", "OPERATOR"):
            return ("begun", number, "", count)
        ticket.dead = ticket.dead or "ROTATED"
        self._ticket(made, proxy)
        self.begun[request] = (number, made, count)
        return ("begun", number, made, count)

    def retire(self) -> Answer:
        ended = self.end(list(self.tokens.values()), "REMOVED")
        self.known = self.retired = True
        self.box = "REMOVED"
        return ("retired", sum(each.kind in ("INSTANCE", "API") for each in ended))

    def expire(self, kind: str) -> None:
        for token in self.of_kind(kind):
            token.expired = token.ends = True


class _Attempt:
    """One Register, read down the table: each line answers, or leaves it to the next."""

    def __init__(self, model: Model, shown: Shown, made: str) -> None:
        self.m, self.shown, self.made = model, shown, made
        self.bearer = model.own(shown.bearer, "INSTANCE")
        self.api = model.own(shown.bearer, "API")
        self.ticket = model.own(shown.ticket, "TICKET")
        newest = model.newest_ticket()
        self.newest = self.ticket if self.ticket and self.ticket is newest else None
        redeemed = self.newest and self.newest.used and not self.newest.dead
        self.redeemed = self.newest if redeemed else None

    def judged(self) -> Answer:
        above: tuple[Callable[[], Answer | None], ...] = (
            self.live_token,
            self.the_ticket,
            self.ticket_again,
            self.replay,
            self.ticket_and_token,
        )
        return next(filter(None, (line() for line in above)), None) or self.below()

    def below(self) -> Answer:
        lines: tuple[Callable[[], Answer | None], ...] = (
            self.superseded,
            self.fenced,
            self.compromised,
            self.newer_ticket,
            self.another_lives,
            self.api_token,
            self.ticket_redeemed,
            self.own_token,
            self.ticket_expired,
            self.ticket_needed,
            self.open_door,
        )
        answer = next(filter(None, (line() for line in lines)), None)
        assert answer is not None
        return answer

    def live_token(self) -> Answer | None:
        box, m, wanted = self.bearer, self.m, self.shown.wanted
        if box is None or not box.live:
            return None
        unused = [each for each in m.instances() if each.made_on == box.name and not each.used]
        if wanted in ("", box.name):
            m.use(box)
            return self._same("LIVE_TOKEN", "AUTHENTICATED", box)
        for each in unused:
            if each.name == wanted:
                m.use(box)
                return self._same("LIVE_TOKEN", "AUTHENTICATED", each)
        if self._hash_in_use():
            return no("TOKEN_HASH_IN_USE", "FIX_REQUEST", line="LIVE_TOKEN")
        m.use(box)
        m.end(unused, "ROTATED")
        return self._add("LIVE_TOKEN", "AUTHENTICATED", box.incarnation, box, replaces=box.name)

    def the_ticket(self) -> Answer | None:
        ticket = self.newest
        if ticket is None or ticket is not self.m.outstanding() or self.m.fences:
            return None
        answer = self._mint("TICKET", "BOOTSTRAPPED", ticket.incarnation, ticket)
        if answer[0] == "in":
            ticket.used = True
        return answer

    def ticket_again(self) -> Answer | None:
        ticket = self.redeemed
        if ticket is None or self.m.fences:
            return None
        made = [each for each in self.m.of_kind("INSTANCE") if each.made_on == ticket.name]
        newest = next(reversed([each for each in made if not each.dead] or made), None)
        if newest is None or newest.used:
            return None
        if newest.live and newest.name == self.shown.wanted:
            return self._same("TICKET_AGAIN", "BOOTSTRAPPED", newest)
        return self._mint("TICKET_AGAIN", "BOOTSTRAPPED", ticket.incarnation, ticket)

    def replay(self) -> Answer | None:
        request, wanted = self.shown.request, self.shown.wanted
        unused = [
            each
            for each in self.m.instances()
            if request and each.request == request and not each.used
        ]
        for each in unused:
            if each.name == wanted and each.outcome:
                return ("in", "REPLAY", each.outcome, each.incarnation, each.name, False)
        evidence = (self.shown.bearer, self.shown.ticket)
        lost = [each for each in unused if each.made_on and each.made_on in evidence]
        if not lost or not self._opens_without(lost[0]):
            return None
        if wanted or lost[0].client_made:
            return no("REQUEST_ID_REUSED", "FIX_REQUEST", line="REPLAY")
        source = self.m.tokens[self._source]
        replaces = source.name if source.kind == "INSTANCE" else ""
        incarnation = source.incarnation
        self._replace_others(incarnation, replaces)
        return self._add("REPLAY", lost[0].outcome, incarnation, source, replaces=replaces)

    def _opens_without(self, lost: Tok) -> bool:
        """Whether the evidence itself would be let in were the lost token not there."""
        before = self.m.copy()
        del before.tokens[lost.name]
        answer = _Attempt(before, replace(self.shown, wanted=""), "?").below()
        self._source = before.tokens["?"].made_on if answer[0] == "in" else ""
        return bool(self._source)

    def ticket_and_token(self) -> Answer | None:
        token = self.m.own(self.shown.wanted, "INSTANCE")
        if self.redeemed is None or token is None or not token.live:
            return None
        return self._same("TICKET_AND_TOKEN", "AUTHENTICATED", token)

    def _older(self) -> int | None:
        pieces = [each.incarnation for each in (self.bearer, self.ticket) if each]
        newest = max(pieces, default=None)
        return newest if newest is not None and newest < self.m.incarnation else None

    def superseded(self) -> Answer | None:
        older = self._older()
        if older is None or self.m.registered <= older:
            return None
        return no("INCARNATION_SUPERSEDED", "STOP", line="SUPERSEDED")

    def fenced(self) -> Answer | None:
        if "SUSPENDED" in self.m.fences:
            return no("WORKSPACE_SUSPENDED", "STOP", line="FENCED")
        return no("TICKET_REQUIRED", "RELAUNCH", line="FENCED") if self.m.fences else None

    def compromised(self) -> Answer | None:
        if self.bearer is None or self.bearer.dead != "COMPROMISED":
            return None
        return no("BEARER_REJECTED", "RELAUNCH", line="COMPROMISED")

    def newer_ticket(self) -> Answer | None:
        if self._older() is None or self.m.outstanding() is None:
            return None
        return no("INCARNATION_SUPERSEDED", "RETRY", hint=True, line="NEWER_TICKET")

    def another_lives(self) -> Answer | None:
        if not self.m.instances():
            return None
        reason = "BEARER_REJECTED" if self.shown.bearer else "BEARER_MISSING"
        return no(reason, "RELAUNCH", line="ANOTHER_LIVES")

    def api_token(self) -> Answer | None:
        api, m = self.api, self.m
        if api is None or not api.live or m.incarnation or m.ticket_required:
            return None
        return self._mint("API_TOKEN", "RECOVERED", 0, api)

    def ticket_redeemed(self) -> Answer | None:
        ticket = self.redeemed
        if ticket is None:
            return None
        return self._mint("TICKET_REDEEMED", "RECOVERED", ticket.incarnation, ticket)

    def own_token(self) -> Answer | None:
        box, m = self.bearer, self.m
        if box is None or box.dead not in REOPENING or box.expired or box.unproven:
            return None
        if m.outstanding() or self.newest or m.left:
            return None
        return self._mint("OWN_TOKEN", "RECOVERED", box.incarnation, box, replaces=box.name)

    def ticket_expired(self) -> Answer | None:
        ticket = self.newest
        if ticket is None or ticket.used or ticket.dead or not ticket.expired:
            return None
        return self._to_anybody("TICKET_EXPIRED") or no(
            "TICKET_EXPIRED", "RELAUNCH", line="TICKET_EXPIRED"
        )

    def ticket_needed(self) -> Answer | None:
        if not self.m.incarnation:
            return None
        return self._to_anybody("TICKET_NEEDED") or no(
            "TICKET_REQUIRED", "RELAUNCH", line="TICKET_NEEDED"
        )

    def _to_anybody(self, line: str) -> Answer | None:
        m = self.m
        if m.policy != "open" or m.ticket_required or m.outstanding():
            return None
        return self._mint(line, "BOOTSTRAPPED", m.incarnation, None)

    def open_door(self) -> Answer:
        m = self.m
        if m.policy == "strict" or m.ticket_required or m.evidence_required:
            return no("TICKET_REQUIRED", "RELAUNCH", line="OPEN_DOOR")
        return self._mint("OPEN_DOOR", "BOOTSTRAPPED", 0, None)

    # What an answer does

    def _hash_in_use(self) -> bool:
        wanted = self.shown.wanted
        proxy = self.ticket.proxy if self.ticket else ""
        return bool(wanted) and (self.m.taken(wanted) or wanted == proxy)

    def _same(self, line: str, outcome: str, token: Tok) -> Answer:
        self._let_in(token.incarnation)
        return ("in", line, outcome, token.incarnation, token.name, False)

    def _let_in(self, incarnation: int) -> None:
        self.m.registered = max(self.m.registered, incarnation)
        self.m.left = False
        self.m.box = "ONLINE"

    def _mint(
        self, line: str, outcome: str, incarnation: int, source: Tok | None, *, replaces: str = ""
    ) -> Answer:
        if self._hash_in_use():
            return no("TOKEN_HASH_IN_USE", "FIX_REQUEST", line=line)
        self._replace_others(incarnation, replaces)
        return self._add(line, outcome, incarnation, source, replaces=replaces)

    def _replace_others(self, up_to: int, spared: str) -> None:
        for each in self.m.of_kind("INSTANCE"):
            if each.incarnation <= up_to and each.name != spared and each.opens:
                each.dead = "ROTATED"

    def _add(
        self, line: str, outcome: str, incarnation: int, source: Tok | None, *, replaces: str
    ) -> Answer:
        wanted = self.shown.wanted
        name = wanted or self.made
        by_token = source if source and source.kind != "TICKET" else None
        self.m.tokens[name] = Tok(
            name=name,
            kind="INSTANCE",
            incarnation=incarnation,
            ends=by_token is not None and by_token.ends,
            made_on=source.name if source else "",
            replaces=replaces,
            request=self.shown.request,
            client_made=bool(wanted),
            outcome=outcome,
            unproven=source is None or source.unproven,
        )
        if source and source.kind == "TICKET":
            self._keep_proxy(source)
        self._let_in(incarnation)
        return ("in", line, outcome, incarnation, name, not wanted)

    def _keep_proxy(self, ticket: Tok) -> None:
        if ticket.proxy and not self.m.taken(ticket.proxy):
            self.m.tokens[ticket.proxy] = Tok(
                name=ticket.proxy, kind="PROXY", incarnation=ticket.incarnation
            )


def no(reason: str, recovery: str, *, hint: bool = False, line: str = "") -> Answer:
    """A refusal. Without recovery: the default of the reason counts, which the edge adds."""
    return ("no", reason, recovery, hint, line)
