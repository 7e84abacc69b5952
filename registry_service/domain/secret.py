"""Text that must not reach a log, a traceback or an answer by accident."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

from typing_extensions import override

SHOWN: Final = "<secret>"


class Secret:
    """Wraps secret text; every way of printing it shows the same fixed text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    @override
    def __repr__(self) -> str:
        return SHOWN

    __str__ = __repr__

    @override
    def __format__(self, spec: str) -> str:
        return format(SHOWN, spec)

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    @override
    def __hash__(self) -> int:
        return hash((Secret, self._text))

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serializable")
