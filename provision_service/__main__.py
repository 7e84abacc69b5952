"""The command line of `provision-service`: what it has beside the commands of both services."""

from __future__ import annotations

import secrets
import sys
import uuid
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, inspect

from agentworkspace.core.caller import Caller
from agentworkspace.core.pem_files import PemInvalid
from agentworkspace.core.secret import Secret
from agentworkspace.service import confirmation
from agentworkspace.service.audit.commands import AuditCommand
from agentworkspace.service.command_line import CommandLine, OwnCommand
from agentworkspace.service.declared_settings import BadSettings
from agentworkspace.service.outcome import FAILED
from agentworkspace.service.store_faults import attempt
from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.usage import removed_ids
from provision_service.clients.registry import RegistryClient
from provision_service.commands import find_unassigned, restored
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.commands.restored import Restored, Tally
from provision_service.config import Settings
from provision_service.domain.registry_port import Registration, RegistryUnavailable
from provision_service.domain.restoring import Mending
from provision_service.server import Provisioning
from provision_service.storage import catalogue_use, outbox
from provision_service.storage.encryption import Vault
from provision_service.storage.key_agreement import AgreedKeys
from provision_service.storage.keyring import BadKeys
from provision_service.storage.opening import WrongKey, open_store, start_problems
from provision_service.storage.schema import AUDIT, SCHEMA
from provision_service.storage.store import Store, database
from provision_service.wiring import certificates_of, keys_file, registry_channel
from provision_service.workers import drain_outbox, rekey, report_keys
from provision_service.workers.drain_outbox import DrainOutbox
from provision_service.workers.files import FileRefused, load
from provision_service.workers.rekey import Rekey

_RESTORED: Final = "provision-service restored"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `provision-service` with these arguments (None: the process's own); the exit status."""
    return COMMAND_LINE.main(arguments)


def _check(settings: Settings) -> Iterator[str]:
    loaded = load(settings.catalogue_file, settings.templates_file)
    print(f"\ncatalogue {loaded.catalogue.version}, {len(loaded.templates)} templates")
    keys = None
    if settings.secrets_keys_file is not None:
        keys = AgreedKeys(keys_file(settings).current)
    if settings.registry_token_file is not None:
        registry_channel(settings).close()
    if settings.registry_ca_file is not None:
        certificates_of(settings.registry_ca_file)
    if settings.database_url is not None:
        opened = database(settings.database_url, pool_size=1, pooled=settings.database_pooled)
        try:
            with opened.engine.connect() as connection:
                yield from _lost(connection, loaded.catalogue)
                if keys is not None:
                    yield from _keys(connection, keys)
        finally:
            opened.close()


def _lost(connection: Connection, catalogue: Catalogue) -> Iterator[str]:
    """A sentence for each id that stored workspaces use and the catalogue does not serve."""
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
    """A sentence for each workspace that this version refuses because nobody said which vendor one
    of its secrets belongs to.
    """
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
    with _opened(settings, url) as (store, _):
        for found in find_unassigned.run(store, deployment):
            yield found.sentence


@contextmanager
def _opened(settings: Settings, url: Secret) -> Iterator[tuple[Store, AgreedKeys]]:
    """The store for a command, opened with the keys that the live replicas agree on. A command is
    no replica, so it reports no keys of its own.
    """
    opened = database(url, pool_size=1, pooled=settings.database_pooled)
    keys = AgreedKeys(keys_file(settings).current)
    try:
        yield open_store(opened, keys, secrets.token_bytes), keys
    finally:
        opened.close()


def _rekey(settings: Settings, url: Secret, _chosen: Namespace) -> int:
    """Re-encrypt batch by batch. Each batch is committed, so an interrupted run loses nothing."""
    if settings.secrets_keys_file is None:
        raise BadSettings(["PROVISION_SECRETS_KEYS_FILE must be set"])
    with _opened(settings, url) as (store, keys):
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
    if not result.remaining:
        return 0
    told = f"{result.undecryptable} of {result.remaining} rows open with no key of the file"
    print(f"provision-service: {told}", file=sys.stderr)
    return FAILED


def _restored(settings: Settings, url: Secret, chosen: Namespace) -> int:
    if settings.secrets_keys_file is None or settings.registry_token_file is None:
        raise BadSettings(
            ["PROVISION_SECRETS_KEYS_FILE and PROVISION_REGISTRY_TOKEN_FILE must be set"]
        )
    loaded = load(settings.catalogue_file, settings.templates_file)
    deployment = Deployment(
        catalogue=lambda: loaded.catalogue,
        registry_address=settings.registry_address,
        tickets_from_birth=settings.tickets_from_birth,
    )
    audit = AuditCommand(name="provision-service", log=AUDIT, settings=settings, url=url)
    try:
        with _opened(settings, url) as (store, _), registry_channel(settings) as channel:
            return _after_a_restore(store, deployment, RegistryClient(channel), audit, chosen)
    except RegistryUnavailable as failure:
        print(
            f"provision-service: {failure}; what was done so far stays done. See that the registry"
            f" serves at {settings.registry_address}, and run this again",
            file=sys.stderr,
        )
        return FAILED


def _after_a_restore(
    store: Store,
    deployment: Deployment,
    registry: RegistryClient,
    audit: AuditCommand,
    chosen: Namespace,
) -> int:
    admin = Caller(confirmation.operator(), frozenset({"admin"}), None)
    call = Call(caller=admin, method=_RESTORED, correlation_id=str(uuid.uuid4()))
    tally = Tally()
    for tally in restored.run(store, Restored(call=call, dry_run=True), deployment, registry):
        print(f"{tally.compared} workspaces compared", file=sys.stderr)
    for sentence in _plan(tally):
        print(sentence)
    for sentence in _lost_here(restored.unknown_here(store, deployment, registry)):
        print(sentence)
    sys.stdout.flush()
    status = confirmation.status_unless_confirmed(chosen)
    if status is not None:
        return status
    audit.begin("restored from a backup")
    for tally in restored.run(store, Restored(call=call), deployment, registry):
        print(f"{tally.compared} workspaces done", file=sys.stderr)
    told = 0
    while news := _tell(store, deployment, registry):
        told += news
        print(f"{told} messages told to the registry", file=sys.stderr)
    left = attempt(lambda: outbox.depth(store)).messages
    print(f"done: {told} messages told to the registry, {left} left to the running service")
    return 0


def _lost_here(found: Iterator[Registration]) -> Iterator[str]:
    for number, each in enumerate(found):
        if number == 0:
            yield (
                "The registry has these, and they are not stored here: their specs and secrets are"
                " lost. Create anew what is needed, and call RetireWorkspace for each of these:"
            )
            yield "workspace_id\ttenant\tstate"
        yield f"{each.workspace_id}\t{each.tenant_id}\t{each.state}"


def _tell(store: Store, deployment: Deployment, registry: RegistryClient) -> int:
    command = DrainOutbox(jitter=lambda: 0.0)
    return attempt(lambda: drain_outbox.run(store, command, deployment, registry)).delivered


def _plan(tally: Tally) -> Iterator[str]:
    count = tally.mended
    yield f"{_RESTORED} compared {tally.compared} workspaces with the registry, and will"
    yield f"- admit {count[Mending.ADMIT]} again that the registry does not know"
    yield f"- tell it of the launches of {count[Mending.REMIND]}, where it counts fewer"
    yield f"- suspend {count[Mending.SUSPEND]} that were suspended"
    yield f"- retire {count[Mending.RETIRE]} that were removed"
    yield f"- remove {count[Mending.REMOVE]} here, with their secrets, that the registry retired"
    yield f"- take over its count of launches for {count[Mending.COUNT_ON]}, where it counts more"
    yield f"- end {tally.launches} launches that are on their way, so that nobody waits for them"
    yield "If the registry's database was restored, `registry-service restored` comes first"


COMMAND_LINE: Final = CommandLine(
    name="provision",
    description="The launch of agent workspaces, over gRPC.",
    settings=Settings,
    schema=SCHEMA,
    audit=AUDIT,
    service=Provisioning,
    misconfigured=(BadKeys, FileRefused, PemInvalid, WrongKey),
    check=_check,
    migrated=_migrated,
    own=(
        OwnCommand(
            name="rekey",
            help="encrypt every secret under the current key; resumable",
            run=_rekey,
        ),
        OwnCommand(
            name="restored",
            help="make this database and the registry's agree again after either was restored from"
            " a backup; run it again to finish an interrupted run",
            run=_restored,
            add_arguments=confirmation.add_arguments,
        ),
    ),
)


if __name__ == "__main__":
    sys.exit(main())
