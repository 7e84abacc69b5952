"""What was proven, with which versions: results.json, and the table made from it.

python -m tests.runtimes.results            write the table
python -m tests.runtimes.results --check    exit 1 when the page says otherwise
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deploy.pages import spliced, write_or_check
from tests.runtimes.cases import CASES, MODES
from tests.runtimes.programs import HERE, ROOT, programs

LAUNCH: Final = "launch"
OLDER: Final = "older launcher"
HOSTILE: Final = "hostile tenant"
BITES: Final = "lure bites"
OWN_KEY: Final = "the box's own key"
# Thousands, of the long campaign: said while it runs, and not kept.
ALONE: Final = "one name alone"

FILE: Final = HERE / "results.json"
PAGE: Final = ROOT / "provision_service" / "README.md"
BEGIN: Final = "<!-- runtimes: written by tests/runtimes/results.py -->"
END: Final = "<!-- end of runtimes -->"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One case: proven when there is no complaint."""

    kind: str
    runtime: str
    mode: str
    what: str
    complaints: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.runtime}, {self.mode}, {self.what}"


def written(proofs: Iterable[Proof]) -> str:
    """The text of results.json: versions, and every proof that is kept, runtime by runtime."""
    versions = {name: program.version for name, program in programs().items()}
    kinds, runtimes = (LAUNCH, OLDER, HOSTILE, BITES, OWN_KEY), list(versions)
    in_order = sorted(
        (proof for proof in proofs if proof.kind in kinds),
        key=lambda each: (kinds.index(each.kind), runtimes.index(each.runtime)),
    )
    document = {"versions": versions, "proofs": [asdict(proof) for proof in in_order]}
    return json.dumps(document, indent=1) + "\n"


def read(file: Path = FILE) -> tuple[dict[str, str], list[Proof]]:
    """Versions and proofs of the committed run."""
    document = json.loads(file.read_text("utf-8"))
    proofs = [
        Proof(**{**each, "complaints": tuple(each["complaints"])}) for each in document["proofs"]
    ]
    return document["versions"], proofs


def kept(only: Sequence[str] | None) -> list[Proof]:
    """What stays of the committed run when `only` these runtimes were tried; nothing when all."""
    if not only or not FILE.is_file():
        return []
    return [proof for proof in read()[1] if proof.runtime not in only]


def table(versions: Mapping[str, str], proofs: Iterable[Proof]) -> str:
    """Runtime by mode: how many launches were proven, with which version."""
    exists = {(case.run_by, case.mode) for case in CASES}
    launches = [proof for proof in proofs if proof.kind == LAUNCH]
    rows = [
        "| runtime | proven with | " + " | ".join(MODES) + " |",
        "|---" * (len(MODES) + 2) + "|",
    ]
    for runtime, version in versions.items():
        cells = [
            _cell([each for each in launches if (each.runtime, each.mode) == (runtime, mode)])
            if (runtime, mode) in exists
            else "-"
            for mode in MODES
        ]
        rows.append(f"| {runtime} | {version} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(launches: list[Proof]) -> str:
    proven = sum(not proof.complaints for proof in launches)
    if proven == len(launches):
        return f"{proven} proven" if proven else "not tried"
    return f"{proven} proven, {len(launches) - proven} not"


def write_table() -> None:
    """Bring the table of provision_service/README.md up to date."""
    PAGE.write_text(page(), "utf-8")


def page() -> str:
    """The page as it should be."""
    return spliced(PAGE, BEGIN, END, table(*read()))


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), module="tests.runtimes.results"))
