"""The table of error reasons in protos/README.md, made from the protos and both services' tables.

python -m deploy.reasons            write it
python -m deploy.reasons --check    exit 1 when it is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from agentworkspace.rpc.documented_reasons import documented_reasons
from deploy.pages import spliced, write_or_check
from provision_service.api.errors import MEANINGS as PROVISION
from registry_service.api.errors import MEANINGS as REGISTRY

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "protos" / "README.md"
BEGIN = "<!-- reasons: written by deploy/reasons.py -->"
END = "<!-- end of reasons -->"
WHO = {(True, True): "both", (True, False): "registry", (False, True): "provision"}


def table() -> str:
    """The table, in Markdown, with a note above it."""
    registry, provision = documented_reasons("registry"), documented_reasons("provision")
    recoveries: dict[str, list[str]] = {}
    for meanings in (REGISTRY, PROVISION):
        for each, meaning in meanings.items():
            recoveries.setdefault(str(each), []).append(f"`{meaning.recovery}`")
    rows = [
        "| reason | code | recovery | raised by | meaning |",
        "|---|---|---|---|---|",
    ]
    for reason, said in (registry | provision).items():
        who = WHO[reason in registry, reason in provision]
        recovery = ", ".join(dict.fromkeys(recoveries[reason]))
        rows.append(f"| `{reason}` | {said.code} | {recovery} | {who} | {said.text} |")
    note = (
        "The recovery is the usual one: a refusal that knows more about its case may name another."
    )
    return "\n".join([note, "", *rows])


def main() -> int:
    return write_or_check(PAGE, spliced(PAGE, BEGIN, END, table()), module="deploy.reasons")


if __name__ == "__main__":
    sys.exit(main())
