"""Shell completion: the one case in which every command is imported, to know its options."""

from __future__ import annotations

import typer
from typer.main import get_command

from evolteacher import cli
from evolteacher.cli.terminal import load_catalog


def complete(args: list[str]) -> int:
    """Answer the shell's question for completions, or install them (``--install-completion``); return the exit code."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    brought = load_catalog(quiet=True).commands()
    for name, (target, help) in {**brought, **cli.commands()}.items():
        command = cli.resolve(target)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, help=help)
        elif not hasattr(command, "main"):  # a click command of another click than typer's cannot be added
            app.command(name, help=help)(command)
    code = get_command(app).main(args=args, prog_name="evolteacher", standalone_mode=False)
    return code if isinstance(code, int) else 0
