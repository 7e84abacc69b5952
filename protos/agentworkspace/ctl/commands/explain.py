"""`explain`: what the contracts say of a reason, without asking anybody."""

from __future__ import annotations

import argparse
import json

from agentworkspace.ctl.command import Answer, Command, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.files import Unusable
from agentworkspace.ctl.next_steps import BY_REASON
from agentworkspace.ctl.output import Grid
from agentworkspace.ctl.spelling import meant
from agentworkspace.rpc.documented_reasons import SERVICES, documented_reasons


def _explain(args: argparse.Namespace, _session: Session) -> Answer:
    known = {service: documented_reasons(service) for service in SERVICES}
    if not args.reason:
        return _all()
    name = args.reason.upper().replace("-", "_").removeprefix("ERROR_REASON_")
    found = {service: reasons[name] for service, reasons in known.items() if name in reasons}
    if not found:
        every = {each for reasons in known.values() for each in reasons}
        raise Unusable(
            f"there is no reason of this name{meant(name, every)}; `workspacectl explain` lists all"
        )
    rows: list[tuple[str, str]] = []
    for service, reason in found.items():
        example = json.loads(reason.example) if reason.example else {}
        metadata = ", ".join(f"{key}={value}" for key, value in example.get("metadata", {}).items())
        rows += [
            ("raised by", service),
            ("status code", reason.code),
            ("meaning", reason.text),
            ("comes with", metadata or "-"),
        ]
    if len({(each.code, each.text) for each in found.values()}) == 1:
        rows = [("raised by", ", ".join(found)), *rows[1:4]]
    if name in BY_REASON:
        rows.append(("next step", BY_REASON[name]))
    return Answer(
        document={
            "reason": name,
            "raisedBy": {
                service: {"code": each.code, "meaning": each.text, "example": each.example}
                for service, each in found.items()
            },
        },
        view=(Grid(name, (), tuple(rows)),),
        names=(name,),
    )


def _all() -> Answer:
    merged = documented_reasons("provision") | documented_reasons("registry")
    rows = tuple((name, each.code, each.text) for name, each in sorted(merged.items()))
    return Answer(
        document={
            "reasons": [{"name": name, "code": c, "meaning": text} for name, c, text in rows]
        },
        view=(Grid("", ("REASON", "CODE", "MEANING"), rows),),
    )


EXPLAIN = Command(
    "explain",
    "what a reason of a refusal means; without one: all of them",
    _explain,
    (
        argument(
            "reason",
            nargs="?",
            default="",
            help="such as MISSING_BYOK_CREDENTIAL",
            complete=lambda _session, typed, _args: [
                name
                for service in SERVICES
                for name in documented_reasons(service)
                if name.startswith(typed.upper())
            ],
        ),
    ),
    local=True,
)
