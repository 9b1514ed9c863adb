"""Likeness by words: the Jaccard similarity of two texts' sets of shingles, estimated from MinHash signatures.

Broder, "On the resemblance and containment of documents" (1997). The signatures and the index that finds candidates
are rensa's; what it finds is compared signature by signature, since an index alone brings in texts that are far less
alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from evolteacher_plugins.alike import Likeness

PERMUTATIONS = 120
"""Numbers of a signature, 4 bytes each: many counts of bands divide it. The estimate's standard error at 0.8 is 0.03,
as measured; with independent permutations it would be 0.037."""

_SEED = 1
_MISSED = 0.005
"""The share of pairs at the threshold that the index may miss, at most."""

_BETWEEN = str.maketrans(dict.fromkeys(".,;:!?\"'`()[]{}", " "))
_ODD = re.compile(r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff])|[\u2010-\u205e\u3000-\u303f]")
"""Beyond ASCII: scripts that put no space between words, where each character is a word; and punctuation."""


def words_of(text: str) -> list[str]:
    """Return the words of a text, without regard to case and white space, to punctuation, quotation marks and brackets.

    What else stands together is one word, so ``C++`` and ``C#`` are two words, and ``a+b`` is another than ``a-b``.
    """
    text = text.translate(_BETWEEN).casefold()
    if not text.isascii():
        text = _ODD.sub(r" \1 ", text)
    return text.split()


def shingles_of(text: str, size: int) -> list[str]:
    """Return each run of ``size`` words; all words together where there are fewer, and the text where there is none."""
    words = words_of(text)
    if len(words) <= size:
        whole = " ".join(words) or " ".join(text.split())
        return [whole] if whole else []
    return list(map(" ".join, zip(*(words[n:] for n in range(size)), strict=False)))


def bands(threshold: float) -> int:
    """Return the fewest bands of a signature by which the index misses almost no pair at the threshold.

    Each band costs time and memory, some 70 bytes a row.
    """
    counts = [count for count in range(1, PERMUTATIONS) if PERMUTATIONS % count == 0]
    enough = (count for count in counts if (1 - threshold ** (PERMUTATIONS // count)) ** count <= _MISSED)
    return next(enough, PERMUTATIONS)


class ByWords(Likeness[Any]):
    """Likeness by words.

    Args:
        threshold: Jaccard similarity from which texts are duplicates.
        size: words of a shingle.
    """

    def __init__(self, threshold: float, size: int) -> None:
        from rensa import RMinHashLSH

        super().__init__(threshold)
        self._size = size
        self._signatures: list[Any] = []
        self._index = RMinHashLSH(threshold, PERMUTATIONS, bands(threshold))

    def sketch(self, texts: list[str]) -> Iterator[Any]:
        """Return MinHash signatures."""
        from rensa import RMinHash

        shingles = [shingles_of(text, self._size) for text in texts]
        signatures = RMinHash.from_token_sets(shingles, num_perm=PERMUTATIONS, seed=_SEED)
        return (signature if any(of) else None for signature, of in zip(signatures, shingles, strict=True))

    def likest(self, sketch: Any, lineage: str) -> tuple[int, float] | None:
        """Compare with the candidates that the index finds."""
        best: tuple[int, float] | None = None
        for place in sorted(self._index.query(sketch)):
            likeness = sketch.jaccard(self._signatures[place])
            if likeness >= self.threshold and (best is None or likeness > best[1]) and self.stranger(place, lineage):
                best = place, likeness
        return best

    def keep(self, sketch: Any) -> None:
        """Add a signature to the index."""
        self._index.insert(len(self._signatures), sketch)
        self._signatures.append(sketch)
