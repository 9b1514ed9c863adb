"""Recipes: a validated, immutable description of a whole experiment, written as YAML."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, SkipValidation, ValidationError, field_validator

from evolteacher.backend import Backend
from evolteacher.bandit import Bandit, ByBandit
from evolteacher.catalog import Catalog
from evolteacher.errors import RecipeError, did_you_mean
from evolteacher.evalsection import Evaluate
from evolteacher.filter import DatasetFilter, Filter
from evolteacher.licensing import known_source
from evolteacher.limits import Limits
from evolteacher.material import check_material
from evolteacher.messages import ROLES, Role
from evolteacher.money import Budget, Price
from evolteacher.operator import Operator
from evolteacher.overrides import apply_backend, apply_set
from evolteacher.problems import Problems, shown
from evolteacher.recipesense import check_sense
from evolteacher.record import Material
from evolteacher.roundsection import MOST, Stop, plain_rounds, read_rounds
from evolteacher.sections import Licence, SamplingSection, Section, Seeds, read_licence
from evolteacher.seeds import SeedReader
from evolteacher.trainsection import Train, only_trains, read_train
from evolteacher.use import Use, UseReader, is_label
from evolteacher.yamlfile import Located, load, plain_data

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

VERSION = 1
"""Of the recipe language; a recipe begins with ``evolteacher: 1``."""


Export = Literal["evol", "rounds", "jsonl", "chat", "parquet"]
"""Formats that a run folder's dataset is written in; ``rounds`` is one file a round."""


class Recipe(Section):
    """A whole experiment. Build one with :meth:`load` or :meth:`from_dict`."""

    evolteacher: Literal[1] = Field(description="Version of the recipe language.")
    name: str = Field(max_length=100, description="Names the run folder.")
    description: str = Field("", description="What it is for, in a sentence.")
    seed: int = Field(42, description="Of the random choices.")
    seeds: Seeds
    rounds: int = Field(3, ge=1, le=MOST, description="M: how many times the dataset is evolved, at the most.")
    stop: Annotated[Stop | None, SkipValidation] = Field(None, exclude=True)
    on_pruned: Literal["retire", "retry"] = Field(
        "retire",
        description="retire ends a rejected lineage (Evol-Teacher); retry evolves its parent again (WizardLM).",
    )
    choose: Literal["weights", "uniform", "bandit"] | ByBandit = Field(
        "weights", description="How an operator is drawn; a bandit follows what each brought so far."
    )
    operators: Annotated[tuple[Use[Operator], ...], SkipValidation]
    filters: Annotated[tuple[Use[Filter], ...], SkipValidation] = ()
    dataset_filters: Annotated[tuple[Use[DatasetFilter], ...], SkipValidation] = ()
    backends: Annotated[dict[str, Use[Backend]], SkipValidation]
    backend_keys: dict[str, str] = Field(default_factory=dict, exclude=True)
    sampling: SamplingSection = SamplingSection()
    concurrency: int = Field(64, ge=1, le=100_000, description="Calls in flight at once.")
    limits: Limits = Limits()
    prices: dict[str, Price] = Field(
        default_factory=dict, description="By key of `backends`, for a million tokens; wins over what a backend knows."
    )
    terms: dict[str, str] = Field(
        default_factory=dict,
        description="By key of `backends`: under what its answers stand, a licence or a name of docs/licences.md.",
    )
    licence: Annotated[Licence | None, BeforeValidator(read_licence, json_schema_input_type=str | Licence | None)] = (
        Field(None, description="What the dataset is to be published under.")
    )
    budget: Budget | None = Field(None, description="What the run folder may cost in all; at the limit the run stops.")
    synchronous: Literal["normal", "full"] = Field(
        "normal", description="full: a power cut loses no commit either; normal survives kill -9 at twice the speed."
    )
    export: tuple[Export, ...] | None = Field(
        None, strict=False, description="Formats to write; by default all that can be."
    )
    train: Train | None = Field(None, description="How a model is tuned on the dataset, once the run is finished.")
    evaluate: Evaluate | None = Field(None, description="How base and tuned model are measured after that.")
    origin: Path | None = Field(None, exclude=True)
    seeds_place: str = Field("recipe", exclude=True)
    _catalog: Catalog = PrivateAttr()

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"use letters, digits, '.', '_' and '-', beginning with a letter or digit, not {name!r}")
        return name

    @field_validator("choose")
    @classmethod
    def _spell_bandit(cls, choose: str | ByBandit) -> str | ByBandit:
        return ByBandit(bandit=Bandit()) if choose == "bandit" else choose

    @classmethod
    def load(
        cls,
        recipe: str | Path,
        *,
        set: Iterable[str] = (),
        backend: str | None = None,
        catalog: Catalog | None = None,
    ) -> Recipe:
        """Load a recipe by path, or by the name of one that ships or that a plugin brings.

        Args:
            recipe: a path or a name.
            set: ``dotted.key=value`` changes, as ``--set`` on the command line; values are YAML.
            backend: ``NAME`` or ``NAME:MODEL``: answers every role in place of the recipe's backends; ``set`` may
                change it.
            catalog: what is installed; loaded when None.

        Raises:
            RecipeError: one line a problem, each with file and line and what to do.
        """
        from evolteacher.shipped import find_recipe

        catalog = catalog or Catalog.load()
        path = find_recipe(recipe, catalog)
        return cls._build(load(path, shown_path(path)), path, catalog, set, backend)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        set: Iterable[str] = (),
        backend: str | None = None,
        catalog: Catalog | None = None,
    ) -> Recipe:
        """Validate a recipe given as plain data; relative paths are relative to the working directory."""
        return cls._build(plain_data(data, "recipe"), None, catalog or Catalog.load(), set, backend)

    @classmethod
    def _build(
        cls, located: Located, path: Path | None, catalog: Catalog, changes: Iterable[str], backend: str | None
    ) -> Recipe:
        problems = Problems(located)
        check_version(problems)
        if backend is not None:
            apply_backend(located, backend, catalog)
        for change in changes:
            try:
                apply_set(located, change, catalog)
            except RecipeError as error:
                problems.lines.extend(error.problems)
        only_trains(problems)
        data = _known(problems)
        specs = data.get("backends")
        reader = UseReader(catalog, problems, [*ROLES, *(specs if isinstance(specs, dict) else ())])
        data["operators"] = reader.many(data.get("operators"), Operator, ("operators",))
        data["filters"] = reader.many(data.get("filters"), Filter, ("filters",))
        data["dataset_filters"] = reader.many(data.get("dataset_filters"), DatasetFilter, ("dataset_filters",))
        data["backends"], data["backend_keys"] = _backends(specs, reader, problems)
        if "seeds" in data:
            data["seeds"] = _seeds(data["seeds"], reader)
        if "rounds" in data:
            data["rounds"], data["stop"] = read_rounds(data["rounds"], catalog, problems)
        if "train" in data:
            data["train"] = read_train(data["train"], problems)
        data["origin"], data["seeds_place"] = path, located.where(("seeds", "path"))
        try:
            recipe = cls.model_validate(data)
        except ValidationError as error:
            problems.add_invalid((), error, cls, "a recipe", located.data)
            recipe = None
        check_sense(data, recipe, problems)
        if recipe is not None and recipe.operators:
            check_material(recipe.material, recipe.rounds, recipe.operators, catalog, problems)
        problems.raise_any()
        assert recipe is not None
        recipe._catalog = catalog
        return recipe

    def __eq__(self, other: object) -> bool:  # by the fields, whatever was installed beside them
        return self.__dict__ == other.__dict__ if isinstance(other, Recipe) else NotImplemented

    @property
    def catalog(self) -> Catalog:
        """What was installed when the recipe was read: its components are from there."""
        return self._catalog

    def changed(self, *, set: Iterable[str] = (), backend: str | None = None, catalog: Catalog | None = None) -> Recipe:
        """Return a copy with changes, validated like a recipe that is loaded."""
        return Recipe.from_dict(self.to_plain(), set=set, backend=backend, catalog=catalog or self.catalog)

    def backend_of(self, role: Role, use: Use[Any] | None = None) -> str:
        """Return the key of the backend instance that answers a role, or a component with a ``backend:`` of its own."""
        name = use.backend if use is not None and use.backend is not None else role
        return self.backend_keys[name]

    @property
    def material(self) -> Material:
        """What lineages start from: what the recipe says that the rows are, else what the named reader gives."""
        reader = self.seeds.reader
        return self.seeds.material or (reader.component.gives if reader is not None else "task")

    @property
    def answers_seeds(self) -> bool:
        """Whether seeds without a response are answered. A snippet is no task, so there is nothing to answer."""
        return self.seeds.answer == "missing" and self.material == "task"

    def operators_of(self, material: Material) -> tuple[Use[Operator], ...]:
        """Return the operators that can be drawn for a parent of this kind."""
        return tuple(use for use in self.operators if material in use.component.takes)

    def seeds_source(self) -> str:
        """Return the seeds' path made absolute (relative to the recipe's folder), or a source such as ``hf:…``."""
        source = self.seeds.path
        base = self.origin.parent if self.origin is not None else Path.cwd()
        path = os.path.abspath(base / Path(source).expanduser())
        return source if ":" in source.split("/")[0] and not os.path.exists(path) else path

    def to_plain(self, *, with_free: bool = True) -> dict[str, Any]:
        """Return the recipe as plain data with every default written out; loads again as the same recipe."""
        plain = self.model_dump(mode="json", exclude={*_COMPONENTS, "seeds"})
        plain["seeds"] = {**self.seeds.model_dump(mode="json", exclude={"reader"}), "path": self.seeds_source()}
        if self.seeds.reader is not None:
            plain["seeds"]["reader"] = self.seeds.reader.to_plain()
        plain["rounds"] = plain_rounds(self.rounds, self.stop)
        for name in ("operators", "filters", "dataset_filters"):
            plain[name] = [use.to_plain(with_free=with_free) for use in getattr(self, name)]
        plain["backends"] = {
            name: self.backends[key].to_plain(with_free=with_free) if name == key else key
            for name, key in self.backend_keys.items()
        }
        for role in ROLES:
            plain["sampling"][role] = {k: v for k, v in (plain["sampling"][role] or {}).items() if v is not None}
        return {name: plain[name] for name in type(self).model_fields if name in plain}

    def experiment(self) -> dict[str, Any]:
        """Return what a resumed run must have in common with the folder's: all but what is free to change.

        The seeds' place and form are no part of it: their content is compared with what the folder holds.
        """
        free = {
            "name",
            "description",
            "concurrency",
            "limits",
            "prices",
            "budget",
            "synchronous",
            "export",
            "evolteacher",
            "seeds",
            "train",
            "evaluate",
            "terms",
            "licence",
        }
        plain = {key: value for key, value in self.to_plain(with_free=False).items() if key not in free}
        plain["seeds"] = {"answer": self.seeds.answer, "licence": self.seeds.licence}
        if self.seeds.terms:
            plain["seeds"]["terms"] = self.seeds.terms
        if self.material != "task":  # left out otherwise, as in folders of before there were snippets
            plain["seeds"]["material"] = self.material
        plain["sampling"] = {role: asdict(self.sampling.of(role)) for role in ROLES}
        return plain


_SPECIAL = {"origin", "seeds_place", "backend_keys", "stop"}
_COMPONENTS = {"operators", "filters", "dataset_filters", "backends"}


def check_version(problems: Problems) -> None:
    """Stop where the rest cannot be understood: no mapping, or another version of the language."""
    data = problems.located.data
    if not isinstance(data, dict):
        problems.add((), "a recipe is a mapping that begins with 'evolteacher: 1'")
    elif "evolteacher" not in data:
        problems.add((), "'evolteacher: 1' is missing; it says which version of the recipe language this is")
    elif isinstance(data["evolteacher"], bool) or data["evolteacher"] != VERSION:
        version = shown(data["evolteacher"])
        problems.add(("evolteacher",), f"version {version} is unknown; this evolteacher reads version {VERSION}")
    problems.raise_any()


def _known(problems: Problems) -> dict[str, Any]:
    """Return what the recipe holds under keys that there are."""
    known = [name for name in Recipe.model_fields if name not in _SPECIAL]
    data = problems.located.data
    for key in data:
        if key not in known:
            problems.add((key,), f"a recipe has no '{key}'.{did_you_mean(key, known)}")
    return {key: value for key, value in data.items() if key in known}


def _seeds(section: Any, reader: UseReader) -> Any:
    """Read the seed reader of the section, and fill in the licence of a well-known source; a text is the path."""
    if isinstance(section, str):
        section = {"path": section}
    if not isinstance(section, dict):
        return section
    known = known_source(path) if isinstance(path := section.get("path"), str) else None
    section = ({"licence": known.licence, "terms": known.terms} if known is not None else {}) | section
    if section.get("reader") is None:
        return section
    return {**section, "reader": reader.one(section["reader"], SeedReader, ("seeds", "reader"))}


def _backends(specs: Any, reader: UseReader, problems: Problems) -> tuple[dict[str, Use[Backend]], dict[str, str]]:
    """Read the backends; a text that is another entry's key means the same instance."""
    if not isinstance(specs, dict) or "evolve" not in specs:
        problems.add(("backends",), "'evolve' is needed: which backend evolves, such as 'evolve: embedded'")
        return {}, {}
    uses: dict[str, Use[Backend]] = {}
    aliases: dict[str, str] = {role: "evolve" for role in ROLES if role not in specs}
    for name, spec in specs.items():
        if not is_label(name):
            needed = "letters, digits, '-' and '_', beginning with a letter, are what a backend can be called by"
            problems.add(("backends", name), needed)
        if isinstance(spec, str) and spec in {*specs, *ROLES} and spec != name:
            aliases[name] = spec
            continue
        use = reader.one(spec, Backend, ("backends", name))
        if use is not None:
            uses[name] = use
    keys: dict[str, str] = {}
    circle: list[str] = []
    for name in [*specs, *(role for role in ROLES if role not in specs)]:
        seen = [name]
        while seen[-1] in aliases and seen[-1] not in seen[:-1]:
            seen.append(aliases[seen[-1]])
        if seen[-1] in seen[:-1] and not circle:  # said once, and not for every name that leads into it
            circle = seen[seen.index(seen[-1]) : -1]
            names = " and ".join(f"'{member}'" for member in circle)
            problems.add(("backends", circle[0]), f"{names} name each other; one must be a backend")
        keys[name] = seen[-1]
    return uses, keys


def shown_path(path: Path) -> str:
    """Return a path as errors name it: below the working directory without that."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
