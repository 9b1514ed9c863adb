"""The dataset card: what is in a dataset, where it came from, and what was pruned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evolteacher import __version__
from evolteacher.decontamination.certificate import Certificate
from evolteacher.history import Summary
from evolteacher.licencecard import hub_licence, licence_section
from evolteacher.markdown import cell, fenced, table
from evolteacher.messages import ROLES
from evolteacher.money import paid
from evolteacher.provenance import UsedPlugin
from evolteacher.published import public, public_recipe_of
from evolteacher.recipe import Recipe
from evolteacher.rights import Clearance
from evolteacher.roundsection import Point
from evolteacher.yamlfile import dump


def dataset_card(
    recipe: Recipe,
    summary: Summary,
    *,
    partial: str = "",
    data_file: str = "",
    plugins: Iterable[UsedPlugin] = (),
    certificate: Certificate | None = None,
    rights: Clearance | None = None,
    curve: Sequence[Point] = (),
) -> str:
    """Write the card as Markdown with the front matter that dataset hubs read.

    Args:
        recipe: the experiment.
        summary: the run's sums.
        partial: why the dataset is not the whole one; empty when it is.
        data_file: the file beside the card that hubs are to read; the folder holds the same rows in several.
        plugins: those that took part, with their versions.
        certificate: of the decontamination; None where there was none.
        rights: the rows by licence and terms, and what the recipe's licence says of them; None knows nothing.
        curve: what a stop measured and decided after each round; nothing where there was none.
    """
    rights = rights or Clearance()
    tags = ["evol-instruct", "synthetic"]
    front: dict[str, Any] = {"pretty_name": recipe.name, "tags": tags, "language_creators": ["machine-generated"]}
    if rights.licence and (not rights.refused or rights.despite):
        front["license"] = hub_licence(rights.licence)
    if data_file:
        front["configs"] = [{"config_name": "default", "data_files": data_file}]
    parts = [f"---\n{dump(front)}---\n\n# {recipe.name}\n"]
    if recipe.description:
        parts.append(f"{recipe.description}\n")
    if partial:
        reason = " ".join(partial.split()).rstrip(".")
        parts.append(
            f"> **Partial.** {reason}. The rows below are those that have settled; running the same command again "
            "finishes the dataset and rewrites this card.\n"
        )
    stopped = bool(curve) and curve[-1].decision == "stop"
    rounds = range((curve[-1].round if stopped else recipe.rounds) + 1)
    parts.append(
        f"{_count(summary.records, 'instruction-response pair')}, evolved from {_count(summary.seeds, 'seed')} over "
        f"{_count(len(rounds) - 1, 'round')} by evolteacher {__version__} (Evol-Instruct).\n"
    )
    parts += [_stopping(recipe, curve, stopped)] if curve else []
    parts.append("## Rows by round\n")
    parts.append(
        table(
            ("round", "rows", "rejected"),
            [(_round(n), f"{summary.kept.get(n, 0):,}", f"{summary.rejected.get(n, 0):,}") for n in rounds],
        )
    )
    parts.append("## Rejects by filter\n")
    if summary.filters:
        rows = [(f"`{name}`", stage, f"{count:,}") for (stage, name), count in summary.filters.items()]
        parts.append(table(("filter", "looked at", "rejected"), rows))
    else:
        parts.append("Nothing was rejected.\n")
    for names, number in summary.repaired.items():
        was = "was" if number == 1 else "were"
        parts.append(f"{_count(number, 'response')} of these rows {was} repaired by {cell(names)}.\n")
    parts += [certificate.as_markdown()] if certificate is not None else []
    parts.append("## Operators\n")
    operators = [(f"`{name}`", f"{tried:,}", f"{kept:,}") for name, (tried, kept) in summary.operators.items()]
    parts.append(table(("operator", "tried", "kept"), operators))
    parts.append("## Models\n")
    models = [
        (f"`{key}`", public(model) or "?", f"{calls:,}", f"{prompt:,}", f"{completion:,}")
        for (key, model), (calls, prompt, completion) in summary.calls.items()
    ]
    parts.append(table(("backend", "model", "calls", "prompt tokens", "completion tokens"), models))
    if cost := paid(summary.cost):
        parts.append(f"The calls cost {cost}.\n")
    if summary.forked:
        taken = _count(summary.forked, "stored reply", "stored replies")
        there = f"{cost} there and " if (cost := paid(summary.forked_cost)) else ""
        parts.append(f"Besides, {taken} came from another run and cost {there}nothing here.\n")
    if made := [
        (f"`{plugin.name}`", f"{plugin.distribution} {', then '.join(plugin.versions)}", ", ".join(plugin.components))
        for plugin in plugins
    ]:
        parts.append("## Plugins\n")
        parts.append(table(("plugin", "version", "used here"), made))
    parts += licence_section(rights)
    parts.append(f"## Recipe\n\n{fenced(dump(public_recipe(recipe)), 'yaml')}")
    return "\n".join(parts)


def _stopping(recipe: Recipe, curve: Sequence[Point], stopped: bool) -> str:
    """Say by what signal evolving ended, or might have."""
    values = ", ".join("not measured" if point.value is None else f"{point.value:.4g}" for point in curve)
    ended = "ended it before the last round" if stopped else "has not ended it so far"
    return (
        f"There may be {_count(recipe.rounds, 'round')} at the most; evolving ends when {curve[-1].signal} stops "
        f"improving, which {ended}. By round: {values}.\n"
    )


def public_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe without places of this machine and hosts of a private network: cards are published."""
    written = recipe.to_plain()
    plain = public_recipe_of({**written, "seeds": {**written["seeds"], "path": recipe.seeds.path}})
    del plain["train"]  # what is tuned on the dataset is no part of it
    # In an order of their own: a run folder keeps what has no order of its own by name.
    order = {name: place for place, name in enumerate(ROLES)}
    for key in ("backends", "prices", "terms"):
        plain[key] = dict(sorted(plain[key].items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
    return plain


def _round(number: int) -> str:
    return "0 (seeds)" if number == 0 else str(number)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
