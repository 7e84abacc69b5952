"""Probe the credentials of a workspace at their vendors, on demand."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands import access, probing
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.probing import Prober, ProbeResult
from provision_service.launch import decide
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCredentials:
    """Which workspace."""

    call: Call
    workspace_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCredentialsResult:
    """One result for every probe, and one for every model of the runtime's menu."""

    results: tuple[ProbeResult, ...]
    matrix: tuple[ProbeResult, ...]


def run(
    store: Store, command: CheckCredentials, deployment: Deployment, prober: Prober
) -> CheckCredentialsResult:
    """Read what to ask in one transaction, then ask outside of it. The credential that pays is
    asked about first. No value is sent before the audit event of its reading is stored.

    PROVISION_PROBES=off does not stop this: somebody asked for it.
    """
    files = decide.Files(deployment)
    with store.reading() as tx:
        held = access.read_workspace(tx, command.call, command.workspace_id)
        inputs, decision = decide.decide_stored(tx, deployment, files, held)
    direct = [
        *probing.credential_probe(inputs, decision),
        *probing.template_probes(files.templates, inputs),
    ]
    menu = probing.menu_probes(inputs)
    sent = {request.env for request in (*direct, *menu) if request.value is not None}
    if sent:
        with store.transaction() as tx:
            record(
                tx,
                command.call,
                "secret.probe",
                tenant_id=held.workspace.tenant_id,
                workspace_id=command.workspace_id,
                details={"names": " ".join(sorted(sent))},
            )
    results = tuple(prober.probe([*direct, *menu])) if direct or menu else ()
    return CheckCredentialsResult(results=results[: len(direct)], matrix=results[len(direct) :])
