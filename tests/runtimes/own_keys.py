"""PLATFORM_LLM_TOKENS=box: every box shows the platform's proxy a key of its own.

The proxy of the rig checks each key, and has to be told of its end as soon as a verifier promises.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from tests.runtimes.boxes import run, through_the_runner
from tests.runtimes.cases import CASES, MANAGED, PLATFORM, USAGE_TOKEN, Case
from tests.runtimes.launches import BOX_TOKEN, OWN_KEY, TICKET, Launched, Launcher
from tests.runtimes.programs import Program
from tests.runtimes.proxy import MeteredProxy, checking_keys
from tests.runtimes.registry import Registry, calling_registry
from tests.runtimes.rig import Rig
from tests.runtimes.verdict import about_arrivals, complaints

# A verifier believes nothing that it keeps after three keep-alives, of which one comes a second.
STALE_SECONDS: Final = 3.0
_SURFACE: Final = "/anthropic/v1/messages"
# What a box without a program is launched as.
A_BOX: Final = next(each for each in CASES if (each.runtime, each.mode) == ("claude-code", MANAGED))

# Every way in which a key comes to its end, but a new launch.
ENDS: Final[Mapping[str, Callable[[Registry, Launched], None]]] = {
    "revoked": Registry.revoke_the_key,
    "found stolen": Registry.find_the_key_stolen,
    "box found stolen": Registry.find_the_box_stolen,
    "suspended": Registry.suspend,
    "retired": Registry.retire,
    "left": Registry.leave,
}


@dataclass(frozen=True, kw_only=True)
class OwnKeys:
    """Each public method is a step, and returns what is to complain about.

    With the first of them every launch of `launcher` gets such a key, and the proxy checks.
    """

    rig: Rig
    launcher: Launcher
    registry: Registry
    proxy: MeteredProxy
    say: Callable[[str], None]

    def serves(self, case: Case, program: Program) -> Iterable[str]:
        """The program works on it, and its workspace alone is billed; revoked, nobody is."""
        assert case.seen is not None, "where no model is, no platform pays"
        seen = replace(case.seen, credential=OWN_KEY)
        self._begin()
        box = self.launcher.launch(case)
        if box.secrets[USAGE_TOKEN] in "\n".join(box.environment.values()):
            yield "the box was handed the key of its whole tenant"
        command = through_the_runner(program)
        done = run(self.rig, program, command, box.environment)
        yield from complaints(replace(case, seen=seen), done, box.secrets, box.workspace)
        yield from self._billed(box)

        self.registry.revoke_the_key(box)
        yield from self._until_refused("revoked", box)
        done = run(self.rig, program, command, box.environment)
        found = about_arrivals(seen, case.model, done, box.secrets, box.workspace)
        found += ["it was answered"] if done.answered else []
        yield from (f"on a revoked key: {each}" for each in (*found, *self._billed()))

    def bills_nobody_else(self) -> Iterable[str]:
        """A key speaks for its own workspace, whatever the request says."""
        self._begin()
        mine, sibling = self._box(), self._box()
        answered = {
            "its own workspace": self._asks(mine, mine.workspace),
            "no workspace": self._asks(mine, ""),
            "a sibling's workspace": self._asks(mine, sibling.workspace),
            "the tenant's key": self._asks(mine, mine.workspace, credential=USAGE_TOKEN),
            "the bootstrap ticket": self._asks(mine, mine.workspace, credential=TICKET),
            "the box's token": self._asks(mine, mine.workspace, credential=BOX_TOKEN),
        }
        if [name for name, is_so in answered.items() if is_so] != [*answered][:2]:
            yield f"what the proxy answered: {answered}"
        yield from self._billed(mine, mine)

    def ends(self, how: str) -> Iterable[str]:
        """Accepted before, refused as soon as a verifier promises."""
        self._begin()
        box = self._box()
        if not self._asks(box, box.workspace):
            yield "it was refused before its end"
        ENDS[how](self.registry, box)
        yield from self._until_refused(how, box)

    def ends_with_a_new_launch(self) -> Iterable[str]:
        """A copied key does not outlive its launch, and the next box has another."""
        self._begin()
        before = self._box()
        if not self._asks(before, before.workspace):
            yield "it was refused before its end"
        after = self.launcher.relaunch(before)
        yield from self._until_refused("launched anew", before)
        self.registry.register(after)
        if not self._asks(after, after.workspace):
            yield "the next box's key is refused"
        if self._asks(before, before.workspace):
            yield "the copied key works again"

    def _begin(self) -> None:
        self.launcher.give_own_keys()
        self.rig.answer = self.proxy.answer
        self.proxy.metered.clear()

    def _box(self) -> Launched:
        """A box that was let in, without a program."""
        box = self.launcher.launch(A_BOX)
        self.registry.register(box)
        return box

    def _billed(self, *boxes: Launched) -> list[str]:
        """Since the last look these were billed for a call, each of them, and nobody else."""
        billed = set(self.proxy.metered)
        self.proxy.metered.clear()
        right = {box.workspace for box in boxes}
        return [] if billed == right else [f"billed: {sorted(billed)}, not {sorted(right)}"]

    def _until_refused(self, how: str, box: Launched) -> list[str]:
        began = time.monotonic()
        while self._asks(box, box.workspace):
            if time.monotonic() - began > STALE_SECONDS:
                return [f"{how}, and still accepted after {STALE_SECONDS:g} s"]
        self.say(f"    {how}: refused {1000 * (time.monotonic() - began):.0f} ms later")
        self.proxy.metered.clear()
        return []

    def _asks(self, box: Launched, workspace: str, *, credential: str = OWN_KEY) -> bool:
        """Whether the proxy answers this box; it goes there as a program does."""
        headers = {"x-api-key": box.secrets[credential]}
        if workspace:
            headers["x-molecule-workspace-id"] = workspace
        trusting = ssl.create_default_context(cafile=str(self.rig.authority))
        address = urlsplit(PLATFORM)
        connection = http.client.HTTPSConnection(
            str(address.hostname), address.port, timeout=30, context=trusting
        )
        with closing(connection):
            connection.request("POST", _SURFACE, b'{"model": "any"}', headers)
            answer = connection.getresponse()
            if answer.status not in (200, 401):
                raise OSError(f"the proxy answered {answer.status}")
            return answer.status == 200


@contextmanager
def own_keys(rig: Rig, launcher: Launcher, say: Callable[[str], None]) -> Iterator[OwnKeys]:
    """The steps, with a proxy that asks the registry of `launcher`."""
    pair = launcher.pair
    with (
        calling_registry(pair.registry.address, pair.installation) as registry,
        checking_keys(pair.registry.address, launcher.proxys_credential) as proxy,
    ):
        yield OwnKeys(rig=rig, launcher=launcher, registry=registry, proxy=proxy, say=say)
