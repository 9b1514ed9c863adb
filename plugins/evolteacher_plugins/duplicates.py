"""Rows that say what an earlier row says: in nearly its words, or with its meaning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import Field

import evolteacher as et
from evolteacher_plugins.alike import Likeness, Part, items_of
from evolteacher_plugins.meaning import ByMeaning, require_vectors
from evolteacher_plugins.shingles import ByWords

_PARTS = {"instruction": "its instruction", "response": "its response", "both": "it"}


class _Duplicates(et.DatasetFilter):
    """What both share: what is compared, with whom, and the reason."""

    text: Part = Field("instruction", description="What is compared: instruction, response, or both, as one text.")
    own_lineage: bool = Field(
        True, description="Whether a row is also compared with the earlier versions of its own lineage."
    )

    def likeness(self) -> Likeness[Any]:
        """Return a new measure of this filter's options."""
        raise NotImplementedError

    def compare(self, records: Iterable[et.Record], seeds: Iterable[et.Seed]) -> Iterator[tuple[str, str]]:
        """Walk through the rows in their order; keep each that is unlike all that were kept.

        Raises:
            MissingExtra: what measures the likeness is not installed.
        """
        for item, match in self.likeness().walk(items_of(records, seeds, self.text, self.own_lineage)):
            if match is not None:
                yield item.key, f"{_PARTS[self.text]} is {match.likeness:.2f} like that of {match.name}"


class NearDuplicates(_Duplicates, name="near-duplicates"):
    """Drop a row whose words are nearly those of an earlier row, or of a seed that is no row.

    Source: Broder, "On the resemblance and containment of documents" (1997), as the package rensa. Two texts are as
    alike as the share of shingles (runs of ``shingle`` words) that they have in common, of all that either has: 1 for
    the same words, whatever their case, white space and punctuation. That Jaccard similarity is estimated from 120
    numbers a text, with a standard error of 0.03 at 0.8. A row is compared with the earlier rows that were kept, those
    of other rounds and lineages included, and what evolved also with the seeds that have no response. Of two that are
    alike the earlier stays. A blank text is no duplicate.
    """

    threshold: float = Field(0.8, ge=0.3, le=1, description="A row this much like an earlier one, or more, is dropped.")
    shingle: int = Field(3, ge=1, le=20, description="Words of a shingle; more makes a changed word weigh more.")

    def likeness(self) -> ByWords:
        """Return a new measure by words."""
        return ByWords(self.threshold, self.shingle)


class SemanticDuplicates(_Duplicates, name="semantic-duplicates"):
    """Drop a row that means nearly what an earlier row means, or a seed that is no row.

    In the manner of SemDeDup (arXiv 2303.09540): texts are as alike as the cosine of their embeddings. These are means
    of word vectors, of the package wordllama, which ships them; they know nothing of the order of words, so a change of
    one word that changes the task ("ascending") goes unseen: docs/filters.md has what was measured. A row is compared
    as ``near-duplicates`` does. Needs the extra ``semantic``.
    """

    threshold: float = Field(0.95, gt=0, le=1, description="A row this much like an earlier one, or more, is dropped.")

    def require(self) -> None:
        """Look for the vectors' packages."""
        require_vectors(f"filter '{self.name}'")

    def likeness(self) -> ByMeaning:
        """Return a new measure by meaning."""
        return ByMeaning(self.threshold, f"filter '{self.name}'")


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [NearDuplicates, SemanticDuplicates]
