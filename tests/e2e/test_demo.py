"""`./deploy/run demo` plays every incident to its promised end and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import __main__ as demo
from deploy.demo import picture
from deploy.demo.error_as_text import is_the_answer
from deploy.demo.narrative import Narrative
from tests.e2e.boxes import ROOT

SECONDS = 110
pytestmark = pytest.mark.timeout(150)
INCIDENTS = (
    "Incident 1: online but braindead",
    "Incident 2: wrong payer",
    "Incident 3: co-mingled key",
    "Incident 4: first token inline",
    "Incident 5: token without a scope",
    "Incident 6: error as text",
    "Incident 7: a fence with a hole",
    "Incident 8: a key that followed a model",
    "Incident 9: the platform's key at a stranger's door",
)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where the demonstration puts everything; PostgreSQL, which is never root, gets through."""
    directory = Path(tempfile.mkdtemp(prefix="aw-demo-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def started(scratch: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        (sys.executable, "-u", "-m", "deploy.demo"),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch), **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def left_running(scratch: Path) -> list[str]:
    """Processes that work in the directory or were started with it in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            directory = str((process / "cwd").readlink())
            said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if directory.startswith(str(scratch)) or str(scratch).encode() in said:
            found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.mark.e2e
def test_every_incident_ends_as_promised_and_nothing_is_left(scratch: Path) -> None:
    # What the caller's shell says about the services does not change the story.
    spoilt = {"REGISTRY_BOOTSTRAP_POLICY": "nonsense", "PROVISION_PROBES": "off"}
    with started(scratch, **spoilt) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, "")
    places = [out.find(f"── {title} ") for title in INCIDENTS]
    assert all(place > 0 for place in places)
    assert places == sorted(places)
    chapters = out.split("── Incident ")[1:]
    for chapter in chapters:
        assert all(mark in chapter for mark in ("→", "←", "rule:", "✓"))
    assert "read:issue" in out
    assert "Agent error (Exception)" in out
    assert f"{out.count('✓')} promises kept in " in out
    assert out.rstrip().endswith("nothing is left running.")
    assert left_running(scratch) == []
    assert list(scratch.iterdir()) == []
    assert picture.drawn(out) == picture.PICTURE.read_text(), (
        "run: ./deploy/run demo | .venv/bin/python -m deploy.demo.picture"
    )


@pytest.mark.e2e
def test_interrupted_in_the_middle_it_leaves_nothing_either(scratch: Path) -> None:
    with started(scratch) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Incident 1" in line:
                break
        assert left_running(scratch) != []
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "nothing is left running" in err
    assert left_running(scratch) == []
    assert list(scratch.iterdir()) == []


def test_a_broken_promise_ends_the_demonstration_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_a_promise(_stage: Any, tell: Narrative) -> None:
        tell.prove(1 + 1 == 3, "arithmetic is generous")

    def never(_stage: Any, _tell: Narrative) -> None:
        raise AssertionError("played on after a broken promise")

    monkeypatch.setattr(demo, "INCIDENTS", (break_a_promise, never))
    monkeypatch.setattr(demo, "running_stage", lambda _installation: nullcontext(None))
    monkeypatch.setattr(demo, "stop_on_signals", lambda: None)
    assert demo.main() == 1
    said = capsys.readouterr()
    assert "Broken promise: arithmetic is generous" in said.err
    assert "promises kept" not in said.out


@pytest.mark.parametrize(
    "text",
    [
        "",
        "25933",
        "Agent error (Exception): 25932",
        "Exception",
        "MISSING_BYOK_CREDENTIAL",
        "Not logged in",
        '{"type": "result", "is_error": true}',
    ],
)
def test_the_demonstrations_own_check_refuses_what_is_not_the_answer(text: str) -> None:
    assert is_the_answer("25932")
    assert not is_the_answer(text)
