"""The word that was meant, where another one was written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing."""
    # Without the hyphens, which all options share: they make no two words alike.
    bare = {each.lstrip("-"): each for each in known}
    close = difflib.get_close_matches(word.lstrip("-"), list(bare), n=1)
    return f"; did you mean {bare[close[0]]}?" if close else ""


def wrong_word(word: str, known: Sequence[str]) -> str:
    """What is said of a word that is none of these. It is repeated only when it is close to one,
    and so surely no secret.
    """
    close = difflib.get_close_matches(word, known, n=1)
    listed = ", ".join(known)
    if close:
        return f"there is no {word!r}; did you mean {close[0]!r}? There are: {listed}"
    return f"expected one of {listed}"
