"""How much of a dataset is kept: no more than so many rows of one kind, or the best rows that differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import inf, prod
from typing import Any, Literal, NamedTuple

from pydantic import Field

import evolteacher as et
from evolteacher.errors import RunError
from evolteacher_plugins.alike import Item, Likeness, Part, name_of, text_of
from evolteacher_plugins.code import language_in
from evolteacher_plugins.meaning import ByMeaning, require_vectors
from evolteacher_plugins.shingles import ByWords

Kind = Literal["operator", "language", "lineage", "round"]


_UNSCORED = inf
"""The rank of a row that has no score: after all others."""


class Cap(et.DatasetFilter, name="cap"):
    """Keep at most ``most`` rows of each operator, programming language, lineage or round.

    A rule of our own, against a dataset of which one kind makes up most. The language is the one that the response's
    first fenced block names, or that its code shows; what shows none is not capped. Nor are seeds, where operators are:
    no operator made them. Of a kind with too many rows the first are kept, or with ``keep: spread`` rows at even
    distances, so that every round keeps its share.
    """

    per: Kind = Field(..., description="What is counted: operator, language (programming), lineage or round.")
    most: int = Field(..., ge=1, description="More rows than this of one kind are dropped.")
    keep: Literal["first", "spread"] = Field(
        "first", description="Which rows of a kind that has too many are kept: the first, or evenly spread ones."
    )

    def select(self, records: Iterable[et.Record]) -> Iterator[tuple[str, str]]:
        """Count the rows of each kind."""
        if self.keep == "spread":
            yield from self._spread(records)
            return
        counts: Counter[str] = Counter()
        for record in records:
            kind = self._kind(record)
            counts[kind] += 1
            if kind and counts[kind] > self.most:
                yield record.id, f"there are {self.most:,} earlier rows of {self.per} {kind} already"

    def _spread(self, records: Iterable[et.Record]) -> Iterator[tuple[str, str]]:
        kinds: defaultdict[str, list[str]] = defaultdict(list)
        for record in records:
            kinds[self._kind(record)].append(record.id)
        for kind, ids in kinds.items():
            if not kind or len(ids) <= self.most:
                continue
            kept = {place * len(ids) // self.most for place in range(self.most)}
            for place, id in enumerate(ids):
                if place not in kept:
                    yield id, f"{self.most:,} of the {len(ids):,} rows of {self.per} {kind} are kept, evenly spread"

    def _kind(self, record: et.Record) -> str:
        """Return what a row counts as; nothing where it is not capped."""
        if self.per == "operator":
            return "" if record.evolution.is_seed else record.evolution.operator
        if self.per == "language":
            return language_in(record.response)
        return record.lineage if self.per == "lineage" else str(record.round)


class _Candidate(NamedTuple):
    """A row before the walk; the better comes first, and of equals the earlier."""

    rank: tuple[float, int]
    item: Item
    sketch: Any


class Deita(et.DatasetFilter, name="deita"):
    """Keep the ``most`` best rows by score, none of them too similar to a better one.

    Source: DEITA (arXiv 2312.15685), score-first, diversity-aware selection. Rows are sorted by the product of their
    scores (complexity times quality). Then they are taken in that order, and one is passed over where its SIMILARITY to
    the nearest of those already taken is ``threshold`` or more, until ``most`` are taken. The paper writes of a
    distance and calls 0.9 its threshold, which makes sense for a cosine similarity alone. It embeds with a LLaMA model
    of 13 billion parameters; here ``by: meaning`` is the measure of ``semantic-duplicates`` (extra ``semantic``), and
    ``by: words`` that of ``near-duplicates``. The two are on different scales.

    ``scores`` are labels of judges among the recipe's filters. Rows that lack one of them come after all that have
    them, in the dataset's order.
    """

    most: int = Field(..., ge=1, description="Rows to keep.")
    scores: tuple[str, ...] = Field(
        ("deita-complexity", "deita-quality"),
        min_length=1,
        description="Labels of the filters whose scores are multiplied; 'label:response' for a text's or reply's.",
    )
    threshold: float = Field(
        0.9, ge=0.3, le=1, description="A row this similar to a better one, or more, is passed over."
    )
    by: Literal["meaning", "words"] = Field("meaning", description="How similarity is measured.")
    text: Part = Field("both", description="What is compared: instruction, response, or both, as one text.")

    def require(self) -> None:
        """Look for the vectors' packages, where similarity is one of meaning."""
        if self.by == "meaning":
            require_vectors(f"filter '{self.name}'")

    def scored_by(self) -> tuple[str, ...]:
        """Return the judges' labels."""
        return self.scores

    def select(self, records: Iterable[et.Record]) -> Iterator[tuple[str, str]]:
        """Sort, and walk.

        Raises:
            RunError: not one row has the scores.
            MissingExtra: what measures the similarity is not installed.
        """
        likeness: Likeness[Any] = (
            ByMeaning(self.threshold, f"filter '{self.name}'") if self.by == "meaning" else ByWords(self.threshold, 3)
        )
        ranked = sorted(self._candidates(records, likeness), key=lambda candidate: candidate.rank)
        if ranked and ranked[0].rank[0] == _UNSCORED:
            raise RunError(
                f"filter '{self.name}': not one of {len(ranked):,} rows has the scores {' and '.join(self.scores)}. "
                "They come from judges that look at the rows (`evolteacher show RUN 0` prints what a row scored); "
                "docs/judges.md tells how to set one up"
            )
        seen, taken = 0, 0
        for item, match in likeness.follow((each.item, each.sketch) for each in ranked):
            seen += 1
            if match is not None:
                yield item.key, f"it is {match.likeness:.2f} like that of {match.name}, which scores as much or more"
                continue
            taken += 1
            if taken == self.most:
                break
        for candidate in ranked[seen:]:
            yield candidate.item.key, f"{self.most:,} rows that score as much or more are taken"

    def _candidates(self, records: Iterable[et.Record], likeness: Likeness[Any]) -> Iterator[_Candidate]:
        rows = likeness.sketched(records, lambda record: text_of(record, self.text))
        for place, (record, sketch) in enumerate(rows):
            yield _Candidate((-self._score(record), place), Item(record.id, name_of(record), ""), sketch)

    def _score(self, record: et.Record) -> float:
        scores = [record.scores.get(label) for label in self.scores]
        return -_UNSCORED if None in scores else prod(score for score in scores if score is not None)


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [Cap, Deita]
