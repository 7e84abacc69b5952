"""Suggestions for mistyped words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` with the closest known word, or an empty string."""
    # Compared without leading hyphens, which would make all options look alike.
    bare = {each.lstrip("-"): each for each in known}
    close = difflib.get_close_matches(word.lstrip("-"), list(bare), n=1)
    return f"; did you mean {bare[close[0]]}?" if close else ""


def wrong_word(word: str, known: Sequence[str]) -> str:
    """The message for a word that is not known.

    The word is repeated only when it is close to a known one, and so surely no secret.
    """
    close = difflib.get_close_matches(word, known, n=1)
    listed = ", ".join(known)
    if close:
        return f"there is no {word!r}; did you mean {close[0]!r}? There are: {listed}"
    return f"expected one of {listed}"
