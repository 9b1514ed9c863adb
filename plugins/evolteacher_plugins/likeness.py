"""How many words two texts share in the same order."""

from __future__ import annotations

from collections.abc import Sequence


def common_words(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Return the length of the longest common subsequence of two lists of words."""
    from rapidfuzz.distance import LCSseq

    # Numbers for words: the library would compare by Python's hash, which differs from one process to the next.
    numbers = {word: number for number, word in enumerate(dict.fromkeys([*ours, *theirs]))}
    return int(LCSseq.similarity([numbers[word] for word in ours], [numbers[word] for word in theirs]))
