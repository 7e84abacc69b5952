"""The part of a box's client that never waits, common to the asyncio and the blocking one."""

from __future__ import annotations

import logging
import os
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Final, Self, TypeVar

from agentworkspace.client.agent.launch import API_TOKEN, TICKET, Announcement, Launch, Report
from agentworkspace.client.agent.life import AgentLife
from agentworkspace.client.agent.memory import FileMemory, Memory, ProcessMemory
from agentworkspace.client.agent.steps import Wait
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import new_token

T = TypeVar("T")

log: Final = logging.getLogger("agentworkspace.agent")


class Closed(RuntimeError):
    """The client was asked for something before it was entered or admitted, or after it closed."""


class Box:
    """One box: its launch, what it announces and reports, and its current state.

    Tokens that cannot be derived from the ticket are kept in `memory`; without it, in the launch's
    state file.
    """

    def __init__(
        self,
        launch: Launch,
        announcement: Announcement | None = None,
        *,
        memory: Memory | None = None,
    ) -> None:
        self._launch = launch
        self._announcement = announcement or Announcement()
        self._memory = memory or _memory_of(launch)
        self._report = Report()
        self._life = AgentLife(
            launch,
            new_secret=new_token,
            new_request_id=lambda: str(uuid.uuid4()),
            chance=random.random,
        )

    @classmethod
    def from_environment(
        cls,
        announcement: Announcement | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        memory: Memory | None = None,
    ) -> Self:
        """The box that its environment describes; see `Launch.from_environment`.

        Without `environ` this process's own environment is read, and the bootstrap ticket and the
        api token are removed from it, so that programs started later do not inherit them. A second
        client in the same process must therefore be made from the same `Launch`. The environment
        that the process was started with stays readable under /proc, unless the process was
        started by `agentworkspace-box run`.

        ValueError names the variable that is missing or malformed.
        """
        launch = Launch.from_environment(os.environ if environ is None else environ)
        for name in (TICKET, API_TOKEN) if environ is None else ():
            if os.environ.pop(name, None) is not None:
                log.info("took %s out of the environment of this process", name)
        return cls(launch, announcement, memory=memory)

    def bearer(self) -> Secret | None:
        """The token by which other services know this box; None before admission.

        Pass the method itself to a channel: `aio_channel(address, bearer=agent.bearer)`.
        """
        return self._life.bearer

    def report(
        self, *, active_tasks: int = 0, sample_error: str = "", degraded: bool = False
    ) -> None:
        """Set what the next heartbeats report. Never put a secret into it."""
        self._report = Report(
            active_tasks=active_tasks, sample_error=sample_error, degraded=degraded
        )

    def _own_bearer(self) -> Secret:
        bearer = self.bearer()
        if bearer is None:
            raise Closed("not admitted yet")
        return bearer


def note_wait(step: Wait) -> None:
    """Log why the box waits, unless it is the usual wait between heartbeats."""
    if step.because:
        log.warning("%s; next try in %.1f s", step.because, step.seconds)


def from_disk(access: Callable[[], T]) -> T | OSError:
    """The result of `access`, or the OSError that it raised."""
    try:
        return access()
    except OSError as fault:
        return fault


def _memory_of(launch: Launch) -> Memory:
    return FileMemory(launch.state_file) if launch.state_file else ProcessMemory()
