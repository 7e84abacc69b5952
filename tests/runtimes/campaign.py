"""The runs: every launch, the same with all that tempts, each temptation alone, and each lure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import grpc

from agentworkspace.rpc.errors import failure_from
from tests.runtimes import older
from tests.runtimes.alone import Answers, alone
from tests.runtimes.boxes import SECONDS, Run, by_itself, run, through_the_runner
from tests.runtimes.cases import CASES, MANAGED, Case
from tests.runtimes.hostile import catalogue, temptations
from tests.runtimes.launches import Launched, Launcher
from tests.runtimes.lures import LURES, STRAY, Lure, files_of
from tests.runtimes.own_keys import A_BOX, ENDS, OwnKeys
from tests.runtimes.programs import Program
from tests.runtimes.results import ALONE, BITES, HOSTILE, LAUNCH, OLDER, OWN_KEY, Proof
from tests.runtimes.rig import Rig
from tests.runtimes.verdict import complaints


@dataclass(frozen=True, kw_only=True)
class Step:
    """One launch or one lure. `run` returns what is to complain about."""

    proof: Proof
    run: Callable[[], Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """`say` is told each step as it ends; of all steps those are taken whose name has `part`.

    Of a slow program one launch of each mode is tried unless `every_launch`; a hostile tenant tries
    one of each mode, with all its temptations at once, unless `every_hostile`: then every launch,
    and each temptation alone at each scope, too.
    """

    rig: Rig
    launcher: Launcher
    programs: dict[str, Program]
    say: Callable[[str], None]
    answers: Answers
    own_keys: OwnKeys
    every_launch: bool = False
    every_hostile: bool = False
    part: str = ""

    def proofs(self) -> Iterator[Proof]:
        steps = [step for step in self._steps() if self.part in step.proof.name]
        for number, step in enumerate(steps, 1):
            started = time.monotonic()
            complaints = tuple(dict.fromkeys(step.run()))
            took = time.monotonic() - started
            proof = replace(step.proof, complaints=complaints)
            outcome = "; ".join(complaints) or "ok"
            self.say(f"[{number}/{len(steps)}] {proof.name}: {outcome} ({took:.1f} s)")
            yield proof

    def _steps(self) -> Iterator[Step]:
        every = [case for case in CASES if case.run_by in self.programs]
        few = first_of_each_mode(every)
        for case in every:
            if self.every_launch or case in few or not self.programs[case.run_by].slow:
                yield _step(LAUNCH, case, partial(self._launch, case))
        for case in every:
            first = case in few
            if older.is_tried(case, first_of_its_mode=first, every_mode=self.every_launch):
                yield _step(OLDER, case, partial(self._older, case))
        for case in every if self.every_hostile else few:
            yield _step(HOSTILE, case, partial(self._hostile, case))
        for lure in LURES:
            if lure.runtime in self.programs and (self.every_hostile or not lure.rare):
                case = next(
                    each for each in CASES if (each.run_by, each.mode) == (lure.runtime, lure.mode)
                )
                what = " ".join(lure.variables)
                yield _step(BITES, case, partial(self._bites, case, lure), what)
        if self.every_hostile:
            for case, scope, name, value in alone(catalogue(), few):
                run = partial(self._alone, case, scope, {name: value})
                yield _step(ALONE, case, run, f"{name} of {scope}")
        yield from self._own_keys([case for case in few if case.mode == MANAGED])

    def _own_keys(self, cases: Iterable[Case]) -> Iterator[Step]:
        """Last, because they change what every launch answers."""
        keys = self.own_keys
        for case in cases:
            serves = partial(keys.serves, case, self.programs[case.run_by])
            yield _step(OWN_KEY, case, serves)
        steps: dict[str, Callable[[], Iterable[str]]] = {
            "bills nobody else": keys.bills_nobody_else,
            **{f"ends: {how}": partial(keys.ends, how) for how in ENDS},
            "ends: launched anew": keys.ends_with_a_new_launch,
        }
        if A_BOX.run_by in self.programs:
            for what, step in steps.items():
                yield _step(OWN_KEY, A_BOX, step, what)

    def _launch(self, case: Case) -> Iterable[str]:
        return self._seen_of(case, partial(self.launcher.launch, case))

    def _older(self, case: Case) -> Iterable[str]:
        """A launcher that hands on the map and nothing else."""
        try:
            launched = self.launcher.launch(case)
        except grpc.RpcError as error:
            return [_refusal(error)]
        program = self.programs[case.run_by]
        done = run(self.rig, program, by_itself(program), launched.environment)
        return older.complaints(case, done, launched)

    def _hostile(self, case: Case) -> Iterable[str]:
        """Nothing that a tenant writes may change what is seen, except what it may choose."""
        tempting = temptations(catalogue(), case)
        return self._seen_of(case, partial(self.launcher.launch_with, case, tempting))

    def _alone(self, case: Case, scope: str, tempting: Mapping[str, str]) -> Iterable[str]:
        launch = partial(self.launcher.launch_with, case, tempting, (scope,))
        return self._seen_of(case, launch, anew=False)

    def _seen_of(
        self, case: Case, launch: Callable[[], Launched], *, anew: bool = True
    ) -> Iterable[str]:
        """What is to complain about such a launch; not `anew` where its answer is proven."""
        try:
            launched = launch()
        except grpc.RpcError as error:
            return [_refusal(error)]
        if not anew and self.answers.knows(case, launched):
            return []
        # What a lure points to lies in the home of every box: it must not matter.
        done = self._run(case, launched, files_of(case.runtime))
        seen = _about(case, done, launched)
        if not seen:
            self.answers.add(case, launched)
        return seen

    def _bites(self, case: Case, lure: Lure) -> Iterable[str]:
        """Set behind our back, just before the program, it must change what is seen."""
        launched = self.launcher.launch(case)
        behind = ["env", *(f"{name}={value}" for name, value in lure.variables.items())]
        done = self._run(case, launched, lure.files, behind=behind, seconds=lure.seconds)
        return about_a_lure(case, lure, done, launched)

    def _run(
        self,
        case: Case,
        launched: Launched,
        files: Mapping[str, str],
        *,
        behind: Iterable[str] = (),
        seconds: float = SECONDS,
    ) -> Run:
        program = self.programs[case.run_by]
        command = through_the_runner(program, behind)
        return run(self.rig, program, command, launched.environment, files=files, seconds=seconds)


def about_a_lure(case: Case, lure: Lure, done: Run, launched: Launched) -> list[str]:
    """What is to complain about a run that had to go astray."""
    if done.code is None and lure.seconds == SECONDS:
        return ["the program did not end, which proves nothing: the machine may be slow"]
    if not _about(case, done, launched):
        return ["it changes nothing, so refusing it proves nothing"]
    return []


def _about(case: Case, done: Run, launched: Launched) -> list[str]:
    secrets = {**launched.secrets, "the stranger's key": STRAY}
    return complaints(case, done, secrets, launched.workspace)


def first_of_each_mode(cases: Iterable[Case]) -> list[Case]:
    first: dict[tuple[str, str], Case] = {}
    for case in cases:
        first.setdefault((case.run_by, case.mode), case)
    return list(first.values())


def _step(kind: str, case: Case, run: Callable[[], Iterable[str]], what: str = "") -> Step:
    proof = Proof(kind=kind, runtime=case.run_by, mode=case.mode, what=what or case.model)
    return Step(proof=proof, run=run)


def _refusal(error: grpc.RpcError) -> str:
    failure = failure_from(error)
    return f"refused: {failure.reason}: {failure.message}"
