"""Random numbers that belong to a request, and not to the moment at which it arrives."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist

_STANDARD = NormalDist()


class Draw:
    """Random numbers of the nth request of a body: the same at every run, whatever came before."""

    def __init__(self, seed: int, digest: bytes, nth: int) -> None:
        self._bytes = hashlib.blake2b(b"%d %d " % (seed, nth) + digest, digest_size=24).digest()

    def unit(self, index: int) -> float:
        """Return the number of this index (0 to 2), in (0, 1)."""
        return (int.from_bytes(self._bytes[8 * index : 8 * index + 6], "big") + 0.5) / 2**48


def latency(mean: float, sigma: float, draw: Draw) -> float:
    """Return a lognormal number of seconds, by the third number of the draw.

    Args:
        mean: of the latency itself; 0 makes all of them 0.
        sigma: standard deviation of the underlying normal; 0 makes all of them the mean.
        draw: the request's.
    """
    if not mean or not sigma:
        return mean
    return math.exp(math.log(mean) - sigma**2 / 2 + sigma * _STANDARD.inv_cdf(draw.unit(2)))
