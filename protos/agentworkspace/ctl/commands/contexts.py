"""`context`: the installations that you work with, and which one is used by default."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from agentworkspace.ctl.command import Answer, Command, Group, argument
from agentworkspace.ctl.connection import DEFAULTS, Session, usable_address
from agentworkspace.ctl.contexts import Context, read_contexts
from agentworkspace.ctl.files import Unusable, read_secret
from agentworkspace.ctl.output import Grid


def _list(_args: argparse.Namespace, _session: Session) -> Answer:
    contexts = read_contexts(os.environ)
    rows = tuple(
        (
            "*" if name == contexts.current else "",
            name,
            each.registry or DEFAULTS["registry"],
            each.provision or DEFAULTS["provision"],
            each.token_from,
        )
        for name, each in contexts.by_name.items()
    )
    header = ("", "NAME", "REGISTRY", "PROVISION", "TOKEN FROM")
    keys = ("current", "name", "registry", "provision", "tokenFrom")
    return Answer(
        document={"contexts": [dict(zip(keys, row, strict=True)) for row in rows]},
        view=(Grid("", header, rows),),
        names=tuple(contexts.by_name),
        notes=(f"they are in {contexts.path}",),
    )


def _use(args: argparse.Namespace, _session: Session) -> Answer:
    contexts = read_contexts(os.environ)
    contexts.named(args.name)
    replace(contexts, current=args.name).save()
    return _said(args.name, f"{args.name} is used from now on, unless --context says otherwise")


def _set(args: argparse.Namespace, _session: Session) -> Answer:
    """Keep what the options of the connection say, which are the same for every command."""
    contexts = read_contexts(os.environ)
    files = (args.token_file, args.ca, args.tls_cert, args.tls_key)
    token_file, ca, cert, key = (str(each.absolute()) if each else None for each in files)
    ways = [each for each in (token_file, args.token_command, args.token_stdin) if each]
    if len(ways) > 1:
        raise Unusable(
            "the token comes from one place: --token-file, --token-command or --token-stdin"
        )
    token = read_secret(None, what="token").reveal() if args.token_stdin else None
    for service in DEFAULTS:
        if (address := getattr(args, service)) is not None:
            usable_address(service, address)
    said = {
        "registry": args.registry,
        "provision": args.provision,
        "ca": ca,
        "cert": cert,
        "key": key,
        "tls_server_name": args.tls_server_name,
        "token": token,
        "token_file": token_file,
        "token_command": args.token_command,
        "plaintext": args.plaintext or None,
    }
    changes = {name: value for name, value in said.items() if value is not None}
    before = contexts.by_name.get(args.name, Context())
    if not changes and args.name in contexts.by_name:
        raise Unusable("nothing to change: name an address, a file or where the token is")
    changed = {**contexts.by_name, args.name: before.with_changes(changes)}
    replace(contexts, by_name=changed, current=contexts.current or args.name).save()
    return _said(
        args.name, f"kept in {contexts.path}; `workspacectl --context {args.name} doctor` tries it"
    )


def _delete(args: argparse.Namespace, _session: Session) -> Answer:
    contexts = read_contexts(os.environ)
    contexts.named(args.name)
    left = {name: each for name, each in contexts.by_name.items() if name != args.name}
    current = "" if contexts.current == args.name else contexts.current
    replace(contexts, by_name=left, current=current).save()
    return _said(args.name, "forgotten; what a token file holds stays where it is")


def _said(name: str, note: str) -> Answer:
    view = (Grid("", (), (("context", name),)),)
    return Answer(document={"name": name}, view=view, notes=(note,))


_NAME = argument(
    "name",
    help="name of the context",
    complete=lambda _session, typed, _args: [
        name for name in read_contexts(os.environ).by_name if name.startswith(typed)
    ],
)

GROUP = Group(
    "context",
    "installations, and how each is reached",
    (
        Command("list", "the contexts there are; * is the one used by default", _list, local=True),
        Command("use", "use this one by default", _use, (_NAME,), local=True),
        Command(
            "set",
            "keep the addresses, files and token that are given, under a name",
            _set,
            (
                _NAME,
                argument(
                    "--token-command",
                    metavar="COMMAND",
                    help="a command that prints the token, run for every call",
                ),
                argument(
                    "--token-stdin",
                    action="store_true",
                    help="keep the token itself, from standard input, in the file (mode 0600)",
                ),
            ),
            local=True,
        ),
        Command("delete", "forget one", _delete, (_NAME,), local=True),
    ),
)
