"""ValidateToken and BatchValidateTokens: tell whom tokens speak for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final, NamedTuple

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from agentworkspace.service import store_faults
from registry_service.commands import evidence, first_use, recording
from registry_service.commands.origin import Origin
from registry_service.domain.principal import Principal
from registry_service.domain.tokens import TokenKind
from registry_service.storage import checks, standings
from registry_service.storage.checks import Checked
from registry_service.storage.standings import Bearer
from registry_service.storage.store import Store

# The time for a question that is asked alone: the others of its batch wait for it.
ALONE_AT_MOST: Final = timedelta(seconds=2)


@unique
class Rejection(StrEnum):
    TOKEN_INVALID = "TOKEN_INVALID"
    TOKEN_KIND = "TOKEN_KIND"
    TOKEN_SCOPE = "TOKEN_SCOPE"


class ValidateToken(NamedTuple):
    """One question. `workspace_id` None means any workspace. A tuple, because one is made for
    every check.
    """

    caller: Caller
    token: Secret
    workspace_id: WorkspaceId | None
    required_kind: TokenKind | None = None
    required_scopes: frozenset[str] = frozenset()


class ValidatedTokens(NamedTuple):
    """`answers` are in the order of the questions, and at least as new as `revision` of the feed.
    `time` is when they were read, by the database's clock, for `flush_last_uses`.
    """

    answers: tuple[Principal | Rejection, ...]
    revision: int
    time: datetime


def run(
    store: Store, questions: Sequence[ValidateToken], *, known_first: bool = True
) -> ValidatedTokens:
    """Answer all. A token that is not accepted is a Rejection and never a Refusal, which would
    blame the caller. First uses are written.

    `known_first` False skips the quick statement for live, used tokens: the caller has asked it.
    """
    together = _ask_together(store, questions, known_first=known_first)
    answers = [
        _ask(store, [question], patient=True).settled()[0] if answer is None else answer
        for question, answer in zip(questions, together.answers, strict=True)
    ]
    return ValidatedTokens(answers=tuple(answers), revision=together.revision, time=together.time)


def run_each(
    store: Store, questions: Sequence[ValidateToken], *, known_first: bool = True
) -> list[ValidatedTokens | Refusal]:
    """The same as `run`, for questions of several calls, so that a fault fails only one of them."""
    together = _ask_together(store, questions, known_first=known_first)
    return [
        _ask_alone(store, question)
        if answer is None
        else ValidatedTokens(answers=(answer,), revision=together.revision, time=together.time)
        for question, answer in zip(questions, together.answers, strict=True)
    ]


def _ask_alone(store: Store, question: ValidateToken) -> ValidatedTokens | Refusal:
    def once() -> ValidatedTokens:
        asked = _ask(store.at_most(ALONE_AT_MOST), [question], patient=True)
        return ValidatedTokens(answers=asked.settled(), revision=asked.revision, time=asked.time)

    try:
        return store_faults.attempt(once)
    except Refusal as refusal:
        return refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    # None: another transaction holds that token; ask again, alone and patiently.
    answers: tuple[Principal | Rejection | None, ...]
    revision: int
    time: datetime

    def settled(self) -> tuple[Principal | Rejection, ...]:
        """The answers of a patient question, which cannot be None."""
        return tuple(answer or Rejection.TOKEN_INVALID for answer in self.answers)


def _ask_together(store: Store, questions: Sequence[ValidateToken], *, known_first: bool) -> _Asked:
    """Answer live tokens that were used before by one quick statement, and the others, which are
    new, dead or unknown, by the whole check.
    """
    if not known_first:
        return _ask(store, questions, patient=False)
    hashes = [evidence.hash_of(question.token) for question in questions]
    with store.glance() as tx:
        found = checks.known(tx, [item for item in hashes if item is not None])
    answers = answer_known(questions, hashes, found)
    unknown = [place for place, answer in enumerate(answers) if answer is None]
    if unknown:
        asked = _ask(store, [questions[place] for place in unknown], patient=False)
        for place, answer in zip(unknown, asked.answers, strict=True):
            answers[place] = answer
    return _Asked(answers=tuple(answers), revision=found.revision, time=found.now)


def answer_known(
    questions: Sequence[ValidateToken], hashes: Sequence[bytes | None], found: Checked
) -> list[Principal | Rejection | None]:
    """One answer each, in order; None where the whole check is needed. A hash of None stands for a
    text that cannot be a token.
    """
    by_hash = found.by_hash
    answers: list[Principal | Rejection | None] = []
    for question, item in zip(questions, hashes, strict=True):
        known = by_hash.get(item) if item else None
        if known is not None:
            answers.append(_answer_known(question, known))
        else:
            answers.append(None if item else Rejection.TOKEN_INVALID)
    return answers


def _answer_known(question: ValidateToken, known: Principal) -> Principal | Rejection:
    caller, _, workspace_id, required_kind, required_scopes = question
    if workspace_id is not None and workspace_id != known.workspace_id:
        return Rejection.TOKEN_INVALID
    if not caller.may_act_for(known.tenant_id):
        return Rejection.TOKEN_INVALID
    if required_kind is not None and required_kind is not known.kind:
        return Rejection.TOKEN_KIND
    if required_scopes and not required_scopes.issubset(known.scopes):
        return Rejection.TOKEN_SCOPE
    return known


def _ask(store: Store, questions: Sequence[ValidateToken], *, patient: bool) -> _Asked:
    hashes = [evidence.hash_of(question.token) for question in questions]
    with store.transaction() as tx:
        found = standings.bearers(tx, [item for item in hashes if item is not None])
        # One for each question; None where the token is not acceptable.
        matches = [
            _match(question, found.by_hash.get(item) if item else None, found.now)
            for question, item in zip(questions, hashes, strict=True)
        ]
        uses = [
            first_use.Use(token=match.token, workspace=match.workspace, origin=_origin(question))
            for question, match in zip(questions, matches, strict=True)
            if match is not None
        ]
        used = first_use.write(tx, uses, now=found.now, patient=patient)
        if used.news:
            recording.publish(tx, used.news)
    answers = (
        _answer(question, match, used) for question, match in zip(questions, matches, strict=True)
    )
    return _Asked(answers=tuple(answers), revision=found.revision, time=found.now)


def _match(question: ValidateToken, bearer: Bearer | None, now: datetime) -> Bearer | None:
    """The bearer, if it is live, of the workspace asked for, and of one of the caller's tenants."""
    if bearer is None or not bearer.is_live(now) or bearer.token.kind is TokenKind.TICKET:
        return None
    workspace = bearer.workspace
    if question.workspace_id not in (None, workspace.workspace_id):
        return None
    return bearer if question.caller.may_act_for(workspace.tenant_id) else None


def _answer(
    question: ValidateToken, bearer: Bearer | None, used: first_use.Written
) -> Principal | Rejection | None:
    if bearer is None or bearer.token.token_id in used.died:
        return Rejection.TOKEN_INVALID
    if bearer.token.token_id in used.busy:
        return None
    # A proxy token is accepted only by somebody who requires that kind.
    if question.required_kind is not bearer.token.kind and (
        question.required_kind is not None or bearer.token.kind is TokenKind.PROXY
    ):
        return Rejection.TOKEN_KIND
    if not question.required_scopes <= bearer.token.scopes:
        return Rejection.TOKEN_SCOPE
    return principal_of(bearer)


def principal_of(bearer: Bearer) -> Principal:
    token = bearer.token
    return Principal(
        workspace_id=token.workspace_id,
        tenant_id=bearer.workspace.tenant_id,
        token_id=token.token_id,
        kind=token.kind,
        scopes=tuple(sorted(token.scopes)),
        incarnation=token.incarnation,
        expire_time=token.expire_time,
        evidence_backed=not token.unproven,
    )


def _origin(question: ValidateToken) -> Origin:
    """For the audit, if this use ends a rotated token. Calls share the transaction, so there is no
    one correlation id.
    """
    return Origin(actor=question.caller.name, method="ValidateToken")
