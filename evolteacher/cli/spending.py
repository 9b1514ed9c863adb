"""The options that bound what a command's calls may cost, and how fast they may leave."""

from __future__ import annotations

from typing import Annotated

import typer

from evolteacher.errors import UsageError
from evolteacher.evaluation.spending import Spending

BudgetUsd = Annotated[
    float | None,
    typer.Option("--budget-usd", metavar="USD", help="Most that the folder may cost in all; never overspent."),
]
BudgetTokens = Annotated[
    int | None,
    typer.Option("--budget-tokens", metavar="N", help="Likewise, in tokens of prompts and answers together."),
]
RequestsPerMinute = Annotated[
    float | None,
    typer.Option(
        "--requests-per-minute", metavar="N", help="What the provider allows. [default: what its answers tell]"
    ),
]
RequestsPerSecond = Annotated[float | None, typer.Option("--requests-per-second", metavar="N", help="Likewise.")]
TokensPerMinute = Annotated[float | None, typer.Option("--tokens-per-minute", metavar="N", help="Likewise.")]
Retries = Annotated[
    int | None, typer.Option("--retries", metavar="N", help="Of a call that met a passing fault. [default: 8]")
]
ModelPrice = Annotated[
    str | None,
    typer.Option(
        "--price",
        metavar="IN,OUT",
        help="Dollars for a million tokens of prompts and of answers. [default: what the backend knows]",
    ),
]


def bounds(
    usd: float | None,
    tokens: int | None,
    requests_per_minute: float | None,
    requests_per_second: float | None,
    tokens_per_minute: float | None,
    retries: int | None,
    price: str | None,
) -> Spending:
    """Return what the options ask for.

    Raises:
        UsageError: one is out of range.
    """
    budget = {"usd": usd, "tokens": tokens}
    limits = {
        "requests_per_minute": requests_per_minute,
        "requests_per_second": requests_per_second,
        "tokens_per_minute": tokens_per_minute,
        "retries": retries,
    }
    return Spending.of(
        {name: value for name, value in budget.items() if value is not None},
        {name: value for name, value in limits.items() if value is not None},
        _price(price),
    )


def _price(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    try:
        given, answered = text.split(",")
        return {"input": float(given), "output": float(answered)}
    except ValueError:
        raise UsageError(f"--price {text}: two numbers with a comma between them are needed, such as 0.4,1.6") from None
