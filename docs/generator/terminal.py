"""Draw what commands print as a terminal's picture, in SVG, that fetches no font.

python docs/generator/terminal.py OUT.svg "evolteacher show runs/quickstart" "evolteacher show runs/quickstart 3"
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 128
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def picture(commands: list[str]) -> str:
    """Run the commands in a shell's place and return the picture of what was typed and printed.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    console = Console(width=COLUMNS, record=True, file=Path(os.devnull).open("w"), force_terminal=True)
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    for command in commands:
        done = subprocess.run(shlex.split(command), env=environment, capture_output=True, text=True, check=True)
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(done.stdout.strip("\n")))
        console.print()
    svg = console.export_svg(title="evolteacher", unique_id="evolteacher")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r"Fira Code, ?monospace", FONTS, svg)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(sys.argv[2:]), encoding="utf-8")
