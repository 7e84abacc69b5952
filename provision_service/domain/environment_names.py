"""Environment names that no catalogue can give away: the platform's own and the loader's."""

from __future__ import annotations

import re
from typing import Final

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
NAME_WANTED: Final = "must be 1 to 128 of A-Z a-z 0-9 _ and not start with a digit"
RESERVED_PREFIXES: Final = ("WORKSPACE_", "MOLECULE_", "LD_", "PYTHON")
RESERVED: Final = frozenset({"PATH", "NODE_OPTIONS"})
_ALLOWED: Final = frozenset({"MOLECULE_MODEL"})


def is_environment_name(text: str) -> bool:
    """Whether `text` can be the key of a secret: `[A-Za-z_][A-Za-z0-9_]{0,127}`."""
    return _KEY.fullmatch(text) is not None


def is_reserved(name: str) -> bool:
    """Whether the platform or the box's own loaders own this name, at every scope."""
    if name in RESERVED:
        return True
    return name.startswith(RESERVED_PREFIXES) and name not in _ALLOWED
