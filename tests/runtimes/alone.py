"""One tempting name at a time, at one scope: the long campaign.

A program does the same where it is told the same. So it runs once for each answer that a launch
gets, and a name that leaves the answer as it was is proven by the run of that answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.runtimes.cases import Case
from tests.runtimes.hostile import temptations
from tests.runtimes.launches import SCOPES, WORKSPACE, Launched


def alone(
    document: Mapping[str, Any], cases: Iterable[Case]
) -> Iterator[tuple[Case, str, str, str]]:
    """Every case with each name that could tempt it: case, scope, name, value."""
    for case in cases:
        for name, value in temptations(document, case).items():
            for scope in SCOPES:
                # What pays stands there already, and is the tenant's to choose.
                if scope != WORKSPACE or name not in case.secrets:
                    yield case, scope, name, value


class Answers:
    """Which answers a program was run with and did right; with a file, in earlier runs, too.

    The file lies in the program's own environment, so that it goes with the program's version.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        # Launches whose answer was proven before, and answers that were proven here.
        self.known = 0
        self.added = 0
        self._proven = {
            line
            for file in files.values()
            if file.is_file()
            for line in file.read_text("utf-8").splitlines()
        }

    def knows(self, case: Case, launched: Launched) -> bool:
        known = _digest(case, launched) in self._proven
        self.known += known
        return known

    def add(self, case: Case, launched: Launched) -> None:
        digest = _digest(case, launched)
        self._proven.add(digest)
        self.added += 1
        if case.runtime in self._files:
            with self._files[case.runtime].open("a", encoding="utf-8") as file:
                file.write(f"{digest}\n")


def _digest(case: Case, launched: Launched) -> str:
    return hashlib.sha256(f"{case!r}\n{launched.likeness}".encode()).hexdigest()
