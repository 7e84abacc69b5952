"""The runs: every launch, the same with every lure set by a tenant, and each lure alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import grpc

from agentworkspace.rpc.errors import failure_from
from tests.runtimes.boxes import SECONDS, Run, run, through_the_runner
from tests.runtimes.cases import CASES, Case
from tests.runtimes.hostile import catalogue, temptations
from tests.runtimes.launches import Launched, Launcher
from tests.runtimes.lures import LURES, STRAY, Lure
from tests.runtimes.programs import Program
from tests.runtimes.results import BITES, HOSTILE, LAUNCH, Proof
from tests.runtimes.rig import Rig
from tests.runtimes.verdict import complaints


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """`say` is told each step as it ends.

    Of a slow program one launch of each mode is tried unless `every_launch`; a hostile tenant tries
    one of each mode unless `every_hostile`.
    """

    rig: Rig
    launcher: Launcher
    programs: dict[str, Program]
    say: Callable[[str], None]
    every_launch: bool = False
    every_hostile: bool = False

    def proofs(self) -> Iterator[Proof]:
        steps = list(self._steps())
        for number, step in enumerate(steps, 1):
            started = time.monotonic()
            proof = step()
            took = time.monotonic() - started
            outcome = "; ".join(proof.complaints) or "ok"
            self.say(f"[{number}/{len(steps)}] {proof.name}: {outcome} ({took:.1f} s)")
            yield proof

    def _steps(self) -> Iterator[Callable[[], Proof]]:
        every = [case for case in CASES if case.runtime in self.programs]
        few = first_of_each_mode(every)
        for case in every:
            if self.every_launch or case in few or not self.programs[case.runtime].slow:
                yield partial(self._launch, case)
        for case in every if self.every_hostile else few:
            yield partial(self._hostile, case)
        for lure in LURES:
            if lure.runtime in self.programs and (self.every_hostile or not lure.rare):
                yield partial(self._bites, lure)

    def _launch(self, case: Case) -> Proof:
        try:
            launched = self.launcher.launch(case)
        except grpc.RpcError as error:
            return _proof(LAUNCH, case, [_refusal(error)])
        return _proof(LAUNCH, case, self._seen(case, launched))

    def _hostile(self, case: Case) -> Proof:
        """Nothing that a tenant writes may change what is seen, except what it may choose."""
        try:
            launched = self.launcher.launch_with(case, temptations(catalogue(), case))
        except grpc.RpcError as error:
            return _proof(HOSTILE, case, [_refusal(error)])
        return _proof(HOSTILE, case, self._seen(case, launched))

    def _bites(self, lure: Lure) -> Proof:
        """Set behind our back, just before the program, it must change what is seen."""
        case = next(
            each for each in CASES if (each.runtime, each.mode) == (lure.runtime, lure.mode)
        )
        launched = self.launcher.launch(case)
        behind = ["env", *(f"{name}={value}" for name, value in lure.variables.items())]
        seen = self._seen(case, launched, behind=behind, seconds=lure.seconds)
        complaint = () if seen else ("it changes nothing, so refusing it proves nothing",)
        return Proof(
            kind=BITES,
            runtime=lure.runtime,
            mode=lure.mode,
            what=" ".join(lure.variables),
            complaints=complaint,
        )

    def _seen(
        self,
        case: Case,
        launched: Launched,
        *,
        behind: Iterable[str] = (),
        seconds: float = SECONDS,
    ) -> list[str]:
        program = self.programs[case.runtime]
        command = through_the_runner(program, behind)
        done: Run = run(self.rig, program, command, launched.environment, seconds=seconds)
        secrets = {**launched.secrets, "the stranger's key": STRAY}
        return complaints(case, done, secrets, launched.workspace)


def first_of_each_mode(cases: Iterable[Case]) -> list[Case]:
    first: dict[tuple[str, str], Case] = {}
    for case in cases:
        first.setdefault((case.runtime, case.mode), case)
    return list(first.values())


def _proof(kind: str, case: Case, found: Iterable[str]) -> Proof:
    return Proof(
        kind=kind,
        runtime=case.runtime,
        mode=case.mode,
        what=case.model,
        complaints=tuple(dict.fromkeys(found)),
    )


def _refusal(error: grpc.RpcError) -> str:
    failure = failure_from(error)
    return f"refused: {failure.reason}: {failure.message}"
