"""``evolteacher plugins``: what is installed and who brought it; one component with its options."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evolteacher.catalog import Catalog, Entry
from evolteacher.cli import values
from evolteacher.cli.plugins_check import check
from evolteacher.cli.plugins_new import new
from evolteacher.cli.terminal import console, emit, load_catalog, plain
from evolteacher.errors import Unreadable, UsageError, did_you_mean
from evolteacher.filter import DatasetFilter, Filter
from evolteacher.installed import Plugin
from evolteacher.messages import Prompt, Reply, Role
from evolteacher.operator import Operator
from evolteacher.record import Instruction, Material
from evolteacher.schema import option_rows
from evolteacher.yamlfile import dump

EXAMPLE = "Write a function that reverses a string."

SAMPLES: dict[Material, str] = {"task": EXAMPLE, "snippet": "def reverse(text):\n    return text[::-1]"}
"""The parents for which an operator's prompt is shown."""

NO_TASK = "It starts from snippets of code, which the recipe's seed reader gives, and from no task."
"""Said of an operator that evolves no tasks."""

MOST_PROMPTS = 8
"""Prompts that are shown of an operator that asks several times."""

NARROW = 60
"""Columns below which rows are stacked: beside names and plugins, too few would be left for words."""

LEAST = 32
"""Columns that the description of an option has beside the rest of its row, or else it stands below it."""

KINDS = ("operator", "filter", "backend", "seed reader", "benchmark")

_ITEM = re.compile(r"\s*([-*]|\d+[.)]) ")

app = typer.Typer(
    help="List what is installed and who brought it, or show one with its options.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("new")(new)
app.command("check")(check)


@app.callback()
def plugins(context: typer.Context) -> None:
    """List operators, filters, backends, seed readers, benchmarks and commands, and the plugins that bring them."""
    if context.invoked_subcommand is not None:
        return
    catalog = load_catalog(quiet=True)
    brought = catalog.entries()
    sections = {
        f"{kind}s": [(e.cls.name, e.plugin.name, first_line(e)) for e in brought if e.cls.kind == kind]
        for kind in KINDS
    }
    sections["commands"] = [(name, "", help) for name, (_, help) in sorted(catalog.commands().items())]
    sections["plugins"] = [(p.name, _distribution(p), "") for p in catalog.plugins if not p.error]
    sections["left out"] = [(p.name, _distribution(p), p.error) for p in catalog.plugins if p.error]
    width = max(len(plain(name)) for rows in sections.values() for name, _, _ in rows) + 2
    for title, rows in sections.items():
        _section(title, rows, width)
    emit(Text("`evolteacher plugins show NAME` shows documentation and options."))


@app.command("show")
def show_component(
    name: Annotated[
        str,
        typer.Argument(
            help="A name, or plugin/name where two plugins share one.",
            show_default=False,
            autocompletion=values.components(),
        ),
    ],
) -> None:
    """Show a component's documentation and options; of an operator also what it asks."""
    catalog = load_catalog()
    found = _find(catalog, name)
    for index, entry in enumerate(found):
        if index:
            emit(Text())
        _show(entry, ambiguous=sum(other.cls.name == entry.cls.name for other in catalog.entries(entry.cls.kind)) > 1)


def first_line(entry: Entry) -> str:
    """Return the first paragraph of a component's documentation, on one line."""
    return plain(reflowed(entry.cls.documentation()).partition("\n")[0])


def reflowed(documentation: str) -> str:
    """Return a docstring for a terminal: a paragraph or a list's item a line, code and tables as they are."""
    blocks = []
    for block in documentation.split("\n\n"):
        if block.startswith((" ", "=", "#", "|", ">")):
            blocks.append(block)
            continue
        lines: list[str] = []
        for line in block.splitlines():
            if lines and not _ITEM.match(line):
                lines[-1] += f" {line.strip()}"
            else:
                lines.append(line)
        blocks.append("\n".join(lines).replace("``", "`"))
    return "\n\n".join(blocks)


def _distribution(plugin: Plugin) -> str:
    return plain(f"{plugin.distribution} {plugin.version}".strip())


def _section(title: str, rows: list[tuple[str, str, str]], width: int) -> None:
    if not rows:
        return
    if console().width < NARROW:
        emit(Text(title, "bold"), *(part for row in rows for part in _stacked(*row)), Text())
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=width)
    table.add_column(no_wrap=True, min_width=8)
    table.add_column(overflow="fold")
    for name, origin, words in rows:
        table.add_row(f"  {plain(name)}", Text(plain(origin), "dim"), Text(plain(words)))
    emit(Text(title, "bold"), table, Text())


def _stacked(name: str, aside: str, words: str) -> Iterator[Padding]:
    """Yield a row for a narrow screen: its name, what stands beside it, and below that what is said of it."""
    yield Padding(Text.assemble(plain(name), "  " if aside else "", (plain(aside), "dim")), (0, 0, 0, 2))
    if words:
        yield Padding(Text(plain(words)), (0, 0, 0, 4))


def _find(catalog: Catalog, name: str) -> list[Entry]:
    plugin, _, short = name.rpartition("/")
    entries = catalog.entries()
    found = [e for e in entries if e.cls.name == short]
    if plugin:
        found = [e for e in found if plugin in (e.plugin.name, e.plugin.distribution)]
    if not found:
        known = {e.qualified if plugin else e.cls.name for e in entries}
        raise UsageError(f"nothing that is installed is called '{name}'.{did_you_mean(name, known)}")
    return found


def _show(entry: Entry, *, ambiguous: bool) -> None:
    cls, plugin = entry.cls, entry.plugin
    written = entry.qualified if ambiguous else cls.name
    origin = f"{plugin.name} ({_distribution(plugin)})" if plugin.distribution else plugin.name
    kind = "dataset filter" if issubclass(cls, DatasetFilter) else cls.kind
    article = "an" if kind[0] in "aeiou" else "a"
    emit(Text.assemble((written, "bold"), f": {article} {kind}, brought by {plain(origin)}"), Text())
    emit(Text(plain(reflowed(cls.documentation()) or "It has no documentation.")), Text())
    rows = option_rows(cls)
    if rows:
        emit(Text("Options", "bold"), *_options(rows), Text())
    else:
        emit(Text("It has no options."), Text())
    emit(
        Text("On the command line" if cls.kind == "benchmark" else "In a recipe", "bold"),
        _indented(usage(entry, written)),
        Text(),
    )
    if issubclass(cls, Operator | Filter):
        emit(Text(beside(cls)))
    if issubclass(cls, Operator):
        _show_prompt(cls)


def _options(rows: list[tuple[str, str, str, str]]) -> Iterator[Table | Padding]:
    taken = sum(max(len(row[column]) for row in rows) + 2 for column in range(3)) + 2
    if console().width - taken < LEAST:
        for name, kind, default, description in rows:
            yield from _stacked(
                name, f"{kind}; {default}" if default == "required" else f"{kind}; default: {default}", description
            )
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, fold in (("  option", False), ("type", True), ("default", True), ("what it does", True)):
        table.add_column(heading, no_wrap=not fold, overflow="fold")
    for name, kind, default, description in rows:
        table.add_row(f"  {plain(name)}", Text(plain(kind)), Text(plain(default)), Text(plain(description)))
    yield table


def usage(entry: Entry, written: str) -> str:
    """Return how a component is written, in a recipe or on the command line."""
    cls = entry.cls
    needed = [name for name, field in cls.model_fields.items() if field.is_required()]
    if needed:
        written = f"{{{written}: {{{', '.join(f'{name}: …' for name in needed)}}}}}"
    if cls.kind == "backend":
        return f"backends:\n  evolve: {written}"
    if cls.kind == "seed reader":
        return f"seeds: {{path: FILE, reader: {written}}}"
    if cls.kind == "benchmark":
        return f"evolteacher decontaminate FILE --against {cls.name}{':FILE' if needed else ''}"
    lists = "operators" if issubclass(cls, Operator) else "dataset_filters"
    key = "filters" if issubclass(cls, Filter) and not issubclass(cls, DatasetFilter) else lists
    return f"{key}:\n  - {written}"


def beside(cls: type[Operator] | type[Filter]) -> str:
    """Say which words a recipe may write beside an operator's or a filter's own options."""
    words = ["as (another label)"]
    if issubclass(cls, Operator):
        words = ["weight (how often it is drawn)", *words, "backend (who answers it)"]
    if issubclass(cls, Filter):
        words += ["backend (who answers it)"] if cls.asks() else []
        words += [f"on ({', '.join(cls.allowed_on)}; by default {', '.join(cls.default_on)})"] if cls.allowed_on else []
    return f"Beside its options it takes: {', '.join(words)}."


def _show_prompt(cls: type[Operator]) -> None:
    if "task" not in cls.takes:
        emit(Text(), Text(NO_TASK))
    sample = Sample.of(cls)
    if sample is None:
        return
    if sample.markers:
        shown = ", ".join(plain(marker).strip() for marker in sample.markers)
        emit(Text(), Text("Markers of its prompt, which a rewrite must not copy", "bold"), _indented(shown))
    if sample.options:
        emit(Text(), Text("With these options", "bold"), _indented(plain(dump({cls.name: dict(sample.options)}))))
    for prompt in sample.prompts:
        emit(Text(), Text(f"What it asks for {sample.parent}", "bold"), _indented(plain(prompt)))


@dataclass(frozen=True)
class Sample:
    """What an operator asks for a sample: its prompts as texts, the options that it had to be given, its markers."""

    parent: str
    options: Mapping[str, Any]
    markers: tuple[str, ...]
    prompts: tuple[str, ...]

    @classmethod
    def of(cls, operator_class: type[Operator]) -> Sample | None:
        """Let an operator ask nobody; None where it cannot be made, for an option that has no example."""
        material = operator_class.takes[0]
        fields = operator_class.model_fields
        needed = any(field.is_required() for field in fields.values())
        # Where an option has to be given, all are shown as their examples say; else as they are by default.
        examples = {name: field.examples[0] for name, field in fields.items() if needed and field.examples}
        try:
            operator = operator_class(**examples)
            asked = _asked(operator, Instruction(SAMPLES[material]))
        except Exception:  # an option that is required and has no example, or a fault of the operator's own
            return None
        return cls(
            parent=f'"{EXAMPLE}"' if material == "task" else "two lines of code",
            options=examples,
            markers=tuple(operator.markers_used()),
            prompts=tuple(
                prompt if isinstance(prompt, str) else "\n\n".join(message.content for message in prompt)
                for prompt in asked
            ),
        )


def _asked(operator: Operator, parent: Instruction) -> list[Prompt]:
    """Return what an operator asks, by letting it ask nobody: each question is answered by the parent's own text."""
    nobody = _Nobody(parent.text)
    with suppress(Exception):  # it may well make nothing of such answers
        asyncio.run(operator.evolve(parent, nobody))
    return nobody.prompts[:MOST_PROMPTS]


class _Nobody:
    """An ``ask`` that answers every question with one text, keeps the questions, and works nothing out."""

    def __init__(self, text: str) -> None:
        self.prompts: list[Prompt] = []
        self._text = text

    async def __call__(
        self, prompt: Prompt, *, role: Role | None = None, key: str | None = None, **sampling: Any
    ) -> Reply:
        self.prompts.append(prompt)
        if len(self.prompts) > MOST_PROMPTS:
            raise Unreadable("enough was asked")
        return Reply(self._text)

    async def once(self, what: Any, work: Callable[[], Awaitable[Any]]) -> Any:
        raise Unreadable("nothing is worked out here")


def _indented(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2))
