"""The ratios of run after run: a line of JSON each, and the picture of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench import plot
from tests.bench.processes import ROOT
from tests.bench.ratios import Ratio

FILE: Final = Path(__file__).with_name("history.jsonl")
_EACH: Final = 6


def append(path: Path, ratios: Sequence[Ratio], about: dict[str, Any]) -> None:
    """The run as one more line: the commits since the line before it, and every ratio."""
    earlier = read(path)
    commit = _commit()
    since = str(earlier[-1]["commits"]).rpartition("..")[2] if earlier else ""
    line = {
        "when": about.get("when", ""),
        "commits": f"{since}..{commit}" if since else commit,
        "machine": about.get("machine", ""),
        "ratios": {each.name: round(each.value, 3) for each in ratios},
        "asked": {each.name: each.asked for each in ratios},
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Oldest first."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def draw(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """One panel a ratio, with what is asked as a dotted line. plot.Missing without matplotlib."""
    pyplot = plot.pyplot()
    names = list(dict.fromkeys(name for line in lines for name in line["ratios"]))
    height = -(-len(names) // _EACH)
    figure, axes = pyplot.subplots(
        height, _EACH, figsize=(2.6 * _EACH, 1.9 * height), squeeze=False, constrained_layout=True
    )
    for axis, name in zip(axes.flat, names, strict=False):
        known = ((at, line["ratios"].get(name)) for at, line in enumerate(lines))
        points = [(at, value) for at, value in known if value is not None]
        axis.plot(*zip(*points, strict=True), marker="o")
        asked = next(line["asked"][name] for line in reversed(lines) if name in line["asked"])
        number = asked.rpartition(" ")[2]
        if number.replace(".", "").isdigit():
            axis.axhline(float(number), linestyle=":", color="grey")
        axis.set_title(name.replace(": ", ":\n"), fontsize=7)
        axis.set_ylim(bottom=0)
        axis.set_xticks(range(len(lines)), [_short(line) for line in lines], fontsize=6)
        axis.tick_params(axis="y", labelsize=6)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _short(line: dict[str, Any]) -> str:
    return f"{line['commits'].rpartition('..')[2]}\n{line['when'][:10]}"


def _commit() -> str:
    """Where the tree stands; `unknown` where there is no git."""
    command = ("git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD")
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"
