"""`provision-service`: what is its own in the command line that both services have."""

from __future__ import annotations

import secrets
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, inspect

from agentworkspace.core.secret import Secret
from agentworkspace.service.command_line import FAILED, CommandLine, OwnCommand
from agentworkspace.service.declared_settings import BadSettings
from agentworkspace.service.store_faults import attempt
from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.usage import removed_ids
from provision_service.clients.token_file import TokenFile, TokenFileInvalid
from provision_service.commands import find_unassigned
from provision_service.commands.deployment import Deployment
from provision_service.config import Settings
from provision_service.server import serve
from provision_service.storage import catalogue_use
from provision_service.storage.encryption import Vault
from provision_service.storage.key_agreement import AgreedKeys
from provision_service.storage.keyring import BadKeys
from provision_service.storage.opening import WrongKey, open_store, start_problems
from provision_service.storage.schema import AUDIT, SCHEMA
from provision_service.storage.store import database
from provision_service.wiring import certificates_of, keys_file
from provision_service.workers import rekey, report_keys
from provision_service.workers.files import FileRefused, load
from provision_service.workers.rekey import Rekey


def main(arguments: Sequence[str] | None = None) -> int:
    """What `provision-service` runs; answers the exit status."""
    return COMMAND_LINE.main(arguments)


def _check(settings: Settings) -> Iterator[str]:
    loaded = load(settings.catalogue_file, settings.templates_file)
    print(f"\ncatalogue {loaded.catalogue.version}, {len(loaded.templates)} templates")
    keys = None
    if settings.secrets_keys_file is not None:
        keys = AgreedKeys(keys_file(settings).current)
    if settings.registry_token_file is not None:
        TokenFile(settings.registry_token_file)
    if settings.registry_ca_file is not None:
        certificates_of(settings.registry_ca_file)
    if settings.database_url is not None:
        opened = database(settings.database_url, pool_size=1)
        try:
            with opened.engine.connect() as connection:
                yield from _lost(connection, loaded.catalogue)
                if keys is not None:
                    yield from _keys(connection, keys)
        finally:
            opened.close()


def _lost(connection: Connection, catalogue: Catalogue) -> Iterator[str]:
    """What stored workspaces use and the catalogue does not serve."""
    for each in removed_ids(None, catalogue, catalogue_use.used_models(connection)):
        yield f"stored workspaces need it: {each.what}; {each.remedy}"


def _keys(connection: Connection, keys: AgreedKeys) -> Iterator[str]:
    """Print which live replica holds which keys; yield what `serve` would refuse. Nothing of it
    stays in the database.
    """
    if not inspect(connection).has_table("key_holders", schema=SCHEMA.name):
        return
    agreement = keys.agree(connection, Vault(keys.current, secrets.token_bytes))
    print("\nencryption keys of the live replicas:" if agreement.holders else "\nno live replica")
    for holder in agreement.holders:
        held = ", ".join(sorted(holder.key_ids))
        print(f"    {holder.name} holds {held} and writes with {holder.writes_with}")
    for sentence in report_keys.unsettled(agreement):
        print(f"    {sentence}")
    yield from start_problems(connection, agreement)


def _migrated(settings: Settings, url: Secret) -> Iterator[str]:
    """Workspaces that this version refuses because nobody said whose a secret is."""
    if settings.secrets_keys_file is None:
        yield (
            "with PROVISION_SECRETS_KEYS_FILE set, migrate also lists workspaces that would be"
            " refused because nobody said whose their ANTHROPIC_API_KEY is"
        )
        return
    loaded = load(settings.catalogue_file, settings.templates_file)
    deployment = Deployment(
        catalogue=lambda: loaded.catalogue,
        templates=lambda: loaded.templates,
        registry_address="",
    )
    opened = database(url, pool_size=1, pooled=settings.database_pooled)
    try:
        store = open_store(opened, AgreedKeys(keys_file(settings).current), secrets.token_bytes)
        for found in find_unassigned.run(store, deployment):
            yield found.sentence
    finally:
        opened.close()


def _rekey(settings: Settings, url: Secret, _chosen: Namespace) -> int:
    """Batch by batch, each committed: to stop it and to start it again loses nothing."""
    if settings.secrets_keys_file is None:
        raise BadSettings(["PROVISION_SECRETS_KEYS_FILE must be set"])
    opened = database(url, pool_size=1, pooled=settings.database_pooled)
    try:
        keys = AgreedKeys(keys_file(settings).current)
        store = open_store(opened, keys, secrets.token_bytes)
        agreement = keys.agreement
        if not agreement.settled:
            raise BadSettings(
                [f"nothing was encrypted: {each}" for each in report_keys.unsettled(agreement)]
            )
        done = 0
        while True:
            result = attempt(lambda: rekey.run(store, Rekey()))
            done += result.rewritten
            print(f"{done} under {result.key_id}, {result.remaining} to go", flush=True)
            if not result.rewritten:
                break
    finally:
        opened.close()
    if not result.remaining:
        return 0
    told = f"{result.undecryptable} of {result.remaining} rows open with no key of the file"
    print(f"provision-service: {told}", file=sys.stderr)
    return FAILED


COMMAND_LINE: Final = CommandLine(
    name="provision",
    description="The launch of agent workspaces, over gRPC.",
    settings=Settings,
    schema=SCHEMA,
    audit=AUDIT,
    serve=serve,
    misconfigured=(BadKeys, FileRefused, TokenFileInvalid, WrongKey),
    check=_check,
    migrated=_migrated,
    own=(
        OwnCommand(
            name="rekey",
            help="encrypt every secret under the current key; resumable",
            run=_rekey,
        ),
    ),
)


if __name__ == "__main__":
    sys.exit(main())
