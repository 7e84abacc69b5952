"""`doctor`: looks for what is wrong with an installation, and says what to do about it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc

from agentworkspace.client.channel import ClientTls
from agentworkspace.core.installation import package_version
from agentworkspace.ctl.command import Answer, Command, ExitCode
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.failures import explain, failure_of
from agentworkspace.ctl.files import Unusable
from agentworkspace.ctl.identity import OTHER, PARTS, health_of, system_info_of
from agentworkspace.ctl.output import Grid
from agentworkspace.ctl.reach import Reach, reach
from agentworkspace.server.listening import is_loopback

OK: Final = "ok"
LOOK: Final = "look"
WRONG: Final = "wrong"
_SKEW: Final = timedelta(seconds=5)
_EXPIRES_SOON: Final = timedelta(days=14)


class Finding(NamedTuple):
    """One thing that was looked at: OK, LOOK or WRONG. `remedy` is empty where none is needed."""

    service: str
    what: str
    state: str
    found: str
    remedy: str = ""


def _doctor(_args: argparse.Namespace, session: Session) -> Answer:
    findings: list[Finding] = []
    infos: dict[str, Any] = {}
    unreachable = False
    for service in OTHER:
        way = _way(session, service)
        findings += way
        if any(each.state == WRONG for each in way):
            unreachable = True
            continue
        findings += _health(session, service)
        findings += _info(session, service, infos)
    if (info := infos.get("provision")) is not None:
        findings += _keys(info)
        findings += _launches(info)
        findings += _box(info, session)
    findings += _alike(infos)
    wrong = sum(each.state == WRONG for each in findings)
    look = sum(each.state == LOOK for each in findings)
    remedies = tuple(
        (f"{each.service}: {each.what}", each.remedy) for each in findings if each.remedy
    )
    rows = tuple(each[:4] for each in findings)
    view = [Grid("", ("SERVICE", "WHAT", "STATE", "FOUND"), rows)]
    if remedies:
        view.append(Grid("what to do", (), remedies))
    code = ExitCode.UNREACHABLE if unreachable else ExitCode.REFUSED if wrong else ExitCode.DONE
    return Answer(
        document={"findings": [each._asdict() for each in findings]},
        view=tuple(view),
        names=tuple(f"{each.service}/{each.what}" for each in findings if each.state != OK),
        notes=(f"{len(findings)} things looked at: {wrong} wrong, {look} to look at",),
        exit_code=code,
    )


def _way(session: Session, service: str) -> list[Finding]:
    """Whether the service can be reached from here: its name, its port, its certificate."""
    address = session.addresses[service]
    try:
        found = reach(address, session.tls_for(address), option=f"--{service}")
    except Unusable as error:
        return [Finding(service, "address", WRONG, str(error), f"name it with --{service}")]
    if found.fault:
        return [Finding(service, "address", WRONG, found.fault, found.remedy)]
    return [Finding(service, "address", OK, address), *_certificate(service, found)]


def _certificate(service: str, found: Reach) -> Iterator[Finding]:
    if found.expires is None:
        return
    left = found.expires - datetime.now(UTC)
    soon = left < _EXPIRES_SOON
    text = f"accepted, until {found.expires:%Y-%m-%d} ({left.days} days)"
    remedy = "renew it; it is read again when its file changes" if soon else ""
    yield Finding(service, "certificate", LOOK if soon else OK, text, remedy)


def _health(session: Session, service: str) -> Iterator[Finding]:
    try:
        if health_of(session, service, PARTS[service][0]) == "SERVICE_UNKNOWN":
            other = health_of(session, service, PARTS[OTHER[service]][0]) != "SERVICE_UNKNOWN"
            found = f"this is the {OTHER[service]} service" if other else "this is something else"
            yield Finding(service, "health", WRONG, found, f"name the right address: --{service}")
            return
        word = health_of(session, service)
    except grpc.RpcError as error:
        yield _failed(session, service, "health", error)
        return
    if word == "SERVING":
        yield Finding(service, "health", OK, word)
    else:
        remedy = "its log says why: most often the database cannot be written to"
        yield Finding(service, "health", WRONG, word, remedy)


def _info(session: Session, service: str, infos: dict[str, Any]) -> Iterator[Finding]:
    """Caller, version, clocks and migrations, as the service itself tells them."""
    asked = datetime.now(UTC)
    try:
        info = infos[service] = system_info_of(session, service)
    except grpc.RpcError as error:
        yield _failed(session, service, "credential", error)
        return
    took = datetime.now(UTC) - asked
    roles = ", ".join(info.caller.roles)
    yield Finding(service, "credential", OK, f"{info.caller.name} ({roles})")
    own = package_version()
    same = info.version == own
    remedy = "" if same else "use the workspacectl of the services' version"
    version = info.version if same else f"{info.version}; this tool is {own}"
    yield Finding(service, "version", OK if same else LOOK, version, remedy)
    for what, clock in (("clock", info.process_time), ("database clock", info.database_time)):
        apart = abs(clock.ToDatetime(UTC) - asked) - took
        fine = apart < _SKEW
        text = "as here" if fine else f"{apart.total_seconds():.0f} s from the clock here"
        remedy = "" if fine else "let NTP set all clocks: times in logs and certificates rely on it"
        yield Finding(service, what, OK if fine else LOOK, text, remedy)
    current, wanted = info.schema_revision, info.wanted_schema_revision
    if current == wanted:
        yield Finding(service, "migrations", OK, current)
    else:
        text = f"the database is at {current or 'none'}, this version was made for {wanted}"
        yield Finding(service, "migrations", WRONG, text, f"run: {service}-service migrate")


def _keys(info: Any) -> Iterator[Finding]:
    others = [each for each in info.secrets_key_ids if each != info.secrets_key_id]
    text = f"writes with {info.secrets_key_id}"
    if others:
        text += f"; also holds {', '.join(others)}"
    yield Finding("provision", "keys", OK, text)


def _launches(info: Any) -> Iterator[Finding]:
    """Whether a launch can get its incarnation: provisioning asks the registry for it."""
    if info.registry_fault:
        remedy = "see PROVISION_REGISTRY_ADDRESS and PROVISION_REGISTRY_TOKEN_FILE of provision"
        yield Finding("provision", "its registry", WRONG, info.registry_fault, remedy)
    else:
        yield Finding("provision", "its registry", OK, "answers, and takes its credential")


def _box(info: Any, session: Session) -> Iterator[Finding]:
    """The registry's address that boxes are given, tried from here, where boxes need not be."""
    address = info.box_registry_address
    with tempfile.TemporaryDirectory() as scratch:
        tls = None
        if info.box_registry_ca:
            ca_file = Path(scratch) / "ca.pem"
            ca_file.write_text(info.box_registry_ca)
            tls = ClientTls(ca_file=ca_file)
        found = reach(address, tls, option="PROVISION_BOX_REGISTRY_ADDRESS of provision")
    local = is_loopback(address)
    if found.fault:
        state, text = LOOK, f"{found.fault} (tried from here)"
        remedy = "a box must reach it: set PROVISION_BOX_REGISTRY_ADDRESS as boxes see it"
    elif local and not is_loopback(session.addresses["provision"]):
        state, text = WRONG, f"{address}, which is the box itself"
        remedy = "set PROVISION_BOX_REGISTRY_ADDRESS to an address that boxes can reach"
    else:
        state, remedy = OK, ""
        text = f"{address}; boxes on this machine only" if local else address
    yield Finding("box", "registry", state, text, remedy)
    yield from _certificate("box", found)


def _alike(infos: dict[str, Any]) -> Iterator[Finding]:
    if len(infos) == len(OTHER):
        versions = {info.version for info in infos.values()}
        if len(versions) > 1:
            text = f"the services differ: {', '.join(sorted(versions))}"
            yield Finding("both", "version", LOOK, text, "bring both to one version")


def _failed(session: Session, service: str, what: str, error: grpc.RpcError) -> Finding:
    failure = failure_of(error, session)
    step = explain(failure, session)
    reason = failure.reason.removeprefix("ERROR_REASON_")
    return Finding(
        service, what, WRONG, failure.message or reason or failure.code.name,
        step,
    )  # fmt: skip


DOCTOR = Command(
    "doctor",
    "look for what is wrong: addresses, certificates, clocks, migrations, keys, boxes",
    _doctor,
)
