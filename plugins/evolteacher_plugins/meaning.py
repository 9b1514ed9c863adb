"""Likeness by meaning: the cosine of two texts' mean word vectors, with the vectors that the package wordllama ships.

Of wordllama only the files are read (32,000 tokens, 256 numbers each, MIT): importing it would configure the process's
logging, and could fetch what is in its wheel already. A static embedding does not know the order of words; how far it
tells a paraphrase from another task is measured in docs/filters.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolteacher.errors import MissingExtra
from evolteacher_plugins.alike import Item, Likeness, Match

if TYPE_CHECKING:
    import numpy as np

DIMENSIONS = 256

_CHARACTERS = 20_000
"""Of a text that are read; more would take time and change little."""

_MARGIN = 1e-3
"""How far a product of matrices, whose rounding depends on its shape, may be from the value that decides."""

_DIGITS = 5


class ByMeaning(Likeness["np.ndarray"]):
    """Likeness by meaning: the cosine of mean word vectors; a block of texts is compared with all before it at once.

    Args:
        threshold: cosine from which texts are duplicates.
        what: the component that needs the vectors, for the error where they are not installed.

    Raises:
        MissingExtra: they are not.
    """

    def __init__(self, threshold: float, what: str) -> None:
        super().__init__(threshold)
        shipped = shipped_vectors()
        if shipped is None:
            raise MissingExtra(what, "semantic")
        self._tokenizer, self._vectors = shipped
        self._blocks: list[np.ndarray] = []
        self._count = 0

    def sketch(self, texts: list[str]) -> Iterator[np.ndarray | None]:
        """Return unit vectors, each from its own text alone, without regard to case and white space."""
        import numpy as np

        plain = [" ".join(text[:_CHARACTERS].casefold().split()) for text in texts]
        found = self._tokenizer.encode_batch(plain, add_special_tokens=False)
        sizes = [len(each.ids) for each in found]
        ids = np.fromiter(chain.from_iterable(each.ids for each in found), dtype=np.int64, count=sum(sizes))
        sums = np.zeros((len(texts), DIMENSIONS), dtype=np.float64)
        filled = [n for n, size in enumerate(sizes) if size]
        if filled:
            starts = np.cumsum([0, *sizes[:-1]])[filled]
            sums[filled] = np.add.reduceat(self._vectors[ids], starts, axis=0, dtype=np.float64)
        lengths = np.sqrt((sums * sums).sum(axis=1))
        return (
            (row / length).astype(np.float32) if length > 0 else None for row, length in zip(sums, lengths, strict=True)
        )

    def go(self, block: list[tuple[Item, np.ndarray | None]]) -> Iterator[tuple[Item, Match | None]]:
        """Find candidates for the whole block by one product of matrices, and then walk."""
        import numpy as np

        vectors = np.stack([np.zeros(DIMENSIONS, np.float32) if vector is None else vector for _, vector in block])
        self._candidates = self._before(vectors)
        self._inside: list[int] = []
        inner = vectors @ vectors.T >= self.threshold - _MARGIN
        self._block, self._first = vectors, self._count
        for n, pair in enumerate(block):
            self._now = n
            self._near = [place for place, member in enumerate(self._inside) if inner[n, member]]
            yield from super().go([pair])
        if self._inside:
            self._blocks.append(vectors[self._inside])

    def _before(self, vectors: np.ndarray) -> dict[int, list[tuple[int, np.ndarray]]]:
        """Return for each text of a block the places and vectors of what may be like it in the blocks before."""
        import numpy as np

        found: dict[int, list[tuple[int, np.ndarray]]] = {}
        first = 0
        for kept in self._blocks:
            for n, place in np.argwhere(vectors @ kept.T >= self.threshold - _MARGIN):
                found.setdefault(int(n), []).append((first + int(place), kept[place]))
            first += len(kept)
        return found

    def likest(self, sketch: np.ndarray, lineage: str) -> tuple[int, float] | None:
        """Compare with the candidates one by one, in a way that rounds alike whatever they are beside."""
        here = [(self._first + place, self._block[self._inside[place]]) for place in self._near]
        best: tuple[int, float] | None = None
        for place, other in [*self._candidates.get(self._now, ()), *here]:
            likeness = round(float((sketch.astype("float64") * other).sum()), _DIGITS)
            if likeness >= self.threshold and (best is None or likeness > best[1]) and self.stranger(place, lineage):
                best = place, likeness
        return best

    def keep(self, sketch: np.ndarray) -> None:
        """Note that the text now walked on is kept."""
        self._inside.append(self._now)
        self._count += 1


def require_vectors(what: str) -> None:
    """Look for what measures likeness by meaning; nothing is loaded.

    Raises:
        MissingExtra: a package is not installed.
    """
    MissingExtra.unless(["numpy", "safetensors", "tokenizers", "wordllama"], what, "semantic")


@cache
def shipped_vectors() -> tuple[Any, np.ndarray] | None:
    """Return wordllama's tokenizer, and its vectors, a row a token; None where a package is missing or lacks them."""
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        return None
    place = Path(spec.submodule_search_locations[0])
    try:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        vectors = load_file(place / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
    except (ImportError, OSError):
        return None
    tokenizer = Tokenizer.from_file(str(place / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, vectors.astype("float32")
