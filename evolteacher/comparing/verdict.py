"""What a comparison may say: claims from intervals, and whether the controls allow any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evolteacher.comparing.matching import Matching
from evolteacher.comparing.paired import Difference
from evolteacher.comparing.trainings import OVERFIT_LOSS, OVERFIT_ROWS

Measured = str
"""Whose held-out rows something was measured on: a or b."""

SHOWN = {"a": "A", "b": "B"}


@dataclass(frozen=True)
class Control:
    """What came of one control.

    Attributes:
        name: shuffled, again or overfit.
        passed: whether it came out as it must.
        text: what was found, in a sentence.
        figures: behind it, as JSON.
    """

    name: str
    passed: bool
    text: str
    figures: dict[str, Any]


def shuffled_control(found: Difference) -> Control:
    """Judge the control that answers were permuted: its loss on A's held-out rows must be the higher one."""
    passed = found.low > 0
    rows = "" if found.seeds > 1 else " (one random seed: the interval is over held-out rows alone)"
    must = "measurably worse, as it must be" if passed else "not measurably worse, though it must be"
    text = f"A with its responses shuffled is {must}: loss {signed(found)}{rows}"
    return Control("shuffled", passed, text, asdict(found))


def again_control(found: Mapping[Measured, Difference]) -> Control:
    """Judge the control that A was trained on again with other random seeds: no difference may be found."""
    wrong = [side for side, value in found.items() if not value.noise]
    told = ", ".join(f"on held-out rows of {SHOWN[side]} {signed(value)}" for side, value in found.items())
    must = "as something else than noise, though it must not" if wrong else "as noise, as it must"
    text = f"A against itself with other random seeds comes out {must}: loss {told}"
    return Control("again", not wrong, text, {side: asdict(value) for side, value in found.items()})


def overfit_control(loss: float, steps: int) -> Control:
    """Judge the control that learns a few rows by heart: its training loss must come near zero."""
    passed = loss <= OVERFIT_LOSS
    must = "reaches a training loss near zero" if passed else "does not reach a training loss near zero"
    text = f"a training on {OVERFIT_ROWS} rows of A {must}: {loss:.3f} after {steps:,} steps (at most {OVERFIT_LOSS:g})"
    return Control("overfit", passed, text, {"loss": loss, "steps": steps, "at_most": OVERFIT_LOSS})


def claim(losses: Mapping[Measured, Difference], runs: int, way: Matching) -> str:
    """Say what differences of the loss (B's less A's) allow to be said.

    Args:
        losses: by whose held-out rows they were measured on.
        runs: trainings behind them.
        way: how the two were matched.
    """
    same = "At the same number of rows" if way == "samples" else "At the same number of tokens"
    better = {side: _better(value, lower=True) for side, value in losses.items()}
    nothing = f"no difference that these {runs} runs can show"
    winners = set(better.values())
    if winners == {""}:
        return f"{same}: {nothing}, neither on held-out rows of A nor on those of B."
    if len(winners) == 1:
        (best,) = winners
        other = "A" if best == "B" else "B"
        return f"{same}, {best} teaches more than {other}: its loss is lower on held-out rows of both."
    if "" in winners:
        side = next(side for side, best in better.items() if best)
        other = SHOWN["b" if side == "a" else "a"]
        return (
            f"{same}, {better[side]} has the lower loss on held-out rows of {SHOWN[side]}; on those of {other} there "
            f"is {nothing}. So neither teaches more in general."
        )
    if better == {"a": "A", "b": "B"}:
        return f"{same}, each has the lower loss on held-out rows of its own kind. So neither teaches more in general."
    return f"{same}, each has the lower loss on held-out rows of the other's kind. So neither teaches more in general."


def claim_of_benchmark(name: str, found: Difference, runs: int, way: Matching) -> str:
    """Say what a difference in solved problems (B's share less A's) allows to be said."""
    same = "the same number of rows" if way == "samples" else "the same number of tokens"
    best = _better(found, lower=False)
    if not best:
        return f"On {name}, at {same}: no difference that these {runs} runs can show."
    return f"On {name}, at {same}, training on {best} solves more."


def conclude(
    claims: Sequence[str], controls: Sequence[Control] | None, base: Mapping[Measured, tuple[float, float]]
) -> tuple[bool, list[str]]:
    """Return whether the comparison can be trusted, and the verdict, a sentence or two a line.

    Args:
        claims: what the differences say.
        controls: what came of them; None where they were left out.
        base: by whose held-out rows: the loss of the model as it was, and the lowest of those that were trained on A
            or B.
    """
    failed = [control for control in controls or () if not control.passed]
    lines: list[str] = []
    if controls is None:
        lines.append("Controls were left out, so nothing below is shown to be more than an accident of the method.")
    elif failed:
        lines.append("This comparison cannot be trusted, because a control failed. What it would have said follows.")
        lines += [f"Control failed: {control.text}." for control in failed]
    lines += claims
    idle = [SHOWN[side] for side, (before, after) in base.items() if after >= before]
    if idle:
        of = " and ".join(idle)
        lines.append(
            f"On held-out rows of {of}, no training brought the loss below the untrained model's: what is compared "
            "there is which of the two does less harm."
        )
    return controls is not None and not failed, lines


def signed(found: Difference) -> str:
    """Write a difference with its interval."""
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _better(found: Difference, *, lower: bool) -> str:
    """Return A or B, whichever has it; nothing where the difference is noise."""
    if found.noise:
        return ""
    return "B" if (found.mean < 0) == lower else "A"
