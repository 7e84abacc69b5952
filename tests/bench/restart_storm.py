"""Thousands of boxes that start in the same moment, each with its ticket, each with its retries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agentworkspace.core.backoff import Backoff
from tests.bench import cases, crowd, load, newcomers, overload
from tests.bench.bench import Bench, say
from tests.bench.crowd import AGAIN
from tests.bench.database import Server
from tests.bench.h2 import Message
from tests.bench.pair import Served

SIZES: Final = (5_000, 20_000)
# Whoever is not in by then is counted as left outside.
GIVE_UP_SECONDS: Final = 120.0
# Asked while the most come.
CONTROL_SECONDS: Final = 5.0
REGISTER: Final = cases.BOXES + "Register"
_COUNTED: Final = """
SELECT count(*) FILTER (WHERE live = 1), count(*) FILTER (WHERE minted > 1),
       count(*) FILTER (WHERE live <> 1)
FROM (
    SELECT w.workspace_id, count(t.token_id) AS minted,
           count(t.token_id) FILTER (WHERE t.revoke_time IS NULL) AS live
    FROM registry.workspaces w
    LEFT JOIN registry.tokens t ON t.workspace_id = w.workspace_id AND t.kind = 'INSTANCE'
    WHERE w.workspace_id = ANY(%(ids)s::uuid[]) GROUP BY w.workspace_id
) each
"""


@dataclass(slots=True)
class Story:
    """How it went. Of those that came in: seconds since the beginning, and tries."""

    refusals: Counter[str] = field(default_factory=Counter)
    turned_away: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)
    cpu_seconds: float = 0.0


def storm(
    bench: Bench, server: Server, database_name: str, served: Served, *, boxes: int, tokens: int
) -> Story:
    say(f"── {boxes:,} boxes register at once, each with its ticket")
    launched = newcomers.admit(server, database_name, boxes)
    bare = [bench.bare()]
    before = served.process.cpu_seconds()
    playing = bench.generators.submit(run, served.address, newcomers.messages(launched))
    control = bench.send(overload.control(served, tokens, CONTROL_SECONDS)).result()
    story = playing.result()
    took = served.process.cpu_seconds() - before
    bare.append(bench.bare())
    with server.session(database_name) as cursor:
        cursor.execute(_COUNTED, {"ids": [each.workspace_id for each in launched]})
        inside, twice, outside = cursor.fetchone() or (0, 0, 0)
    waited, tries = sorted(story.seconds), sorted(story.tries)
    half, most = load.percentile(waited, 50), load.percentile(waited, 99)
    say(f"   {len(waited):,} in after {max(waited, default=0):.1f} s")
    say("   the bare server before and after it: " + ", ".join(f"{each:,.0f}/s" for each in bare))
    say(f"   the median after {half:.1f} s, 99 of 100 after {most:.1f} s")
    say(f"   refused on the way: {dict(story.refusals)}; for good: {dict(story.turned_away)}")
    say(f"   tries: {load.percentile(tries, 50)} in the middle, {max(tries, default=0)} at most")
    say(f"   processor: {took:.1f} s the service, {story.cpu_seconds:.1f} s the boxes")
    say(f"   control plane meanwhile: {overload.told(control)}")
    say(f"   in the database: {inside} with one live token, {twice} with two, {outside} without")
    return story


def run(address: str, messages: Sequence[Message]) -> Story:
    """All of them, from this moment on, until each is in or turned away for good."""
    story = Story()
    backoffs = [Backoff() for _ in messages]
    tries = [0] * len(messages)

    def answered(box: int, status: int, _asked: float) -> float | None:
        tries[box] += 1
        if status == load.OK:
            story.seconds.append(boxes.now)
            story.tries.append(tries[box])
        elif status in AGAIN:
            story.refusals[AGAIN[status]] += 1
            return boxes.now + crowd.pause(backoffs[box], status)
        else:
            story.turned_away[status] += 1
        return None

    boxes = crowd.Crowd(address, REGISTER, messages, [0.0] * len(messages), answered)
    story.cpu_seconds = boxes.play(GIVE_UP_SECONDS)
    return story
