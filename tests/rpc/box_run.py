"""`agentworkspace-box run` as a process of its own, at a registry of one workspace."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentworkspace.core.secret import Secret
from tests.rpc.agent_model_registry import WORKSPACE
from tests.rpc.box_registry_server import BoxRegistry

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
RUN = ("-m", "agentworkspace.client.box.main", "run")


@dataclass
class Run:
    """One that is under way. `said`: the lines on standard error, as far as they came."""

    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_said(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not any(text in line for line in self.said):
                self._news.clear()
                await self._news.wait()

    async def ended(self) -> tuple[int, str, str]:
        """(exit status, standard output, standard error)."""
        async with asyncio.timeout(PATIENCE):
            assert self.process.stdout is not None
            output = await self.process.stdout.read()
            status = await self.process.wait()
            await self._listening
        return status, output.decode(), "".join(self.said)

    async def listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode())
            self._news.set()

    def start_listening(self) -> None:
        self._listening = asyncio.create_task(self.listen())


def environment(registry: BoxRegistry, home: Path, ticket: Secret | None) -> dict[str, str]:
    found = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        # Set, or Python adds LC_CTYPE by itself.
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT / "protos"),
        "WORKSPACE_ID": WORKSPACE,
        "WORKSPACE_INCARNATION": "1",
        "WORKSPACE_REGISTRY_ADDRESS": registry.address,
    }
    if ticket is not None:
        found["WORKSPACE_BOOTSTRAP_TICKET"] = ticket.reveal()
    return found


def recipe(**parts: Any) -> dict[str, str]:
    """WORKSPACE_LAUNCH with these parts."""
    whole: dict[str, Any] = {"version": 1}
    whole |= {"arguments": [], "directories": [], "files": [], "unset": []}
    return {"WORKSPACE_LAUNCH": json.dumps(whole | parts)}


@asynccontextmanager
async def running(
    environ: Mapping[str, str], *words: str, options: tuple[str, ...] = ()
) -> AsyncIterator[Run]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *RUN, *options, "--", *words),
        env=dict(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    run = Run(process)
    run.start_listening()
    try:
        yield run
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110 - what it looks at is another process's
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
