"""What a recipe says about measuring: which benchmarks, which models, how answers are drawn."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from evolteacher.messages import Sampling
from evolteacher.problems import Problems
from evolteacher.sections import Section

SEVERAL = (0.2, 0.95)
"""Temperature and top_p of several samples a problem, as the WizardCoder paper draws them; a single one is greedy."""


class Evaluate(Section):
    """How a model is measured on benchmarks, once it is tuned."""

    benchmarks: tuple[str | dict[str, dict[str, Any]], ...] = Field(
        ("humaneval",),
        min_length=1,
        strict=False,
        description="Names, `mbpp:FILE`, or a name with options; files as seen from where the command runs.",
    )
    models: tuple[Literal["base", "tuned"], ...] = Field(
        ("base", "tuned"), min_length=1, strict=False, description="base: what was tuned, as it was before; tuned."
    )
    samples: int = Field(1, ge=1, description="Samples a problem; a single one is greedy.")
    k: tuple[int, ...] = Field((1,), min_length=1, strict=False, description="For pass@k; none above `samples`.")
    limit: int | None = Field(None, ge=1, description="Only the first so many problems.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 for a single sample, 0.2 for several.")
    max_tokens: int = Field(1024, ge=1, description="Most new tokens of an answer.")
    seed: int = Field(0, description="Of the first sample; each further one has the next.")
    concurrency: int = Field(8, ge=1, description="Most calls in flight, which is the largest batch.")
    seconds: float = Field(3.0, gt=0, le=3600, description="Processor seconds of one sample.")
    packages: bool = Field(False, description="Samples may import installed packages.")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if min(self.k) < 1 or max(self.k) > self.samples:
            raise ValueError(f"k is {', '.join(map(str, self.k))}: each must be from 1 to `samples`, {self.samples}")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("temperature 0 draws the same sample each time: leave it out, or ask for one sample")
        return self

    @property
    def sampling(self) -> Sampling:
        """How an answer is drawn."""
        return answer_sampling(self.samples, self.temperature, self.max_tokens, self.seed)


def answer_sampling(samples: int, temperature: float | None, max_tokens: int, seed: int) -> Sampling:
    """Return how answers to a benchmark are drawn: greedily where there is one a problem and nothing else was said.

    Raises:
        ValueError: the temperature is out of range.
    """
    if samples == 1 and not temperature:
        return Sampling(0.0, 1.0, max_tokens, seed=seed)
    return Sampling(SEVERAL[0] if temperature is None else temperature, SEVERAL[1], max_tokens, seed=seed)


def check_evaluate(evaluate: Evaluate, trains: bool, problems: Problems) -> None:
    """Find an evaluation that has nothing to measure."""
    if not trains:
        message = "this measures what 'train:' tunes, and there is none; `evolteacher evaluate` measures any model"
        problems.add(("evaluate",), message)
