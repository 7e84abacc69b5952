"""Model patterns: RE2, so that no pattern of an operator can make a lookup slow."""

from __future__ import annotations

from collections.abc import Callable

import re2

_MAX_MEMORY_BYTES = 1 << 20


class PatternInvalid(ValueError):
    """A pattern that RE2 does not compile; the text is RE2's own reason."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A function that searches `pattern`, unanchored, in a model id."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY_BYTES
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        detail = error.args[0] if error.args else "does not compile"
        text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        raise PatternInvalid(text) from None

    def searches(model: str) -> bool:
        return compiled.search(model) is not None

    return searches
