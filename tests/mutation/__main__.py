"""`python -m tests.mutation [MODULE...]`: does a test turn red when a domain rule changes?

Exit status 1 when less than 95 % of the mutants are killed or explained (`explained.toml`), or
when an explanation fits no surviving mutant. mutmut 3 is not used because it leaves alone what
stands outside functions and behind decorators: the tables, constants and properties of the rules.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.mutation.engine import Mutant, Subject

ROOT: Final = Path(__file__).resolve().parents[2]
EXPLAINED: Final = Path(__file__).with_name("explained.toml")
ENOUGH_PERCENT: Final = 95
RULES: Final = {
    "registry_service": ("admission", "admission_table", "standing", "verdicts", "liveness"),
    "provision_service": (
        *("derivation", "billing", "environment", "removal", "credentials"),
        *("endpoints", "model_choice", "gates", "decision", "guards", "secrets", "launch"),
        "reconciliation",
    ),
}
MODULES: Final = tuple(
    f"{service}.domain.{name}" for service, names in RULES.items() for name in names
)

# Module, source line, operator, what becomes of it.
Key = tuple[str, str, str, str]


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="`billing`, or in full")
    parser.add_argument("--jobs", type=int, default=1, help="children at a time (1)")
    parser.add_argument("--sample", type=int, help="judge this many only, spread by chance")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--match", default="", help="only mutants whose description contains this")
    parser.add_argument("--tests", nargs="+", default=[], help="these test files only")
    parser.add_argument("--again", type=Path, help="only what survived in this file of --json")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    return parser.parse_args(argv)


def chosen_modules(words: Sequence[str]) -> list[str]:
    unknown = [w for w in words if not any(m == w or m.endswith(f".{w}") for m in MODULES)]
    if unknown:
        raise SystemExit(f"not a module of domain rules: {', '.join(unknown)}")
    return [m for m in MODULES if not words or any(m == w or m.endswith(f".{w}") for w in words)]


def tests_for(modules: Sequence[str]) -> list[str]:
    services = {module.split("_service.")[0] for module in modules}
    files = sorted((ROOT / "tests" / "domain").glob("test_*.py"))
    return [str(f.relative_to(ROOT)) for f in files if f.name.split("_")[1] in services]


@dataclass
class Explanations:
    """Why a mutant that survives is no gap; `used` are those that fitted one."""

    reasons: dict[Key, str]
    used: set[Key] = field(default_factory=set)

    @classmethod
    def read(cls) -> Explanations:
        entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("explained", [])
        return cls(
            {
                (entry["module"], entry["line"], entry["operator"], becomes): entry["why"]
                for entry in entries
                for becomes in entry["becomes"]
            }
        )


def key_of(mutant: Mutant) -> Key:
    return mutant.module, mutant.source, mutant.edit.operator, mutant.edit.becomes


def chosen_mutants(subjects: Sequence[Subject], options: argparse.Namespace) -> list[Mutant]:
    mutants = [m for subject in subjects for m in subject.mutants if options.match in str(m)]
    if options.again is not None:
        survivors = {
            (row["module"], row["source"], row["operator"], row["becomes"])
            for row in json.loads(options.again.read_text(encoding="utf-8"))
            if row["outcome"] != "killed"
        }
        mutants = [mutant for mutant in mutants if key_of(mutant) in survivors]
    if options.sample is not None:
        dice = random.Random(options.seed)  # noqa: S311 -- a repeatable choice, no secret
        kept = set(dice.sample(range(len(mutants)), min(options.sample, len(mutants))))
        mutants = [mutant for index, mutant in enumerate(mutants) if index in kept]
    return mutants


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "protos")]
    # pytest must be the first to import it, to rewrite its assertions.
    from tests.mutation.engine import Judged, Subject, run  # noqa: PLC0415

    subjects = [Subject(name, ROOT) for name in chosen_modules(options.modules)]
    mutants = chosen_mutants(subjects, options)
    explanations = Explanations.read()
    mutants = [replace(m, explained=key_of(m) in explanations.reasons) for m in mutants]
    started, judged_so_far = time.monotonic(), 0

    def outcome(judged: Judged) -> str:
        if judged.killer is not None:
            return "killed"
        key = key_of(judged.mutant)
        if key not in explanations.reasons:
            return "survived"
        explanations.used.add(key)
        return "explained"

    def tell(judged: Judged) -> None:
        nonlocal judged_so_far
        judged_so_far += 1
        if outcome(judged) == "survived":
            print(f"SURVIVED {judged.mutant}", flush=True)
        if judged_so_far % 50 == 0:
            seconds = time.monotonic() - started
            print(f"... {judged_so_far} of {len(mutants)}, {seconds:.0f} s", flush=True)

    tests = options.tests or tests_for([subject.name for subject in subjects])
    print(f"{len(mutants)} mutants; first the {len(tests)} files of tests, unchanged", flush=True)
    results = run(subjects, mutants, tests, jobs=options.jobs, tell=tell)
    table: dict[str, Counter[str]] = {subject.name: Counter() for subject in subjects}
    for judged in results:
        table[judged.mutant.module][outcome(judged)] += 1
    if options.json is not None:
        rows = [
            {
                "module": judged.mutant.module,
                "file": judged.mutant.file,
                "line": judged.mutant.edit.line,
                "operator": judged.mutant.edit.operator,
                "becomes": judged.mutant.edit.becomes,
                "source": judged.mutant.source,
                "outcome": outcome(judged),
                "killer": judged.killer,
                "seconds": round(judged.seconds, 3),
            }
            for judged in results
        ]
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    whole = not (options.match or options.tests or options.again or options.sample is not None)
    names = {subject.name for subject in subjects}
    stale = [
        key for key in explanations.reasons if key not in explanations.used and key[0] in names
    ]
    return report(table, stale if whole else [])


def report(table: dict[str, Counter[str]], stale: Sequence[Key]) -> int:
    print(f"\n{'module':44}{'mutants':>9}{'killed':>9}{'explained':>11}{'survived':>10}")
    total: Counter[str] = Counter()
    for name, counted in table.items():
        total += counted
        print(_row(name, counted))
    print(_row("all", total))
    for module, line, operator, becomes in stale:
        print(f"explained, but no survivor: {module}: {line}\n    {operator}: {becomes}")
    judged = sum(total.values())
    good = judged - total["survived"]
    print(f"{good / max(judged, 1):.1%} killed or explained; {ENOUGH_PERCENT} % are asked for")
    return 0 if judged and good * 100 >= ENOUGH_PERCENT * judged and not stale else 1


def _row(name: str, counted: Counter[str]) -> str:
    counts = counted["killed"], counted["explained"], counted["survived"]
    return f"{name:44}{sum(counts):>9}{counts[0]:>9}{counts[1]:>11}{counts[2]:>10}"


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of a set decides now and then; the same run is to say the same again.
        again = [sys.executable, "-m", "tests.mutation", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606 -- itself
    sys.exit(main())
