"""`audit verify`, `audit prune` and `audit begin` of a service's command line.

The exit status is 0 when all went well and 3 when `verify` found a change; it is 1 when the
database or its role did not allow the command, and 2 for wrong usage or configuration.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from agentworkspace.core.secret import Secret
from agentworkspace.service.audit import pruning, sealing, verifying
from agentworkspace.service.audit.comparing import Changed
from agentworkspace.service.audit.keys import AuditKeys, read_keys
from agentworkspace.service.audit.pruning import MayNotDelete
from agentworkspace.service.audit.sealing import MayNotMove, WasSigned
from agentworkspace.service.audit.seals import Checkpoint, Seal, checkpoints_in
from agentworkspace.service.audit.tables import AuditLog
from agentworkspace.service.audit.verifying import Verified
from agentworkspace.service.database import open_once
from agentworkspace.service.declared_settings import BadSettings
from agentworkspace.service.settings import ServiceSettings

FAILED: Final = 1
CHANGED: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of `audit` and their arguments."""
    doing = parser.add_subparsers(dest="doing", required=True, metavar="{verify,prune,begin}")
    text = "name the first row that was edited, removed or inserted; 0: none was, 3: one was"
    verify = doing.add_parser("verify", help=text, description=text)
    verify.add_argument(
        "--log",
        metavar="FILE",
        help="the services' log, or what you kept of it; - is standard input. Every checkpoint in"
        " it must be in the database, and the last one proves that nothing was cut off",
    )
    verify.add_argument("--checkpoint", metavar="TEXT", help="one checkpoint of the log, as text")
    verify.add_argument(
        "--keys",
        metavar="FILE",
        type=Path,
        help="PEM file of the public keys whose signatures count; default: the key of the service",
    )
    text = "delete what is older than the setting says; run it with the role of `migrate`"
    doing.add_parser("prune", help=text, description=text)
    text = "begin a new chain, after the database was moved to another server"
    begin = doing.add_parser("begin", help=text, description=text)
    begin.add_argument("--reason", required=True, help="why, for whoever verifies the audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCommand:
    """One run of an `audit` command. `name` is the program's."""

    name: str
    log: AuditLog
    settings: ServiceSettings
    url: Secret

    def run(self, chosen: argparse.Namespace) -> int:
        """The exit status. Raises BadAuditKey, BadSettings, OSError."""
        with self._opened() as engine:
            if chosen.doing == "verify":
                return self._verify(engine, chosen)
            if chosen.doing == "prune":
                return self._prune(engine)
        self.begin(chosen.reason)
        return 0

    def begin(self, reason: str) -> None:
        """Begin a new chain, and print what to keep. Raises BadAuditKey, BadSettings."""
        keys = read_keys(self.settings.audit_key_file)
        with self._opened() as engine, engine.begin() as tx:
            begun = sealing.begin_chain(tx, self.log, keys, reason=reason)
        print(f"audit chain {begun.chain} begins behind row {begun.rows}")
        self._tell(begun)

    @contextmanager
    def _opened(self) -> Iterator[Engine]:
        with open_once(self.url, name=f"{self.name} audit") as engine:
            try:
                yield engine
            except WasSigned:
                key = f"{self.settings.SERVICE}_AUDIT_KEY_FILE"
                raise BadSettings([f"{key} must be set: this audit is signed"]) from None
            except MayNotMove:
                url = f"{self.settings.SERVICE}_DATABASE_URL"
                wanted = "must name the role of `migrate`, for the audit came from another server"
                raise BadSettings([f"{url} {wanted}"]) from None

    def _verify(self, engine: Engine, chosen: argparse.Namespace) -> int:
        keys = read_keys(chosen.keys or self.settings.audit_key_file)
        told = _checkpoints(chosen, self.log.schema)
        if told is None:
            return self._failed(
                "there is no checkpoint of this service in what you gave: look for `audit sealed`"
            )
        try:
            with engine.connect() as tx:
                found = verifying.verify(tx, self.log, keys, told)
        except Changed as changed:
            print(f"{self.name}: CHANGED: {changed}", file=sys.stderr)
            return CHANGED
        for sentence in _sentences(found, keys, told, self.log.schema):
            print(sentence)
        return 0

    def _prune(self, engine: Engine) -> int:
        keep = self.settings.audit_keep_days
        if keep is None:
            setting = f"{self.settings.SERVICE}_AUDIT_KEEP_DAYS"
            raise BadSettings([f"{setting} must be set: without it everything is kept"])
        keys = read_keys(self.settings.audit_key_file)
        try:
            pruned = pruning.prune(engine, self.log, keys, keep=timedelta(days=keep))
        except MayNotDelete:
            return self._failed(
                "this role may not delete from the audit: use the role of `migrate`"
            )
        print(f"{pruned.rows} rows older than {keep} days were deleted")
        self._tell(pruned.said)
        return 0

    def _tell(self, seal: Seal | None) -> None:
        if seal is not None:
            print(f"keep this line with the log: {seal.checkpoint(self.log.schema)}")

    def _failed(self, sentence: str) -> int:
        print(f"{self.name}: {sentence}", file=sys.stderr)
        return FAILED


def _checkpoints(chosen: argparse.Namespace, schema: str) -> Sequence[Checkpoint] | None:
    """This service's checkpoints in what was given; None when something was given without any."""
    found = [
        each for line in _lines(chosen) for each in checkpoints_in(line) if each.schema == schema
    ]
    is_given = chosen.log is not None or chosen.checkpoint is not None
    return found if found or not is_given else None


def _lines(chosen: argparse.Namespace) -> Iterator[str]:
    if chosen.checkpoint is not None:
        yield chosen.checkpoint
    if chosen.log == "-":
        yield from sys.stdin
    elif chosen.log is not None:
        with Path(chosen.log).open(encoding="utf-8", errors="replace") as log:
            yield from log


def _sentences(
    found: Verified, keys: AuditKeys, told: Sequence[Checkpoint], schema: str
) -> list[str]:
    """Sentences on what was proven, and on what could not be checked."""
    newest = found.newest
    if newest is None:
        return ["the audit is empty"]
    since = f" since seal {found.pruned}, up to which it was pruned" if found.pruned else ""
    sentences = [f"the audit holds: {found.rows} rows under {found.seals} seals{since}"]
    sentences += [
        f"chain {each.chain} begins behind row {each.rows}, {each.time}: {each.reason}"
        for each in found.chains
        if each.reason
    ]
    if not keys.public:
        sentences.append("no key was given, so no signature was looked at")
    elif found.signed_since:
        sentences.append(f"signed from seal {found.signed_since} on")
    if told:
        sentences.append(f"the log has the same up to seal {found.agreed}")
    else:
        sentences.append("no log was given, so seals cut off at the end would not be missed")
    if found.unsealed:
        sentences.append(
            f"{found.unsealed} rows wait for their seal, since {found.unsealed_since}; while a"
            " service runs and no transaction is older, that takes a second"
        )
    sentences.append(f"newest: {newest.checkpoint(schema)}")
    return sentences
