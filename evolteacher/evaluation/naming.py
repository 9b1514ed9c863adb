"""Models as the command line and Python name them, and the folder that an evaluation goes into by default."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evolteacher.backend import Backend
from evolteacher.catalog import Catalog
from evolteacher.errors import RecipeError, UsageError
from evolteacher.problems import Problems
from evolteacher.use import UseReader
from evolteacher.yamlfile import parse_value, plain_data

RUNNER = "transformers"
"""The backend that runs a checkpoint's folder."""


def make_backend(model: str | Path | Mapping[str, Any], catalog: Catalog, where: str) -> Backend:
    """Return the backend that ``NAME``, ``NAME:VALUE``, ``{NAME: {options}}`` or a checkpoint's folder means.

    Args:
        model: one of these; the third also as a text in YAML.
        catalog: what is installed.
        where: what errors call it, such as ``--model``.

    Raises:
        RecipeError: there is none, or its options are wrong.
        UsageError: the text is no YAML.
    """
    spec = dict(model) if isinstance(model, Mapping) else _spec(str(model), catalog, where)
    problems = Problems(plain_data({Backend.kind: spec}, where))
    use = UseReader(catalog, problems, ()).one(problems.located.data[Backend.kind], Backend, (Backend.kind,))
    problems.raise_any()
    assert use is not None
    return use.component


def _spec(text: str, catalog: Catalog, where: str) -> Any:
    if os.path.isdir(os.path.expanduser(text)):
        text = f"{RUNNER}:{text}"
    if text.lstrip().startswith("{"):
        try:
            return parse_value(text)
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
    name, colon, value = text.partition(":")
    try:
        cls = catalog.find(Backend, name)
    except RecipeError as error:
        known = sorted({entry.cls.name for entry in catalog.entries(Backend.kind)})
        folder = "" if colon or name.rpartition("/")[2] in known else "there is no such folder, and "
        hint = f"Backends: {', '.join(known)}. A model's name stands behind its backend's: embedded:NAME."
        raise RecipeError(f"{where} {text}: {folder}{error} {hint}") from None
    primary = cls.primary if colon else ""
    if colon and (primary not in cls.model_fields or not value):
        raise RecipeError(f"{where} {text}: write {name}, or {name}:{primary.upper() or 'nothing'}")
    return {name: {primary: value} if colon else {}}


def default_folder(benchmark: str, backend: Backend) -> Path:
    """Return ``evaluations/BENCHMARK-MODEL``, in letters that every file system takes."""
    name = f"{benchmark}-{component_words({backend.name: backend.options()})}"
    return Path("evaluations") / re.sub(r"[^\w.-]+", "-", name).strip("-.")[:100]


def component_words(component: dict[str, Any]) -> str:
    """Return ``name:model`` of a component that is given as its name and its options."""
    ((name, options),) = component.items()
    value = options.get("model") or options.get("path")
    return f"{name}:{value}" if value else str(name)
