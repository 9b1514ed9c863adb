"""Pages about what ships: every operator, filter, backend, seed reader and benchmark, with its options and source."""

from __future__ import annotations

from collections.abc import Iterator

from words import cell, code, escaped, fenced, prose, table

from evolteacher.catalog import Catalog, Entry
from evolteacher.cli.plugins import NO_TASK, Sample, beside, usage
from evolteacher.filter import DatasetFilter, Filter
from evolteacher.operator import Operator
from evolteacher.schema import option_rows
from evolteacher.yamlfile import dump

TITLES = {
    "operator": (
        "Operators",
        "Rules that turn one instruction into another. [Operators](../operators.md) compares them.",
    ),
    "filter": (
        "Filters",
        "Rules that reject a row, and those that select from the finished dataset. [Filters](../filters.md) and "
        "[judges](../judges.md) say when to take which.",
    ),
    "backend": ("Backends", "What answers. A recipe's `backends` names one a role."),
    "seed reader": (
        "Seed readers",
        "What reads seeds, found by the source's name unless `seeds.reader` says otherwise.",
    ),
    "benchmark": ("Benchmarks", "What a model is measured on, and a dataset is cleaned of."),
}


def pages(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield a page a kind of component: (where it is, its Markdown)."""
    for kind, (title, about) in TITLES.items():
        entries = catalog.entries(kind)
        rows = [(f"[`{e.cls.name}`](#{e.cls.name})", cell(_first(e)), f"`{e.plugin.name}`") for e in entries]
        overview = table(("name", "what it does", "plugin"), rows)
        parts = [f"# {title}", about, overview, *(_component(entry) for entry in entries)]
        yield f"reference/{kind.replace(' ', '-')}s.md", "\n\n".join(parts)


def _first(entry: Entry) -> str:
    return entry.cls.documentation().partition("\n\n")[0]


def _component(entry: Entry) -> str:
    cls = entry.cls
    kind = "Dataset filter" if issubclass(cls, DatasetFilter) else cls.kind.capitalize()
    parts = [f"## {cls.name} {{ #{cls.name} }}", prose(cls.documentation())]
    parts.append(f"{kind} `{cls.name}`, class `{cls.__name__}` of `{cls.__module__}`.")
    rows = [(code(name), cell(words), cell(kind), _default(default)) for name, kind, default, words in option_rows(cls)]
    parts.append(table(("option", "what it does", "type", "default"), rows) if rows else "It has no options.")
    language = "sh" if cls.kind == "benchmark" else "yaml"
    parts.append(fenced(usage(entry, cls.name), language))
    if issubclass(cls, Operator | Filter):
        parts.append(escaped(beside(cls)))
    if issubclass(cls, Operator):
        parts.append(_asked(cls))
    return "\n\n".join(parts)


def _default(written: str) -> str:
    return written if written in ("required", "none") else code(written)


def _asked(cls: type[Operator]) -> str:
    sample = Sample.of(cls)
    parts = [] if "task" in cls.takes else [escaped(NO_TASK)]
    if sample is None:
        return "\n\n".join(parts)
    if sample.options:
        parts += ["With these options:", fenced(dump({cls.name: dict(sample.options)}), "yaml")]
    for prompt in sample.prompts:
        block = "\n".join(f"    {line}" for line in fenced(prompt).splitlines())
        parts.append(f'??? quote "What it asks for {sample.parent.replace(chr(34), "")}"\n\n{block}')
    return "\n\n".join(parts)
