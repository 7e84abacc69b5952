"""Where a stored secret lives."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Scope(StrEnum):
    """`global` belongs to a tenant and reaches all its workspaces, `workspace` to one."""

    GLOBAL = "global"
    WORKSPACE = "workspace"
