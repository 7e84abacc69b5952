"""`./deploy/test runtimes`: the real agent programs, in a network that ends at our own recorder.

./deploy/test runtimes                 install what is missing, then every launch, by an older
                                       launcher too, hostile tenant and lure; exit 1 when one is not
                                       as it has to be
./deploy/test runtimes --only codex    that runtime alone (may be said several times)
./deploy/test runtimes --write         every launch of the slow ones too, and keep the outcome in
                                       results.json and provisioning's table (with --only: of that
                                       runtime, beside what is there of the others)

./deploy/test runtimes -k TEXT         those alone whose line has TEXT: a mode, a variable

With AGENTWORKSPACE_TEST_ROUNDS above 1 a hostile tenant tries every launch, not one of each mode,
and each name by itself at each scope: thousands of launches, of which the program runs once for
each answer. Interrupted, it goes on with --resume: no program runs again for an answer that it did
right with.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.rounds import TIMES
from tests.runtimes import results
from tests.runtimes.alone import Answers
from tests.runtimes.campaign import Campaign
from tests.runtimes.launches import running_launcher
from tests.runtimes.namespaces import NoNamespaces, enter, is_inside
from tests.runtimes.own_keys import own_keys
from tests.runtimes.programs import NotInstalled, Program, install, programs
from tests.runtimes.rig import running_rig


def main() -> int:
    options = _parsed(sys.argv[1:])
    if is_inside():
        return _inside(options)
    missing = _install(options.only or list(programs()))
    try:
        # Comes back only when it cannot: from here on the same is run inside.
        enter("tests.runtimes", [*sys.argv[1:], *(f"--missing={each}" for each in missing)])
    except NoNamespaces as why:
        print(f"skipped: every runtime: {why}")
        print(f"0 passed, 0 failed, {len(programs())} skipped")
    return 0


def _parsed(arguments: list[str]) -> argparse.Namespace:
    names = list(programs())
    parser = argparse.ArgumentParser(
        prog="./deploy/test runtimes",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=names, metavar="RUNTIME")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("-k", default="", metavar="TEXT", dest="part")
    parser.add_argument("--resume", action="store_true")
    # Said by the outer process to the inner one: RUNTIME: why.
    parser.add_argument("--missing", action="append", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write and options.part:
        parser.error("--write keeps what all steps came to: leave -k out, or --write")
    return options


def _install(wanted: list[str]) -> list[str]:
    """Install each; returns those that cannot be had, with the reason."""
    missing = []
    for name in wanted:
        try:
            install(programs()[name], lambda text: _say(f"── {text}"))
        except NotInstalled as why:
            missing.append(f"{name}: {why}")
    return missing


def _inside(options: argparse.Namespace) -> int:
    missing = dict(each.split(": ", 1) for each in options.missing)
    wanted: dict[str, Program] = {
        name: program
        for name, program in programs().items()
        if name in (options.only or programs()) and name not in missing
    }
    with tempfile.TemporaryDirectory(prefix="agentworkspace-rig-") as directory:
        # PostgreSQL never runs as root: the user that runs it for root must get through here.
        Path(directory).chmod(0o711)
        certificates = Path(directory, "certificates")
        certificates.mkdir()
        with (
            running_rig(certificates) as rig,
            running_launcher(Path(directory, "home")) as launcher,
            own_keys(rig, launcher, _say) as keys,
        ):
            answers = _answers(wanted, resume=options.resume)
            campaign = Campaign(
                rig=rig,
                launcher=launcher,
                programs=wanted,
                say=_say,
                answers=answers,
                own_keys=keys,
                every_launch=options.write or TIMES > 1,
                every_hostile=TIMES > 1,
                part=options.part,
            )
            proofs = list(campaign.proofs())
    if answers.known:
        print(f"{answers.known} launches got an answer that a program had done right with before;")
        print(f"{answers.added} were new, and the program ran.")
    return _report(proofs, missing, options)


def _say(text: str) -> None:
    print(text, flush=True)


def _answers(wanted: dict[str, Program], *, resume: bool) -> Answers:
    files = {name: program.home / "proven-answers" for name, program in wanted.items()}
    if not resume:
        for file in files.values():
            file.unlink(missing_ok=True)
    return Answers(files)


def _report(
    proofs: list[results.Proof], missing: dict[str, str], options: argparse.Namespace
) -> int:
    failed = [proof for proof in proofs if proof.complaints]
    for proof in failed:
        print(f"FAILED {proof.name}")
        print("\n".join(f"       {each}" for each in proof.complaints))
    for name, why in missing.items():
        print(f"skipped: {name}: {why}")
    if options.write and not missing:
        results.FILE.write_text(results.written(results.kept(options.only) + proofs), "utf-8")
        results.write_table()
    print(f"{len(proofs) - len(failed)} passed, {len(failed)} failed, {len(missing)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
