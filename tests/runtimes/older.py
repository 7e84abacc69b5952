"""A launcher from before the launch recipes: it starts the program on the answer's map alone.

It knows neither `agentworkspace-box run` nor WORKSPACE_LAUNCH. What started so before still has to,
unless the map was a leak; and nothing may leak, whether it starts or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.runtimes import verdict
from tests.runtimes.boxes import Run
from tests.runtimes.cases import BY_KEY, BY_OAUTH, DISABLED, MANAGED, USAGE_TOKEN, Case
from tests.runtimes.launches import Launched

# Where the map alone tells a program neither model nor endpoint: the credentials that it takes from
# the map even so, and to whom. It takes no other one. What is not here runs on the map alone as it
# does on its recipe.
TAKES: Final[Mapping[str, Mapping[str, str]]] = {
    "codex": {},
    "hermes": {
        "KIMI_API_KEY": "https://api.moonshot.ai",
        "OPENROUTER_API_KEY": "https://openrouter.ai",
    },
    "openclaw": {"OPENAI_API_KEY": "https://api.openai.com"},
    "opencode": {"OPENROUTER_API_KEY": "https://openrouter.ai"},
    "qwen-code": {},
}
# What stood in the map as OPENAI_API_KEY went from Hermes to OpenRouter, and from OpenClaw, for a
# search in its own memory, to OpenAI. It stands there no more, and this step of the answer says so.
_SAID: Final = "environment.renamed"
_RENAMED: Final = frozenset(
    {("hermes", USAGE_TOKEN), ("hermes", "OPENAI_API_KEY"), ("openclaw", USAGE_TOKEN)}
)


def is_tried(case: Case, *, first_of_its_mode: bool, every_mode: bool) -> bool:
    """One of each mode is tried; and Hermes on OPENAI_API_KEY."""
    if case.run_by == "hermes" and "OPENAI_API_KEY" in case.secrets:
        return True
    modes = (MANAGED, BY_KEY, BY_OAUTH)
    return first_of_its_mode and case.mode != DISABLED and (every_mode or case.mode in modes)


def complaints(case: Case, run: Run, launched: Launched) -> list[str]:
    """Everything that is not as it was, or should not have been."""
    assert case.seen is not None
    takes = TAKES.get(case.run_by)
    if takes is None:
        return verdict.complaints(case, run, launched.secrets, launched.workspace)
    paying = case.seen.credential
    expected = {(takes[paying], paying)} if paying in takes else set()
    seen = {
        (each.origin, name)
        for each in run.arrivals
        for name in each.credentials(launched.secrets).values()
    }
    found = [f"{origin} was shown {name}" for origin, name in sorted(seen - expected)]
    found += [f"{origin} was not asked with {name}" for origin, name in sorted(expected - seen)]
    if expected and not run.answered:
        found.append("the program did not answer, as it did before")
    if (case.run_by, paying) in _RENAMED and _SAID not in launched.steps:
        found.append(f"{paying} is gone from the map, and no step of the answer says so")
    return found
