"""Pages about the public names of `evolteacher`, rendered by mkdocstrings; about errors, suites and hooks."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
from collections.abc import Iterator

from words import cell, code, prose, table

import evolteacher
from evolteacher import hookspecs, testing

TOPICS = {
    "runs": (
        "Runs and datasets in Python",
        "What the commands do, as functions.",
        ("runner", "recipe", "rejudging", "dataset", "sieve", "cleaning", "catalog"),
    ),
    "models": (
        "Training and measuring in Python",
        "Tuning a model, the form that it is asked in, and running what it writes.",
        ("training.trainer", "training.job", "promptform", "benchmark", "answers", "sandbox"),
    ),
    "records": (
        "Records and events",
        "What plugins are handed: the words of a run as classes, and what observers are told.",
        ("record", "events", "seeds"),
    ),
    "operators": (
        "Writing operators",
        "The base of all plugins, and of operators. [The guide](../../plugins.md#operators) shows each in use.",
        ("component", "operator", "reading", "fences", "hookspecs"),
    ),
    "filters": (
        "Writing filters",
        "The bases of filters, and what finds a benchmark's problems. [The guide](../../plugins.md#filters) shows each "
        "in use.",
        (
            "filter",
            "decontamination.against",
            "decontamination.certificate",
            "decontamination.index",
            "decontamination.running",
        ),
    ),
    "backends": (
        "Writing backends",
        "What a backend answers with, and what helps those that speak HTTP. "
        "[The guide](../../plugins.md#backends) shows them in use.",
        ("backend", "messages", "money", "headers", "secrets"),
    ),
}
"""Page -> (title, a sentence, modules). A module that is named nowhere goes on the first page."""

HOOKS = """# Hooks

A plugin is a module named by an entry point of the group `evolteacher`. It marks these functions with
`@evolteacher.hookimpl`; each is optional. [Writing plugins](../plugins.md) has an example of every one.
"""


def pages() -> Iterator[tuple[str, str]]:
    """Yield the pages: (where it is, its Markdown)."""
    for topic, (title, about, _) in TOPICS.items():
        names = names_of(topic)
        overview = table(
            ("name", "what it is"), [(f"[`et.{name}`][evolteacher.{name}]", cell(_summary(name))) for name in names]
        )
        yield f"reference/python/{topic}.md", "\n\n".join([f"# {title}", about, overview, *map(_entry, names)])
    yield "reference/python/errors.md", _errors()
    yield "reference/python/testing.md", _testing()
    yield "reference/hooks.md", _hooks()
    yield "reference/index.md", _index()


def names_of(topic: str) -> list[str]:
    """Return the public names on a page, in the order of its modules."""
    modules = evolteacher._MODULES
    named = {module for _, _, those in TOPICS.values() for module in those}
    loose = [module for module in modules if module not in named] if topic == next(iter(TOPICS)) else []
    return [name for module in (*TOPICS[topic][2], *loose) for name in modules.get(module, ())]


def _entry(name: str) -> str:
    return f"::: evolteacher.{name}"


def _summary(name: str) -> str:
    found = getattr(evolteacher, name)
    documented = inspect.isclass(found) or inspect.isroutine(found)
    words = inspect.getdoc(found) if documented else _said_below(evolteacher._HOME[name], name)
    return (words or "").partition("\n\n")[0]


def _said_below(module: str, name: str) -> str:
    """Return the text below an assignment, which Python itself does not keep."""
    body = ast.parse(inspect.getsource(importlib.import_module(f"evolteacher.{module}"))).body
    for statement, below in itertools.pairwise(body):
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            said = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            return inspect.cleandoc(str(below.value.value)) if said else ""
    return ""


def _errors() -> str:
    options = ("show_root_heading: false", "show_root_toc_entry: false")
    return "\n".join(["# Errors", "", "::: evolteacher.errors", "    options:", *(f"      {line}" for line in options)])


def _testing() -> str:
    about = (
        "What a plugin author's tests subclass. [The guide](../../plugins.md#testing-operators-and-filters) shows how."
    )
    parts = [f"::: evolteacher.testing.{name}" for name in testing.__all__]
    return "\n\n".join(["# Conformance suites", about, *parts])


def _hooks() -> str:
    parts = [HOOKS]
    for name, hook in vars(hookspecs).items():
        if hasattr(hook, "evolteacher_spec"):
            signature = str(inspect.signature(hook)).replace("'", "")  # annotations are texts there
            parts += [f"## {name}", f"```python\ndef {name}{signature}: ...\n```", prose(inspect.getdoc(hook) or "")]
    return "\n\n".join(parts)


def _index() -> str:
    rows = [
        (f"[`et.{name}`][evolteacher.{name}]", cell(_summary(name)), code(f"evolteacher.{evolteacher._HOME[name]}"))
        for name in sorted(evolteacher._HOME, key=str.lower)
    ]
    about = (
        "All of this is written from the code when the site is built: [recipe keys](recipe.md) and [commands](cli.md); "
        "[operators](operators.md), [filters](filters.md), [backends](backends.md), [seed readers](seed-readers.md), "
        "[benchmarks](benchmarks.md) with their options; [hooks](hooks.md); and the public names of "
        "evolteacher, after `import evolteacher as et`:"
    )
    return "\n\n".join(["# Reference", about, table(("name", "what it is", "module"), rows)])
