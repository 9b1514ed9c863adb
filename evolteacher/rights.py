"""Which rows of a run are under which licence and whose terms, and which of them its ``licence:`` does not allow.

A row is under its seed's licence. Whose terms hold for it: those of the model that wrote the seed, as far as the source
tells, of each model that rewrote the instruction on its way, and of the one that answered it or repaired the answer. A
judge's words are no part of a row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from evolteacher.backend import Backend
from evolteacher.errors import EvolteacherError, LicenceRefused, PluginError, RecipeError, plugin_fault
from evolteacher.licensing import UNKNOWN, join_terms, licence_id, spelt, split_terms, why_not, why_terms_not
from evolteacher.recipe import Recipe
from evolteacher.sections import Licence
from evolteacher.store import Store

EXAMPLES = 3
"""Rows that are named of each group that is refused."""

KINDS = 20
"""Groups whose first rows are looked up, and that a message or a card names; each row may be under one of its own."""

_SHOWN = 80
"""Characters of a licence that a message repeats: a source may say anything."""

_TERMS = "terms"
_DESPITE = "despite"

BACKENDS = """
(SELECT group_concat(DISTINCT x.backend) FROM replies x JOIN steps p ON p.ord = s.ord AND p.round = x.round
 WHERE x.lineage = seeds.id AND (
    (x.step = 'evolve' AND p.round <= s.round AND p.filter = '')
    OR (x.round = s.round AND x.step = 'respond' AND s.respond_reply IS NOT NULL)
    OR (x.round = s.round AND s.repaired_by != '' AND x.step LIKE 'filter:%' AND instr(', ' || s.repaired_by || ', ',
        ', ' || replace(substr(x.step, 8), ':response', '') || ', ') > 0)))
"""
"""Keys of the backends that wrote a row, joined by commas; where ``steps s`` and ``seeds`` are joined."""

_ANY = "CASE WHEN s.round > 0 OR s.respond_reply IS NOT NULL OR s.repaired_by != '' THEN '*' END"
"""The same where all backends are under the same terms, or none are known: whether any took part."""

_ROWS = """
FROM steps s JOIN seeds ON seeds.ord = s.ord LEFT JOIN seed_terms ON seed_terms.ord = s.ord
LEFT JOIN drops ON drops.ord = s.ord AND drops.round = s.round
WHERE s.filter = '' AND drops.filter IS NULL
AND (s.respond_reply IS NOT NULL OR (s.round = 0 AND seeds.response IS NOT NULL))
"""


class Authors:
    """Whose terms hold for what the backends of a run wrote.

    Args:
        store: the run's. One of an older evolteacher tells none: its rows' terms are unknown.
    """

    def __init__(self, store: Store) -> None:
        self._terms: Mapping[str, str] = store.meta(_TERMS) or {}
        self._alike = len(set(self._terms.values())) <= 1

    @property
    def column(self) -> str:
        """What a query selects of a row, for :meth:`terms`."""
        return _ANY if self._alike else BACKENDS

    def terms(self, seed: str | None, backends: str | None) -> str:
        """Return a row's terms, joined.

        Args:
            seed: those of its seed.
            backends: what :attr:`column` gave.
        """
        if not backends:
            return seed or ""
        keys = list(self._terms) or [""] if self._alike else backends.split(",")
        made = [name for key in keys for name in split_terms(self._terms.get(key) or UNKNOWN)]
        return join_terms([*split_terms(seed or ""), *made])


def terms_of(recipe: Recipe) -> dict[str, str]:
    """Return whose terms hold for each backend: what the recipe says, else what the backend knows; empty unknown."""
    given = {recipe.backend_keys[name]: text for name, text in recipe.terms.items()}
    found = {key: given.get(key) or _own(use.component) for key, use in recipe.backends.items()}
    return {key: join_terms(map(licence_id, split_terms(text))) for key, text in found.items()}


def _own(backend: Backend) -> str:
    """Return what a backend says of its answers, as terms are joined.

    Raises:
        PluginError: it fails, or says something else than a text.
    """
    try:
        said = backend.terms()
    except EvolteacherError:
        raise
    except Exception as error:
        raise plugin_fault(f"backend '{backend.name}', saying whose terms hold,", error) from error
    if not isinstance(said, str):
        raise PluginError(f"backend '{backend.name}': terms() gives {said!r}; a text is needed, empty where unknown")
    return said


def note_rights(store: Store, recipe: Recipe) -> None:
    """Store whose terms hold from now on, for all rows: how a backend is called stays the same in a folder."""
    store.set_meta(_TERMS, terms_of(recipe))


def mix_of(store: Store) -> dict[tuple[str, str], int]:
    """Return the dataset's rows by (licence, terms), most first; an empty text stands for none known.

    A licence that is known has one spelling, however rows name it.
    """
    authors, found = Authors(store), dict[tuple[str, str], int]()
    query = (
        f"SELECT licence, terms, made, count(*) FROM (SELECT seeds.licence, seed_terms.terms, {authors.column} AS made "
        f"{_ROWS}) GROUP BY licence, terms, made"
    )
    for licence, seed, made, rows in store.query(query):
        key = (spelt(licence), authors.terms(seed, made))
        found[key] = found.get(key, 0) + rows
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class RefusedRows:
    """Rows of one licence and one set of terms that may not be published as the recipe wants.

    Attributes:
        licence: of their seeds; empty where none is known.
        terms: of the models that wrote them.
        rows: how many.
        why: in words.
        first: the first of them: id of the row, round, and file and line of its seed.
    """

    licence: str
    terms: str
    rows: int
    why: str
    first: tuple[Mapping[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """What they are under, in words."""
        return f"licence {self.licence or UNKNOWN}, terms {self.terms or 'none'}"


@dataclass(frozen=True)
class Clearance:
    """What a recipe's ``licence:`` says of a dataset's mix.

    Attributes:
        licence: what is to be published under; empty where the recipe does not say.
        mix: (licence, terms) -> rows.
        refused: what that licence does not allow.
        despite: why it is published all the same; empty where nobody said so.
    """

    licence: str = ""
    mix: Mapping[tuple[str, str], int] = field(default_factory=dict)
    refused: tuple[RefusedRows, ...] = ()
    despite: str = ""

    @property
    def rows(self) -> int:
        """Rows of the dataset."""
        return sum(self.mix.values())

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "licence": self.licence or None,
            "allowed": not self.refused,
            "despite": self.despite or None,
            "rows": [{"licence": a or None, "terms": b or None, "rows": n} for (a, b), n in self.mix.items()],
            "refused": [
                {"licence": r.licence or None, "terms": r.terms or None, "rows": r.rows, "why": r.why,
                 "first": [dict(row) for row in r.first]}
                for r in self.refused
            ],
        }  # fmt: skip

    def check(self, what: str) -> None:
        """Let the dataset go, or not.

        Args:
            what: the run's folder, for the message.

        Raises:
            LicenceRefused: the licence does not allow the mix, and nobody said why it goes all the same.
        """
        if not self.refused or self.despite:
            return
        number = sum(group.rows for group in self.refused)
        lines = [f"{what}: licence {self.licence} does not allow {number:,} of its {self.rows:,} rows:"]
        for group in self.refused[:KINDS]:
            first = ", ".join(str(row["source"] or row["id"]) for row in group.first)
            more = ", …" if group.rows > len(group.first) else ""
            label = " ".join(group.label[: 2 * _SHOWN].split())
            lines.append(f"  {group.rows:,} of {label}: {group.why} ({first}{more})")
        if rest := self.refused[KINDS:]:
            number = sum(group.rows for group in rest)
            lines.append(f"  {number:,} of {len(rest):,} more kinds (evolteacher licences RUN --json names them all)")
        lines.append(
            "Take another licence in the recipe (`other` states the terms in the card), say whose terms hold (terms:, "
            "seeds.licence) and run it again, or give the reason why it goes all the same: --despite WHY"
        )
        raise LicenceRefused("\n".join(lines), self.as_dict())


def refused_of(wanted: Licence | None, mix: Mapping[tuple[str, str], int]) -> list[RefusedRows]:
    """Return what of a mix a licence does not allow, most rows first; the first rows are not looked up."""
    if wanted is None:
        return []
    found, allow = [], wanted.unknown == "allow"
    for (licence, terms), rows in mix.items():
        of_seed = why_not(licence, wanted.id, unknown=allow)
        of_models = why_terms_not(terms, wanted.id, unknown=allow)
        reasons = [f"{what}: {why}" for what, why in (("the licence", of_seed), ("the terms", of_models)) if why]
        if reasons:
            found.append(RefusedRows(licence, terms, rows, "; ".join(reasons)))
    return found


def held_licence(store: Store) -> Licence | None:
    """Return what a run's dataset is to be published under, as its folder has it; None where its recipe says nothing.

    It needs none of the plugins that the recipe names.

    Raises:
        RecipeError: it is no licence: an older evolteacher took it.
    """
    held = (store.meta("recipe") or {}).get("licence")
    try:
        return Licence.model_validate(held) if held is not None else None
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"{store.path.parent}: licence: {why}. Mend it in the recipe and run that again: nothing is asked twice"
        ) from None


def clearance(store: Store, wanted: Licence | None) -> Clearance:
    """Compare a run's rows with what they are to be published under; None allows everything."""
    mix = mix_of(store)
    licence = wanted.id if wanted is not None else ""
    refused = tuple(
        RefusedRows(group.licence, group.terms, group.rows, group.why, _first(store, group) if place < KINDS else ())
        for place, group in enumerate(refused_of(wanted, mix))
    )
    said = store.meta(_DESPITE) or {}
    holds = said.get("licence") == licence and {group.label for group in refused} <= set(said.get("rows", ()))
    return Clearance(licence, mix, refused, said["why"] if refused and holds else "")


def let_go(store: Store, found: Clearance, why: str) -> None:
    """Put on record why a mix is published all the same; it holds for this licence and these kinds of rows alone."""
    rows = [group.label for group in found.refused]
    store.set_meta(_DESPITE, {"licence": found.licence, "rows": rows, "why": why})


def _first(store: Store, group: RefusedRows) -> tuple[Mapping[str, Any], ...]:
    authors = Authors(store)
    query = (
        f"SELECT seeds.id, s.round, seeds.source, seed_terms.terms, {authors.column} {_ROWS} AND seeds.licence IN "
        "(SELECT value FROM json_each(?)) ORDER BY s.round, s.ord"
    )
    named = [row[0] for row in store.query("SELECT DISTINCT licence FROM seeds") if spelt(row[0]) == group.licence]
    rows = []
    for lineage, round, source, seed, made in store.query(query, (json.dumps(named),)):
        if authors.terms(seed, made) == group.terms:
            rows.append({"id": f"{lineage.hex()}/{round}", "round": round, "source": source})
            if len(rows) == EXAMPLES:
                break
    return tuple(rows)


def seeds_not_allowed(recipe: Recipe, licences: Iterable[tuple[str, str, int]]) -> list[str]:
    """Return a line for each kind of seeds whose rows could not be published, as far as is known before the run.

    Args:
        recipe: what is run.
        licences: (licence, terms, seeds).
    """
    models = join_terms(text or UNKNOWN for text in terms_of(recipe).values())
    lines, kinds = [], Counter[tuple[str, str]]()
    for licence, terms, number in licences:
        kinds[spelt(licence), terms] += number
    for (licence, terms), number in kinds.most_common(KINDS):
        mix = {(licence, join_terms([*split_terms(terms), *split_terms(models)])): number}
        for group in refused_of(recipe.licence, mix):
            assert recipe.licence is not None
            lines.append(
                f"what evolves from {number:,} of the seeds could not be published under {recipe.licence.id}: "
                f"{group.why} ({group.label})"
            )
    return lines
