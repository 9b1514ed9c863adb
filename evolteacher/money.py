"""Money: what a token costs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from evolteacher.messages import Usage

MILLION = 1_000_000


class Price(BaseModel):
    """US dollars for a million tokens, as providers' price lists give them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    input: float = Field(ge=0, description="US dollars for a million tokens of prompts.")
    output: float = Field(ge=0, description="US dollars for a million tokens of answers.")

    def cost(self, usage: Usage) -> float:
        """Return the US dollars of one call."""
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / MILLION


FREE = Price(input=0, output=0)
"""Of models that run on the user's own machine."""


class Budget(BaseModel):
    """What a run folder may cost in all, counted over every process that ever worked on it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    usd: float | None = Field(None, gt=0, description="US dollars.")
    tokens: int | None = Field(None, gt=0, description="Tokens of prompts and answers together.")


def paid(dollars: float | None) -> str:
    """Write what calls cost, to a hundredth of a cent; empty where nothing does, as of local models, or is known to."""
    if not dollars:
        return ""
    return f"${dollars:,.4f}" if dollars >= 0.00005 else "less than $0.0001"
