"""Writes and checks generated pages: whole ones, and parts between two marks."""

from __future__ import annotations

import sys
from pathlib import Path


def spliced(page: Path, begin: str, end: str, part: str) -> str:
    """The page with `part` between its two marks."""
    head, _, rest = page.read_text("utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{part}\n{end}{tail}"


def write_or_check(page: Path, wanted: str, *, module: str) -> int:
    """Write the page; with --check, say what to run when it differs. The exit status."""
    if "--check" not in sys.argv:
        page.write_text(wanted, "utf-8")
    elif not page.is_file() or page.read_text("utf-8") != wanted:
        print(f"{page.name} is out of date in {page.parent}; run: python -m {module}")
        return 1
    return 0
