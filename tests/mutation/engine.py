"""One warm pytest session that judges many mutants, each in a forked child.

The tests are collected and run once, unchanged, to learn which of them call which function. A
mutant inside a function then costs a fork, a swap of that function's code, and its tests up to
the first red one, quick ones first. A mutant of what runs on import (tables, constants,
defaults) has the domain and its tests imported again in the child.
"""

from __future__ import annotations

import ast
import copy
import gc
import importlib
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import hypothesis
import pytest

from tests.mutation.edits import Edit, edits, first_line

OPTIONS: Final = (
    *("-q", "-s", "--tb=no", "--no-header", "--no-summary", "-p", "no:cacheprovider"),
    *("-o", "timeout=0", "-o", "faulthandler_timeout=0"),
    # hypothesis is there before pytest, and in a child everything is.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
_SLOW_SECONDS: Final = 0.3
_EXAMPLES: Final = 20
_LEAST_CPU_SECONDS: Final = 20
_IMPORTED_AGAIN: Final = ("registry_service.domain", "provision_service.domain", "tests.domain")
_CALLED: Final = "__called__"

# A function of a subject: module, name, first line.
Called = tuple[str, str, int]


@dataclass(frozen=True, eq=False)
class Mutant:
    """One edit of one module; `source` is the line as it stands."""

    module: str
    file: str
    edit: Edit
    source: str
    # Known to be no change at all: only the quick tests are asked whether that is so.
    explained: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.edit.line}"
        return f"{place}  {self.edit.operator}: {self.edit.becomes}\n      {self.source}"


@dataclass(frozen=True)
class Judged:
    """`killer` is the test that turned red, None when none did."""

    mutant: Mutant
    killer: str | None
    seconds: float


class Subject:
    """A module under mutation: its tree, its mutants, and its living functions."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.module = importlib.import_module(name)
        self.path = str(self.module.__file__)
        text = Path(self.path).read_text(encoding="utf-8")
        self.tree = ast.parse(text)
        file, lines = str(Path(self.path).relative_to(root)), text.splitlines()
        self.mutants = [
            Mutant(name, file, edit, lines[edit.line - 1].strip())
            for edit in edits(self.tree, vars(self.module))
        ]
        self.functions: dict[tuple[str, int], list[FunctionType]] = defaultdict(list)

    def find_functions(self, among: Iterable[object]) -> None:
        for thing in among:
            if isinstance(thing, FunctionType) and thing.__code__.co_filename == self.path:
                self.functions[_place(thing.__code__)].append(thing)

    def mutated(self, edit: Edit) -> CodeType:
        code = edit.code(self.tree, self.path)
        assert isinstance(code, CodeType)
        return code

    def swap(self, code: CodeType) -> None:
        """Give the living functions of this process the code they have in `code`."""
        for changed in _codes(code):
            for function in self.functions.get(_place(changed), ()):
                function.__code__ = changed

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Have every function say first that it is called: to what `listen` named."""
        tree = copy.deepcopy(self.tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                called = (self.name, node.name, first_line(node))
                say = ast.parse(f"{_CALLED}({called!r})").body[0]
                ast.increment_lineno(say, node.body[0].lineno - 1)
                node.body.insert(0, say)
        code = compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)
        self.listen(set())
        self.swap(code)
        yield
        self.swap(compile(self.tree, self.path, "exec", dont_inherit=True))

    def listen(self, calls: set[Called]) -> None:
        vars(self.module)[_CALLED] = calls.add


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _place(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


class Quick:
    """Few and repeatable examples for the properties; in a child, the first red test ends all."""

    def __init__(
        self,
        rank: Callable[[str], tuple[Any, ...]] | None = None,
        wanted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.rank, self.wanted = rank, wanted
        self.red: str | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            test = getattr(item, "obj", None)
            if test is not None and hypothesis.is_hypothesis_test(test):
                test._hypothesis_internal_use_settings = hypothesis.settings(
                    test._hypothesis_internal_use_settings,
                    max_examples=_EXAMPLES,
                    derandomize=True,
                    database=None,
                    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
                )
        if self.rank is not None:
            rank = self.rank
            items[:] = [item for item in items if self.wanted(item.nodeid)]
            items.sort(key=lambda item: rank(item.nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.red is None:
            self.red = report.nodeid


class Baseline(Quick):
    """Runs the unchanged tests, learns what each calls, then hands the session on."""

    def __init__(
        self, subjects: Sequence[Subject], judge: Callable[[Baseline, pytest.Session], None]
    ) -> None:
        super().__init__()
        self.subjects, self.judge = subjects, judge
        self.calls: dict[str, set[Called]] = defaultdict(set)
        self.seconds: dict[str, float] = defaultdict(float)
        self.slow_files: set[str] = set()
        self.kills: Counter[str] = Counter()
        self.started = 0.0
        self.items: list[pytest.Item] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.started = time.process_time()
        # A fixture may be shared by the tests of its file: what it calls, all of them do.
        for subject in self.subjects:
            subject.listen(self.calls[_file(item.nodeid)])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        for subject in self.subjects:
            subject.listen(self.calls[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        super().pytest_runtest_logreport(report)
        self.seconds[report.nodeid] = time.process_time() - self.started
        if report.when == "setup" and self.seconds[report.nodeid] > _SLOW_SECONDS:
            self.slow_files.add(_file(report.nodeid))

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = session.items
        living = [thing for thing in gc.get_objects() if isinstance(thing, FunctionType)]
        with ExitStack() as watching:
            for subject in self.subjects:
                subject.find_functions(living)
                watching.enter_context(subject.watched())
            run_items(self.items)
        if self.red is not None:
            raise pytest.UsageError(f"red before any change: {self.red}")
        gc.collect()
        gc.freeze()  # the children share these pages as long as nobody walks them
        self.judge(self, session)
        return True

    def rank_of(self, nodeid: str) -> tuple[Any, ...]:
        """Tests that killed before, then quick ones; slow ones last, a file's together."""
        if _file(nodeid) in self.slow_files:
            return (2, _file(nodeid), 0.0)
        if self.seconds[nodeid] > _SLOW_SECONDS:
            return (1, "", self.seconds[nodeid])
        return (0, -self.kills[nodeid], self.seconds[nodeid])

    def is_quick(self, nodeid: str) -> bool:
        return bool(self.rank_of(nodeid)[0] == 0)

    def tests_of(self, functions: set[Called]) -> list[pytest.Item]:
        """The tests that call any of these, in the order in which they are best run."""
        found = [
            item
            for item in self.items
            if not functions.isdisjoint(self.calls[item.nodeid] | self.calls[_file(item.nodeid)])
        ]
        return sorted(found, key=lambda item: self.rank_of(item.nodeid))

    def files_of(self, subject: Subject) -> list[str]:
        """The files of tests that call or import anything of a module."""
        functions = {
            (subject.name, name.rpartition(".")[2], line) for name, line in subject.functions
        }
        callers = {_file(item.nodeid) for item in self.tests_of(functions)}
        return [
            file
            for file in dict.fromkeys(_file(item.nodeid) for item in self.items)
            if file in callers or f"from {subject.name} import" in Path(file).read_text("utf-8")
        ]


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def run_items(items: Sequence[pytest.Item], stop: Callable[[], bool] = lambda: False) -> None:
    for index, item in enumerate(items):
        following = items[index + 1] if index + 1 < len(items) else None
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        if stop():
            return


def judge_all(baseline: Baseline, mutants: Iterable[Mutant], *, jobs: int) -> Iterator[Judged]:
    """Judge each mutant in a child of its own, up to `jobs` at a time."""
    subjects = {subject.name: subject for subject in baseline.subjects}
    running: dict[int, tuple[Mutant, int, float]] = {}
    waiting = list(reversed(list(mutants)))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            pid, answers = _fork(baseline, subjects[mutant.module], mutant)
            running[pid] = mutant, answers, time.monotonic()
        pid, status = os.waitpid(-1, 0)
        if pid not in running:
            continue
        mutant, answers, started = running.pop(pid)
        with os.fdopen(answers, encoding="utf-8") as pipe:
            killer = pipe.read() or None
        if os.WIFSIGNALED(status):
            killer = f"signal {os.WTERMSIG(status)}: too much time or memory"
        elif killer is None and os.WEXITSTATUS(status) != 0:
            raise RuntimeError(f"the child of this mutant ended by itself:\n{mutant}")
        if killer is not None:
            baseline.kills[killer] += 1
        yield Judged(mutant, killer, time.monotonic() - started)


def _fork(baseline: Baseline, subject: Subject, mutant: Mutant) -> tuple[int, int]:
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        killer = _killer(baseline, subject, mutant)
        os.write(writer, (killer or "").encode())
        status = 0
    finally:
        os._exit(status)


def _killer(baseline: Baseline, subject: Subject, mutant: Mutant) -> str | None:
    place = mutant.edit.function
    if place is None:
        return _killer_on_import(baseline, subject, mutant)
    name, line = place
    tests = baseline.tests_of({(subject.name, name.rpartition(".")[2], line)})
    if mutant.explained:
        tests = [item for item in tests if baseline.is_quick(item.nodeid)]
    if not tests:  # called while the tests are imported, or by none
        return _killer_on_import(baseline, subject, mutant)
    _limit_cpu(2 * sum(baseline.seconds[item.nodeid] for item in tests))
    subject.swap(subject.mutated(mutant.edit))
    baseline.red = None
    run_items(tests, stop=lambda: baseline.red is not None)
    return baseline.red


def _killer_on_import(baseline: Baseline, subject: Subject, mutant: Mutant) -> str | None:
    files = baseline.files_of(subject)
    if not files:
        return None
    _limit_cpu(3 * sum(s for nodeid, s in baseline.seconds.items() if _file(nodeid) in files))
    for name in list(sys.modules):
        if name.startswith(_IMPORTED_AGAIN):
            del sys.modules[name]
    sys.meta_path.insert(0, _Mutated(subject.name, subject.path, subject.mutated(mutant.edit)))
    quick = Quick(baseline.rank_of, baseline.is_quick if mutant.explained else lambda _: True)
    status = pytest.main([*OPTIONS, "-x", *files], plugins=[quick])
    if status == pytest.ExitCode.OK:
        return None
    return quick.red or "import"


def _limit_cpu(seconds: float) -> None:
    limit = int(seconds) + _LEAST_CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the mutated code."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        self.name, self.path, self.code = name, path, code

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=self.path)

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self.path
        exec(self.code, vars(module))  # noqa: S102 -- that is what importing is


def run(
    subjects: Sequence[Subject],
    mutants: Sequence[Mutant],
    tests: Sequence[str],
    *,
    jobs: int,
    tell: Callable[[Judged], None],
) -> list[Judged]:
    """Run the tests unchanged, then judge the mutants; `tell` hears of each as it is judged."""
    found: list[Judged] = []

    def judge(baseline: Baseline, _session: pytest.Session) -> None:
        for judged in judge_all(baseline, mutants, jobs=jobs):
            found.append(judged)
            tell(judged)

    status = pytest.main([*OPTIONS, *tests], plugins=[Baseline(subjects, judge)])
    if status != pytest.ExitCode.OK:
        raise SystemExit(f"pytest ended with {status!r} before every mutant was judged")
    return found
