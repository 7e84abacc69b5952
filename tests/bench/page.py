"""The tables of saved runs, put into README.md between its marks: no number there is typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench import history, plot, ratios, rows, sizing
from tests.bench.bench import say
from tests.bench.rows import Row

README: Final = Path(__file__).with_name("README.md")
_BEGIN: Final = "<!-- measured: written by --table -->"
_END: Final = "<!-- end of measured -->"


def write(runs: Sequence[Path], record: Path | None) -> None:
    """The rows of all these runs as one; with `record`, its ratios are a line of the history."""
    found = rows.merged(map(rows.read, runs))
    about: dict[str, Any] = {}
    for run in runs:
        # The last one says when; what only one of them knows is kept.
        about |= rows.about(run)
    text = tables(found, about)
    README.write_text(put_in(README.read_text(), text))
    say(text)
    if record is not None:
        note(record, found, about)


def note(path: Path, found: Sequence[Row], about: dict[str, Any]) -> None:
    """Append to the history, and draw it anew beside the file."""
    history.append(path, ratios.of(found), about)
    picture = path.with_suffix(".png")
    try:
        history.draw(picture, history.read(path))
        say(f"appended to {path}, drawn in {picture}")
    except plot.Missing as missing:
        say(f"appended to {path}; {missing}")


def tables(found: Sequence[Row], about: dict[str, Any]) -> str:
    facts = ", ".join(str(about.get(key, "")) for key in ("when", "machine"))
    versions = ", ".join(f"{key} {about[key]}" for key in ("python", "grpcio") if key in about)
    fleets = sizing.of(found, bytes_a_box=float(about.get("bytes a box", 0)))
    arithmetic = f"\n\n{sizing.markdown(fleets)}" if fleets else ""
    return (
        f"{facts}, {versions}, {about.get('postgres', '')}; each row {about.get('repeats', 3)} "
        "times in turn with the bare server, the median of its shares and their spread.\n\n"
        f"{rows.markdown(found)}\n\n{ratios.markdown(ratios.of(found))}"
        f"{arithmetic}"
    )


def put_in(page: str, text: str) -> str:
    """The page with everything between its marks replaced. ValueError when it has none."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no place for tables: {_BEGIN} … {_END}")
    return f"{before}{begin}\n{text}\n{end}{after}"
