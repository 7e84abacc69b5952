"""A workspace's spec on the command line: flags, a JSON file, or both."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from agentworkspace.ctl import lookup
from agentworkspace.ctl.arguments import INT32, INT64, MODES
from agentworkspace.ctl.command import argument
from agentworkspace.ctl.files import Unusable, read_json_object
from agentworkspace.provision.v1 import workspace_pb2

# The fields that a flag can set; the others (compute) come with --spec.
FLAGS: dict[str, dict[str, Any]] = {
    "name": {},
    "runtime": {},
    "model": {},
    "template": {},
    "parent_id": {
        "metavar": "WORKSPACE",
        "find": lookup.workspace,
        "complete": lookup.offered_workspaces,
    },
    "tier": {"type": INT32},
    "role": {},
    "max_concurrent_tasks": {"type": INT32, "metavar": "N"},
    "budget_limit_micros": {"type": INT64, "metavar": "N"},
    "delivery_mode": {"choices": ("push", "poll")},
    "url": {},
    "workspace_access": {"choices": ("none", "read_only", "read_write")},
    "required_env": {"action": "append", "metavar": "NAME", "help": "may be repeated"},
    "billing_mode_override": {"choices": MODES},
}
SPEC = (
    argument("--spec", type=Path, metavar="FILE", help="fields as JSON; flags win; - for stdin"),
    *(argument("--" + field.replace("_", "-"), **FLAGS[field]) for field in FLAGS),
)


def spec_from(args: argparse.Namespace) -> tuple[workspace_pb2.Workspace, list[str]]:
    """The spec, and the names of the fields that were given, even with an empty value.

    Unusable when the file does not hold a spec.
    """
    spec = workspace_pb2.Workspace()
    named: list[str] = []
    if args.spec is not None:
        given = read_json_object(args.spec)
        try:
            ParseDict(given, spec)
        except ParseError as error:
            raise Unusable(f"{args.spec}: {error}") from error
        by_json_name = {field.json_name: field.name for field in spec.DESCRIPTOR.fields}
        named += [by_json_name.get(name, name) for name in given]
    for field in FLAGS:
        value = getattr(args, field)
        if value is None:
            continue
        named.append(field)
        if isinstance(value, list):
            spec.ClearField("required_env")
            spec.required_env.extend(value)
        else:
            setattr(spec, field, value)
    return spec, named


def secrets_from(path: Path | None) -> dict[str, str]:
    """The secrets by name; none without a file. Unusable when a value is not text."""
    if path is None:
        return {}
    found = read_json_object(path)
    if not all(isinstance(value, str) for value in found.values()):
        raise Unusable(f"{path}: every secret's value must be text")
    return found


def pair(text: str) -> tuple[str, str]:
    """`NAME=PROVIDER` in two. Unusable when it is not of this form."""
    key, equals, provider = text.partition("=")
    if not key or not equals or not provider:
        # The text is not repeated: it may be a secret typed in the wrong place.
        raise Unusable("--secret-provider wants NAME=PROVIDER, such as ANTHROPIC_API_KEY=minimax")
    return key, provider
