"""A text that must not be shown by accident."""

from __future__ import annotations

from hmac import compare_digest
from typing import NoReturn

from typing_extensions import override

_SHOWN = "<secret>"


class Secret:
    """Secret text: only `reveal()` gives it, everything that prints gives fixed text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the place that really needs it."""
        return self._text

    def is_blank(self) -> bool:
        """Whether nothing but white space is in it; blank counts as absent everywhere."""
        return not self._text or self._text.isspace()

    @override
    def __repr__(self) -> str:
        return _SHOWN

    @override
    def __str__(self) -> str:
        return _SHOWN

    @override
    def __format__(self, spec: str) -> str:
        return _SHOWN

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(
            self._text.encode("utf-8", "surrogatepass"),
            other._text.encode("utf-8", "surrogatepass"),
        )

    @override
    def __hash__(self) -> int:
        return hash(self._text)

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled or copied into another process")
