"""The command `registry-service`: what it adds to the command line that both services share."""

from __future__ import annotations

import sys
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import Final

from agentworkspace.core.secret import Secret
from agentworkspace.service import confirmation
from agentworkspace.service.audit.commands import AuditCommand
from agentworkspace.service.command_line import CommandLine, OwnCommand
from agentworkspace.service.store_faults import attempt
from registry_service.commands import restored
from registry_service.commands.origin import Origin
from registry_service.commands.restored import Restored
from registry_service.config import Settings
from registry_service.server import Registry
from registry_service.storage.restoring import Held, Survey
from registry_service.storage.schema import AUDIT, SCHEMA
from registry_service.storage.store import Store, open_store

_RESTORED: Final = "registry-service restored"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `registry-service`; returns the exit status."""
    return COMMAND_LINE.main(arguments)


def _restored_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--api-tokens",
        choices=("revoke", "keep"),
        required=True,
        help="revoke: end all api tokens, so that whoever holds one needs a new one; keep: leave"
        " them all, even any that were revoked after the backup, which cannot tell them apart",
    )
    confirmation.add_arguments(parser)


def _restored(settings: Settings, url: Secret, chosen: Namespace) -> int:
    store = open_store(url, pool_size=1, pooled=settings.database_pooled)
    try:
        audit = AuditCommand(name="registry-service", log=AUDIT, settings=settings, url=url)
        return _after_a_restore(store, audit, chosen)
    finally:
        store.database.close()


def _after_a_restore(store: Store, audit: AuditCommand, chosen: Namespace) -> int:
    found = attempt(lambda: restored.survey(store))
    revoke = chosen.api_tokens == "revoke"
    for sentence in _plan(found, revoke=revoke):
        print(sentence)
    for held in restored.live_api_tokens(store):
        print(_row(held))
    sys.stdout.flush()
    status = confirmation.status_unless_confirmed(chosen)
    if status is not None:
        return status
    audit.begin("restored from a backup")
    origin = Origin(
        actor=confirmation.operator(), method=_RESTORED, correlation_id=str(uuid.uuid4())
    )
    tokens = 0
    for done in restored.run(store, Restored(origin=origin, api_tokens=revoke)):
        tokens = done.tokens
        print(f"{done.workspaces} workspaces done, {tokens} tokens ended", file=sys.stderr)
    print(f"done: {tokens} tokens ended. Now serve again, then run `provision-service restored`")
    return 0


def _plan(found: Survey, *, revoke: bool) -> Iterator[str]:
    if found.serving:
        yield (
            "Careful: a registry serves from this database right now. Stop it first, or whatever"
            " it lets in before this is done has to be launched again, too"
        )
    if found.last_record is not None:
        yield f"The last record here is of {found.last_record:%Y-%m-%d %H:%M:%S} UTC."
    yield f"{_RESTORED} will, for {found.workspaces} workspaces:"
    yield "- make every verifier forget what it knows, and begin a new range of revisions"
    yield (
        f"- end {found.instance_tokens} instance tokens and {found.tickets} tickets as COMPROMISED:"
        " a box is told RELAUNCH until its workspace is launched again"
    )
    yield (
        "- mark every workspace that was ever launched RESTORED: provision_service then asks for"
        " new launches gradually, for 5 in a hundred of them a minute"
    )
    if revoke:
        yield (
            f"- revoke {found.api_tokens} api tokens as COMPROMISED; whoever holds one needs a new"
            " one, which an admin's MintToken makes:"
        )
    else:
        yield (
            f"- keep {found.api_tokens} api tokens. No record here says which of them were revoked"
            " or rotated out after the backup, so each of these may have been; revoke those that"
            " should not live (RevokeToken), or choose --api-tokens revoke:"
        )
    if found.api_tokens:
        yield "token_id\tworkspace_id\ttenant\tlabel\tcreated\tlast used"


def _row(held: Held) -> str:
    token = held.token
    used = f"{token.last_use_time:%Y-%m-%d %H:%M}" if token.last_use_time else "never"
    created = f"{token.create_time:%Y-%m-%d %H:%M}"
    columns = (token.token_id, token.workspace_id, held.tenant_id, repr(token.label), created, used)
    return "\t".join(columns)


COMMAND_LINE: Final = CommandLine(
    name="registry",
    description="Identity of agent workspaces, over gRPC.",
    settings=Settings,
    schema=SCHEMA,
    audit=AUDIT,
    service=Registry,
    own=(
        OwnCommand(
            name="restored",
            help="after the database was restored from a backup: end what boxes hold and ask for"
            " new launches, because a backup does not know what was revoked since; an interrupted"
            " run is finished by the next one",
            run=_restored,
            add_arguments=_restored_arguments,
        ),
    ),
)


if __name__ == "__main__":
    sys.exit(main())
