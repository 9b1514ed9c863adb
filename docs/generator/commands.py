"""The page about the command line, from the commands' own help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from words import cell, code, escaped, fenced, table

from evolteacher.catalog import Catalog
from evolteacher.cli import COMMANDS, as_command, resolve

INTRODUCTION = """# Commands

Every command with what `--help` says of it. [The command line](../cli.md) shows them at work, and has the exit codes
and environment variables.
"""


def pages(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield the page: (where it is, its Markdown)."""
    parts = [INTRODUCTION]
    for heading, group in {**COMMANDS, "Brought by plugins": catalog.commands()}.items():
        parts.append(f"## {heading}")
        for name, (target, _) in group.items():
            parts += _command(name, as_command(name, resolve(target)))
    yield "reference/cli.md", "\n\n".join(parts)


def _command(words: str, command: Any) -> Iterator[str]:
    context = command.make_context(words, [], resilient_parsing=True)
    context.info_name = f"evolteacher {words}"
    yield f"### evolteacher {words} {{ #{words.replace(' ', '-')} }}"
    yield fenced(" ".join(command.get_usage(context).split()).removeprefix("Usage: "), "console")
    yield "\n\n".join(escaped(" ".join(part.split())) for part in (command.help or "").split("\n\n"))
    rows = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    if rows:
        yield table(("argument or option", "what it does"), [(code(name), cell(help)) for name, help in rows])
    for name, inner in getattr(command, "commands", {}).items():
        yield from _command(f"{words} {name}", inner)
