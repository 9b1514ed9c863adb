"""What the tests of recipes share: a catalog with one made-up plugin, and the smallest recipe for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.errors import RecipeError
from evolteacher.recipe import Recipe


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    level: int = 1
    api_key: str = ""


class Translate(et.Operator, name="translate"):
    """Ask for the same task in another language."""

    language: str = "Spanish"
    mode: Literal["free", "literal"] = "free"
    times: int | None = Field(None, ge=1)
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    named: dict[str, Inner] = Field(default_factory=dict)
    either: int | Inner = 1
    threads: int = et.free(1, description="Changes nothing.")

    def prompt(self, parent):
        return f"Rewrite this task in {self.language}:\n{parent.text}"

    def read(self, reply, parent):
        return reply.text


class Needy(et.Operator, name="needy"):
    what: str

    def prompt(self, parent):
        return parent.text


class Plain(et.TextFilter, name="plain"):
    words: float = 3.0

    def reject(self, text):
        return None


class Judge(et.InstructionFilter, name="judge-it"):
    async def judge(self, evolution, ask):
        return None if (await ask("Good? " + evolution.child.text)).text else "no"


class Whole(et.DatasetFilter, name="whole"):
    def select(self, records):
        return []


class Api(et.Backend, name="api"):
    model: str = "tiny"
    api_key: str | None = None
    pin_token: int = 0
    max_tokens: int = Field(5, ge=1)
    headers: dict[str, str] = Field(default_factory=dict)
    path: Path | None = None
    workers: int = et.free(1, description="Changes nothing.")

    async def complete(self, request):
        return et.Reply("fine")


class Other(et.Backend, name="other"):
    primary = "file"

    file: str = ""

    async def complete(self, request):
        return et.Reply("fine")


class Mute(et.Backend, name="mute"):
    async def complete(self, request):
        return et.Reply("fine")


class Lines(et.SeedReader, name="lines"):
    step: int = 1

    @classmethod
    def claims(cls, source):
        return source.endswith(".txt")

    def rows(self, source):
        yield et.Row("1", "Add two numbers.")


class Plugin:
    @et.hookimpl
    def register_operators(self):
        return [Translate, Needy]

    @et.hookimpl
    def register_filters(self):
        return [Plain, Judge, Whole]

    @et.hookimpl
    def register_backends(self):
        return [Api, Other, Mute]

    @et.hookimpl
    def register_seed_readers(self):
        return [Lines]


def make_catalog() -> Catalog:
    catalog = Catalog()
    catalog.register(Plugin(), "made")
    return catalog


CATALOG = make_catalog()

SMALLEST = """\
evolteacher: 1
name: small
seeds: seeds.jsonl
operators: [translate]
backends: {evolve: api}
"""


def recipe(text: str, folder: Path, **options) -> Recipe:
    """Load a recipe's text, the smallest one's lines first, through a real file."""
    path = folder / "recipe.yaml"
    path.write_text(SMALLEST + text, encoding="utf-8", newline="")
    return Recipe.load(path, catalog=CATALOG, **options)


def problems(load) -> list[str]:
    """Return the problems that loading finds; none when it loads."""
    try:
        load()
    except RecipeError as error:
        return list(error.problems)
    return []
