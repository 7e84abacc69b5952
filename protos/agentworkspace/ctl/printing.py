"""How answers are printed: tables and trees for people, JSON and YAML for machines, bare names.

A terminal gives the width and may have colour (NO_COLOR switches it off); into a pipe everything
goes plain and unbroken.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import IO, Any, Final

import yaml
from google.protobuf.message import Message
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from agentworkspace.ctl.command import Answer, Live
from agentworkspace.ctl.output import Branch, Grid, Plain, Shown, document, printable

FORMATS: Final = ("table", "wide", "json", "yaml", "name")
_UNBROKEN: Final = 100_000
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
# So many characters of an id tell it apart in practice; commands accept them for the whole id.
_SHORT: Final = 13
# The fields that identify a thing, for `-o name`: the first one that is set is printed.
_NAMES: Final = (
    "id", "tokenId", "eventId", "provisionId", "workspaceId", "key", "name", "tenantId",
)  # fmt: skip
_STYLES: Final = {
    **dict.fromkeys(("RUNNING", "ONLINE", "SERVING", "PROVEN", "REGISTERED", "ok"), "green"),
    **dict.fromkeys(("DEGRADED", "PENDING", "PROVISIONING", "OFFLINE", "look"), "yellow"),
    **dict.fromkeys(("FAILED", "SUSPENDED", "NOT_SERVING", "UNREACHABLE", "wrong"), "red"),
}


def console(stream: IO[str]) -> Console:
    """For this stream: as wide as the terminal; into a pipe without line breaks or colour."""
    plain = not stream.isatty()
    return Console(
        file=stream,
        width=_UNBROKEN if plain else None,
        no_color=True if plain else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def show(answer: Answer, form: str) -> None:
    """Print the answer in this form; notes go to standard error."""
    if answer.live is not None:
        _follow(answer.live, form)
    elif form in ("json", "yaml"):
        print(_machine(_document(answer.document, answer.revealed), form), end="")
    elif form == "name":
        for name in names_of(answer):
            print(printable(name))
    elif answer.view:
        print(as_text(answer.view, console(sys.stdout), wide=form == "wide"))
    sys.stdout.flush()
    for note in answer.notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def _follow(live: Live, form: str) -> None:
    """Each event on a line of its own, as soon as it is there."""
    if form in ("table", "wide"):
        print(_line(live.header, live.widths), flush=True)
    for cells, message in live.events:
        found = _document(message, frozenset())
        if form == "json":
            print(json.dumps(found), flush=True)
        elif form == "yaml":
            print("---", yaml.safe_dump(found, sort_keys=False), sep="\n", end="", flush=True)
        elif form == "name":
            print(printable(_name_in(found)), flush=True)
        else:
            shown = cells if form == "wide" else tuple(map(_shortened, cells))
            print(_line(tuple(map(printable, shown)), live.widths), flush=True)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(c.ljust(width) for c, width in zip(cells, widths, strict=True)).rstrip()


def as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2)


def _machine(found: Mapping[str, Any], form: str) -> str:
    if form == "json":
        return as_json(found) + "\n"
    text: str = yaml.safe_dump(dict(found), sort_keys=False, allow_unicode=True)
    return text


def _document(found: Message | Mapping[str, Any], revealed: Collection[str]) -> Mapping[str, Any]:
    return document(found, revealed=revealed) if isinstance(found, Message) else found


def names_of(answer: Answer) -> Iterable[str]:
    """What `-o name` prints: the id of the one thing in the answer, or those of its list."""
    if answer.names is not None:
        return answer.names
    found = _document(answer.document, frozenset())
    about = next((each for each in found.values() if isinstance(each, dict)), found)
    # The one thing goes before lists beside it, such as warnings; a list's answer has none.
    if name := _name_in(about) or _name_in(found):
        return [name]
    listed = next((each for each in found.values() if _is_rows(each)), ())
    return [_name_in(row) for row in listed]


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _name_in(found: Mapping[str, Any]) -> str:
    return next((str(found[name]) for name in _NAMES if found.get(name)), "")


def as_text(view: Iterable[Shown], at: Console, *, wide: bool = False) -> str:
    """The parts below each other, each under its title."""
    return "\n\n".join("\n".join(_lines(each, at, wide=wide)) for each in view)


def _lines(shown: Shown, at: Console, *, wide: bool) -> list[str]:
    if isinstance(shown, Plain):
        return shown.text.rstrip("\n").split("\n")
    if isinstance(shown, Branch):
        return _drawn(_tree(shown), at)
    indent = ""
    lines: list[str] = []
    if shown.title:
        lines += _drawn(Text(printable(shown.title), "bold"), at)
        indent = "  "
    if not shown.rows:
        return [*lines, f"{indent}(none)"]
    return [*lines, *(indent + line for line in _drawn(_table(shown, wide=wide), at, indent))]


def _drawn(what: RenderableType, at: Console, indent: str = "") -> list[str]:
    with at.capture() as captured:
        at.print(what, width=at.width - len(indent))
    return [line.rstrip() for line in captured.get().rstrip("\n").split("\n")]


def _tree(branch: Branch) -> Tree:
    style = "bold" if branch.decided else ""
    tree = Tree(Text(printable(branch.text), style), guide_style="dim")
    for each in branch.reasons:
        tree.add(_tree(each))
    return tree


def _table(grid: Grid, *, wide: bool) -> Table:
    kept = [n for n, name in enumerate(grid.header) if wide or name not in grid.wide]
    kept = kept or list(range(len(grid.rows[0])))
    drawn = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        show_header=bool(grid.header),
        header_style="bold",
    )
    for number in kept:
        drawn.add_column(grid.header[number] if grid.header else "", overflow="fold")
    for row in grid.rows:
        cells = [row[number] for number in kept]
        drawn.add_row(*(_cell(c, short=bool(grid.header) and not wide) for c in cells))
    return drawn


def _cell(text: str, *, short: bool) -> Text:
    shown = _shortened(text) if short else text
    return Text(printable(shown), _STYLES.get(shown, ""))


def _shortened(text: str) -> str:
    return text[:_SHORT] if _UUID.fullmatch(text) else text
