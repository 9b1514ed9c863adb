"""pass@k and its interval, as Chen et al. 2021 (arXiv 2107.03374) estimate it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

_Z = 1.959964
"""The normal distribution's 97.5 % point."""

_RESAMPLES = 2_000
"""Of a bootstrap: its ends then move by less than a tenth of the interval's length from seed to seed."""


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Return the unbiased estimate of the chance that one of ``k`` samples passes, from ``samples`` of which some did.

    Raises:
        ValueError: there are fewer than ``k`` samples, or more passed than there are.
    """
    if not 1 <= k <= samples or not 0 <= passed <= samples:
        raise ValueError(f"pass@{k} cannot be told from {passed} of {samples} samples")
    if samples - passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(samples - passed + 1, samples + 1))


def wilson(hits: int, number: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson's score method (1927)."""
    share = hits / number
    middle = (share + _Z * _Z / (2 * number)) / (1 + _Z * _Z / number)
    reach = _Z * math.sqrt(share * (1 - share) / number + _Z * _Z / (4 * number * number)) / (1 + _Z * _Z / number)
    # Where none or all hit, that end is exact, and the sums above may miss it by a rounding.
    return 0.0 if hits == 0 else max(0.0, middle - reach), 1.0 if hits == number else min(1.0, middle + reach)


def interval(shares: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean over problems, as if these had been drawn from many of their kind.

    Where each problem is a hit or a miss that is Wilson's; else the percentiles of a bootstrap, with a fixed seed.
    """
    if all(share in (0.0, 1.0) for share in shares):
        return wilson(int(sum(shares)), len(shares))
    return _bootstrap(shares)


def paired_interval(gains: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean difference between two models over the same problems.

    The percentiles of a bootstrap over problems, with a fixed seed; where so few problems differ that resampling could
    not show it (:func:`can_differ`), it reaches 0 at the least.
    """
    low, high = _bootstrap(gains)
    if not can_differ(gains):
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high


def can_differ(gains: Sequence[float], level: float = 0.95) -> bool:
    """Whether enough problems differ for the exact sign test to show anything: at 95 %, six are the fewest."""
    return 2 * 0.5 ** sum(gain != 0 for gain in gains) < 1 - level


def _bootstrap(shares: Sequence[float]) -> tuple[float, float]:
    draw = random.Random(0)
    means = sorted(math.fsum(draw.choices(shares, k=len(shares))) / len(shares) for _ in range(_RESAMPLES))
    return means[round(0.025 * (_RESAMPLES - 1))], means[round(0.975 * (_RESAMPLES - 1))]
