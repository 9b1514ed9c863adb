"""An index of benchmarks, and the ways to find their problems in a text.

``exact``: a part of a problem stands in the text, but for case and runs of white space. ``squeezed``: likewise, without
any white space. ``ngrams``: the share of a part's runs of n words that the text holds, which a long text around it does
not lessen (GPT-3, arXiv 2005.14165, appendix C, looks for single shared 13-grams; containment is Broder's, 1997).
``minhash``: the Jaccard similarity of text and part, by their sets of word shingles, estimated by rensa.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from evolteacher.benchmark import Problem
from evolteacher.decontamination.parts import Part, folded, ngrams_of, normalised, parts_of, squeezed, tokens_of

ContaminationMethod = Literal["exact", "squeezed", "ngrams", "minhash"]
"""How a problem is looked for: as it stands, without white space, by its runs of words, or by likeness."""

METHODS: tuple[ContaminationMethod, ...] = get_args(ContaminationMethod)

SHINGLE = 3
"""Words of a shingle of minhash."""

_PERMUTATIONS = 120
_BANDS = 40
_ANCHOR = 24
"""Characters of a part by which most texts are told not to hold it; a short one is cheap to search for."""


@dataclass(frozen=True, slots=True)
class ContaminationSettings:
    """What counts as found.

    Attributes:
        methods: which are used.
        n: words of an n-gram.
        overlap: share of a part's n-grams from which a text holds it.
        similarity: Jaccard similarity from which a text is a part.
        shortest: fewest characters, white space left out, of a part that exact and squeezed look for.
        fewest: fewest n-grams of a part that ngrams and minhash look for.
    """

    methods: tuple[ContaminationMethod, ...] = ("exact", "squeezed", "ngrams")
    n: int = 5
    overlap: float = 0.5
    similarity: float = 0.5
    shortest: int = 60
    fewest: int = 4


@dataclass(frozen=True, slots=True)
class ContaminationHit:
    """A part of a problem that a text holds.

    Attributes:
        part: what was found.
        method: the first that found it, in the order of :data:`METHODS`.
        score: 1 for exact and squeezed; the share or the similarity for the others.
    """

    part: Part
    method: ContaminationMethod
    score: float

    @property
    def reason(self) -> str:
        """Say it in a line."""
        how = {
            "exact": "word for word",
            "squeezed": "but for white space",
            "ngrams": f"{self.score:.0%} of its n-grams",
            "minhash": f"similarity {self.score:.2f}",
        }[self.method]
        return f"it holds the {self.part.name} of {self.part.problem} ({self.part.benchmark}): {how}"


class ContaminationIndex:
    """Benchmarks, made ready to be looked for. The same benchmarks and settings find the same in the same text.

    Args:
        benchmarks: name -> problems.
        settings: what counts as found.
    """

    def __init__(
        self, benchmarks: Mapping[str, Sequence[Problem]], settings: ContaminationSettings | None = None
    ) -> None:
        self.settings = settings or ContaminationSettings()
        self.parts = [part for name, problems in benchmarks.items() for part in parts_of(name, problems)]
        self._normalised = [normalised(part.text) for part in self.parts]
        self._folded = [folded(text) for text in self._normalised]
        self._tokens = [tokens_of(text) for text in self._normalised]

    def find(self, text: str) -> list[ContaminationHit]:
        """Return what a text holds: for each problem the surest hit, the surest first."""
        text, methods = normalised(text), self.settings.methods
        found: dict[ContaminationMethod, list[tuple[int, float]]] = {}
        if "exact" in methods or "squeezed" in methods:
            tight, whole = self._squeezed(text), folded(text)
            found["exact"] = [each for each in tight if self._folded[each[0]] in whole]
            found["squeezed"] = tight
        if "ngrams" in methods:
            found["ngrams"] = self._ngrams(text)
        if "minhash" in methods:
            found["minhash"] = self._minhash(text)
        hits: dict[tuple[str, str], ContaminationHit] = {}
        for method in (each for each in METHODS if each in methods):
            for place, score in sorted(found[method], key=lambda each: (-each[1], each[0])):
                part = self.parts[place]
                hits.setdefault((part.benchmark, part.problem), ContaminationHit(part, method, score))
        return sorted(hits.values(), key=lambda hit: (METHODS.index(hit.method), -hit.score))

    def _squeezed(self, text: str) -> list[tuple[int, float]]:
        tight = squeezed(text)
        return [(place, 1.0) for place, anchor, part in self._tight if anchor in tight and part in tight]

    def _ngrams(self, text: str) -> list[tuple[int, float]]:
        sizes, places = self._ngram_index
        shared = Counter(
            place for gram in ngrams_of(tokens_of(text), self.settings.n) for place in places.get(gram, ())
        )
        shares = ((place, number / sizes[place]) for place, number in shared.items())
        return [(place, share) for place, share in shares if share >= self.settings.overlap]

    def _minhash(self, text: str) -> list[tuple[int, float]]:
        signatures, lsh = self._signatures
        found = _signature(ngrams_of(tokens_of(text), SHINGLE))
        near = lsh.query(found) if found is not None else ()
        alike = ((place, found.jaccard(signatures[place])) for place in near)
        return [(place, likeness) for place, likeness in alike if likeness >= self.settings.similarity]

    @cached_property
    def _tight(self) -> list[tuple[int, str, str]]:
        texts = [squeezed(text) for text in self._normalised]
        shortest = self.settings.shortest
        return [(place, text[:_ANCHOR], text) for place, text in enumerate(texts) if len(text) >= shortest]

    @cached_property
    def _ngram_index(self) -> tuple[dict[int, int], dict[str, list[int]]]:
        """Return how many n-grams each part has, and which parts have each."""
        sizes: dict[int, int] = {}
        places: dict[str, list[int]] = {}
        for place, tokens in enumerate(self._tokens):
            grams = ngrams_of(tokens, self.settings.n)
            if len(grams) >= self.settings.fewest:
                sizes[place] = len(grams)
                for gram in grams:
                    places.setdefault(gram, []).append(place)
        return sizes, places

    @cached_property
    def _signatures(self) -> tuple[dict[int, Any], Any]:
        from rensa import RMinHashLSH

        lsh = RMinHashLSH(self.settings.similarity, _PERMUTATIONS, _BANDS)
        signatures = {}
        for place, tokens in enumerate(self._tokens):
            shingles = ngrams_of(tokens, SHINGLE)
            if len(shingles) >= self.settings.fewest:
                signatures[place] = _signature(shingles)
                lsh.insert(place, signatures[place])
        return signatures, lsh


def _signature(shingles: set[str]) -> Any:
    from rensa import RMinHash

    return RMinHash.from_token_sets([sorted(shingles)], num_perm=_PERMUTATIONS, seed=1)[0] if shingles else None
