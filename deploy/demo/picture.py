"""The demonstration as a picture: its first incident, drawn from what it printed.

./deploy/run demo | .venv/bin/python -m deploy.demo.picture     write deploy/demo/demo.svg
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from deploy.demo.narrative import WIDTH

PICTURE: Final = Path(__file__).with_name("demo.svg")
_CHAPTER: Final = re.compile(r"^── Incident 1: .*?(?=^── Incident 2: )", re.DOTALL | re.MULTILINE)
# Fonts on a foreign server, which would hear of everybody who looks at the picture.
_FONTS: Final = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_STYLES: Final = {"─": "bold", "→": "cyan", "←": "yellow", "r": "dim", "✓": "bold green"}


def drawn(output: str) -> str:
    """The SVG of the first incident. ValueError when the output holds none."""
    found = _CHAPTER.search(output)
    if found is None:
        raise ValueError("no whole first incident: pipe the output of ./deploy/run demo in here")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    style = ""
    console.print(Text("$ ./deploy/run demo", style="bold"))
    for line in found[0].rstrip().splitlines():
        text = line.strip()
        # The second line of a wrapped text has the style of the first.
        if text and (text[0] in "─→←✓" or text.startswith("rule:")):
            style = _STYLES[text[0]]
        console.print(Text(line, style=style), soft_wrap=True)
        if text.startswith("─"):
            style = ""
    picture = console.export_svg(title="agentworkspace", unique_id="demo")
    lines = (line.rstrip() for line in _FONTS.sub("", picture).splitlines())
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PICTURE.write_text(drawn(sys.stdin.read()))
