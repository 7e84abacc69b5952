"""`platform-credentials`: values that are the platform's own, and that no tenant may hold."""

from __future__ import annotations

import argparse
from pathlib import Path

from agentworkspace.ctl.arguments import PAGING
from agentworkspace.ctl.command import Answer, Command, ExitCode, Group, argument
from agentworkspace.ctl.commands.secret_store import HOLDERS
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.files import read_secret
from agentworkspace.ctl.output import facts, table
from agentworkspace.ctl.paging import listed
from agentworkspace.provision.v1 import secret_service_pb2 as messages
from agentworkspace.provision.v1.secret_service_pb2_grpc import SecretServiceStub

_COLUMNS = {
    "NAME": "name",
    "SOURCE": "source",
    "FINGERPRINT": "fingerprint",
    "CREATED": "create_time",
}
_NAME = argument("name", help="its name for people")


def _register(args: argparse.Namespace, session: Session) -> Answer:
    value = read_secret(args.value_file, what="platform credential", verbatim=args.verbatim)
    response = session.call(
        SecretServiceStub(session.provision).RegisterPlatformCredential,
        messages.RegisterPlatformCredentialRequest(
            name=args.name, value=value.reveal(), validate_only=args.validate_only
        ),
    )
    view = (
        facts("would be registered" if args.validate_only else "registered", response.credential),
        table("held by tenants already", HOLDERS, response.matches),
    )
    return Answer(document=response, view=view)


def _list(args: argparse.Namespace, session: Session) -> Answer:
    method = SecretServiceStub(session.provision).ListPlatformCredentials
    request = messages.ListPlatformCredentialsRequest()
    return listed(args, session, method, request, rows="credentials", columns=_COLUMNS)


def _unregistering_ends(args: argparse.Namespace, _session: Session) -> str:
    return (
        f"This forgets the platform credential {args.name}: from then on tenants may store its"
        " value as their own."
    )


def _unregister(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        SecretServiceStub(session.provision).UnregisterPlatformCredential,
        messages.UnregisterPlatformCredentialRequest(name=args.name),
    )
    if response.deleted:
        return Answer(document=response, view=(facts("", response),), names=(args.name,))
    note = f"nothing was forgotten: no platform credential is called {args.name}"
    return Answer(document=response, notes=(note,), names=(), exit_code=ExitCode.REFUSED)


GROUP = Group(
    "platform-credentials",
    "the platform's own credentials",
    (
        Command(
            "register",
            "make the value on standard input the platform's own",
            _register,
            (
                _NAME,
                argument("--value-file", type=Path, metavar="FILE", help="read it from FILE"),
                argument("--verbatim", action="store_true", help="keep a line break at the end"),
                argument("--validate-only", action="store_true", help="only list who holds it"),
            ),
            secret="platform credential",
        ),
        Command("list", "by name and fingerprint, newest first", _list, PAGING),
        Command("unregister", "forget one", _unregister, (_NAME,), ends=_unregistering_ends),
    ),
)
