"""Text that must not reach a log, a traceback or an answer by accident."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final, NoReturn

SHOWN: Final = "<secret>"


class Secret:
    """Secret text, which only `reveal()` returns; whatever prints the object shows a fixed text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the place that really needs it."""
        return self._text

    def is_blank(self) -> bool:
        """Whether it is empty or only white space, which counts as absent everywhere."""
        return not self._text or self._text.isspace()

    def __repr__(self) -> str:
        return SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(SHOWN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(_bytes(self._text), _bytes(other._text))

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled or copied into another process")


def _bytes(text: str) -> bytes:
    # A JSON escape can make a lone surrogate, over which a comparison must not raise.
    return text.encode("utf-8", "surrogatepass")
