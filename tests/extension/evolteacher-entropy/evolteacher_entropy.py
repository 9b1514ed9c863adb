"""A filter that needs a heavy library, and imports it only when it is used."""

from __future__ import annotations

from pydantic import Field

import evolteacher as et
from evolteacher.errors import MissingExtra

SHORT = 40
"""Characters below which entropy says nothing."""


class Monotonous(et.TextFilter, name="monotonous"):
    """Reject a text that repeats itself: the Shannon entropy of its pairs of bytes is low."""

    bits: float = Field(2.5, ge=0, le=16, description="A pair with fewer bits than this, on average, is too few.")

    def require(self) -> None:
        """Look for numpy before a run begins."""
        MissingExtra.unless(["numpy"], "filter 'monotonous'", "numpy", package="evolteacher-entropy")

    def reject(self, text: str) -> str | None:
        """Count the pairs."""
        if len(text) < SHORT:
            return None
        import numpy as np

        codes = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.uint16)
        _, counts = np.unique(codes[:-1] * 256 + codes[1:], return_counts=True)
        shares = counts / counts.sum()
        found = float(-(shares * np.log2(shares)).sum())
        return f"its pairs hold {found:.1f} bits; {self.bits:g} are the least" if found < self.bits else None


@et.hookimpl
def register_filters() -> list[type[et.Filter]]:
    """Bring it."""
    return [Monotonous]
