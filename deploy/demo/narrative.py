"""The story as a reader sees it: what was asked, what came back, which rule fired."""

from __future__ import annotations

import textwrap

WIDTH = 96


class BrokenPromise(Exception):
    """An incident ended otherwise than the rules promise."""


class Narrative:
    """Prints one incident after the other, and counts what it proved."""

    def __init__(self) -> None:
        self.proved = 0

    def chapter(self, number: int, title: str, story: str) -> None:
        self._line("")
        self._line(f"── Incident {number}: {title} ".ljust(WIDTH, "─"))
        self._wrap(story, "   ")

    def asked(self, text: str) -> None:
        self._wrap(text, "   → ", "     ")

    def came_back(self, text: str) -> None:
        self._wrap(text, "   ← ", "     ")

    def rule(self, text: str) -> None:
        self._wrap(text, "     rule: ", "           ")

    def prove(self, holds: object, promise: str) -> None:
        """Note a kept promise, or stop the whole demonstration."""
        if not holds:
            raise BrokenPromise(promise)
        self.proved += 1
        self._wrap(promise, "   ✓ ", "     ")

    def _wrap(self, text: str, first: str, rest: str | None = None) -> None:
        self._line(
            textwrap.fill(
                " ".join(text.split()),
                WIDTH,
                initial_indent=first,
                subsequent_indent=first if rest is None else rest,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )

    def _line(self, text: str) -> None:
        print(text, flush=True)
