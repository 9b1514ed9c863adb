"""Benchmarks as recipes and the command line name them."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from evolteacher.benchmark import Benchmark, Problem, digest
from evolteacher.catalog import Catalog
from evolteacher.errors import EvolteacherError, UsageError, plugin_fault
from evolteacher.installed import ENVIRONMENT

BenchmarkSpec = str | dict[str, dict[str, Any]]
"""``humaneval``; ``mbpp:mbpp.jsonl``, of which the second half is the benchmark's first option; or a mapping of a name
to options."""


@dataclass(frozen=True, slots=True)
class NamedBenchmark:
    """A benchmark that was read.

    Attributes:
        name: as it was named, the short form of it.
        problems: all of them.
        hash: of all that they hold.
    """

    name: str
    problems: tuple[Problem, ...]
    hash: str

    def as_dict(self) -> dict[str, Any]:
        """Return what a certificate says of it."""
        return {"name": self.name, "problems": len(self.problems), "hash": self.hash}


def make_benchmark(spec: BenchmarkSpec, catalog: Catalog | None = None) -> tuple[str, Benchmark]:
    """Return a benchmark and the name it goes by; nothing is read.

    Raises:
        RecipeError: no benchmark is called so.
        UsageError: its options are wrong.
    """
    name, options = _split(spec)
    cls = (catalog or _installed(os.environ.get(ENVIRONMENT))).find(Benchmark, name)
    if isinstance(options, str):
        if not cls.primary:
            raise UsageError(f"the benchmark '{name}' takes no value: write {name} alone")
        options = {cls.primary: options}
    try:
        benchmark = cls.model_validate_json(json.dumps(options), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        known = ", ".join(cls.model_fields) or "none"
        raise UsageError(f"benchmark '{name}': {where}: {first['msg']} (its options: {known})") from None
    value = options.get(cls.primary)
    return f"{name}:{value}" if value else name, benchmark


@lru_cache(maxsize=4)
def _installed(wanted: str | None) -> Catalog:
    """Return what is installed, found out once for each choice of plugins: filters are made by the hundred."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever loaded the catalog for the command has warned already
        return Catalog.load()


def _split(spec: BenchmarkSpec) -> tuple[str, dict[str, Any] | str]:
    if isinstance(spec, str):
        name, colon, value = spec.partition(":")
        return (name, value) if colon else (name, {})
    if len(spec) != 1:
        raise UsageError("one benchmark at a time: its name, or its name with options below")
    ((name, options),) = spec.items()
    return name, options


def read_benchmarks(specs: Sequence[BenchmarkSpec], catalog: Catalog | None = None) -> tuple[NamedBenchmark, ...]:
    """Read benchmarks whole.

    Raises:
        UsageError: one is unknown, wrong, missing or named twice, or there is none.
        MissingExtra: a package that holds one is not installed.
        PluginError: one failed.
    """
    if not specs:
        raise UsageError("there is no benchmark: name one or more, such as humaneval")
    found: dict[str, NamedBenchmark] = {}
    for spec in specs:
        name, benchmark = make_benchmark(spec, catalog)
        if name in found:
            raise UsageError(f"the benchmark '{name}' is there twice; name it once")
        try:
            problems = tuple(benchmark.problems())
        except EvolteacherError:
            raise
        except Exception as error:
            raise plugin_fault(f"benchmark '{name}'", error) from error
        found[name] = NamedBenchmark(name, problems, digest(problems))
    return tuple(found.values())
