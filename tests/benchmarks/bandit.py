"""What a bandit saves over uniform choice, simulated: operators of known acceptance, no model.

python tests/benchmarks/bandit.py
"""

from __future__ import annotations

import random

from evolteacher.bandit import LAG, Bandit, Outcome, Standing

ACCEPTANCE = {"good": 0.9, "fair": 0.6, "never": 0.0}
BLOCKS, ROUNDS, REPEATS = 16, 3, 20


def kept(bandit: Bandit | None, seed: int) -> tuple[float, float]:
    """Return the share of evolutions kept, and the last block's share of the operator that is always rejected."""
    pick, base = random.Random(seed), dict.fromkeys(ACCEPTANCE, 1.0)
    standing = Standing(bandit or Bandit(), base)
    shares = [standing.shares()] * LAG
    found = tried = 0
    for block in range(BLOCKS):
        weights = base if bandit is None else shares[block]
        drawn = pick.choices(list(base), list(weights.values()), k=64 * ROUNDS)
        outcomes = [Outcome(label, float(pick.random() < ACCEPTANCE[label]), 500) for label in drawn]
        found += sum(int(outcome.reward) for outcome in outcomes)
        tried += len(outcomes)
        standing.add(outcomes)
        shares.append(standing.shares())
    return found / tried, (weights["never"] / sum(weights.values()))


if __name__ == "__main__":
    rules = {"uniform": None, "bandit": Bandit(), "bandit, sharpness 4": Bandit(sharpness=4)}
    for name, rule in rules.items():
        pairs = [kept(rule, seed) for seed in range(REPEATS)]
        rate, never = (sum(column) / REPEATS for column in zip(*pairs, strict=True))
        regret = max(ACCEPTANCE.values()) - rate
        print(f"{name:20} kept {rate:.3f}  regret an evolution {regret:.3f}  last share of 'never' {never:.3f}")
