"""What a recipe's backends cost: its own prices, and those that the backends know."""

from __future__ import annotations

from dataclasses import dataclass

from evolteacher.backend import Backend
from evolteacher.errors import EvolteacherError, PluginError, RecipeError, plugin_fault
from evolteacher.money import Budget, Price
from evolteacher.recipe import Recipe


def given_prices(recipe: Recipe) -> dict[str, Price]:
    """Return the recipe's prices, by the key of the backend instance."""
    return {recipe.backend_keys[name]: price for name, price in recipe.prices.items()}


def known_prices(recipe: Recipe) -> dict[str, Price]:
    """Return what the backends know of their prices, by key.

    Raises:
        PluginError: a backend cannot say.
    """
    asked = {key: price_of(use.component, key) for key, use in recipe.backends.items()}
    return {key: price for key, price in asked.items() if price is not None}


def price_of(backend: Backend, name: str) -> Price | None:
    """Return what a backend says of its price; None where it knows none.

    Args:
        backend: that is asked.
        name: by which errors call it.

    Raises:
        PluginError: it cannot say.
    """
    try:
        price = backend.price()
    except EvolteacherError:
        raise
    except Exception as error:
        raise plugin_fault(f"backend '{name}', saying its price,", error) from error
    if price is not None and not isinstance(price, Price):
        raise PluginError(f"backend '{name}' gives {price!r} for its price, and an evolteacher.Price is needed")
    return price


def unkept(budget: Budget | None, price: Price | None, backend: str, remedy: str) -> str:
    """Return why a budget cannot be kept: one in dollars needs a price; empty where it can be.

    Args:
        budget: what may be spent.
        price: of a backend; None where none is known.
        backend: how errors call it.
        remedy: how a price is given.
    """
    if budget is None or budget.usd is None or price is not None:
        return ""
    return (
        f"no price is known for the backend {backend}, so a budget in dollars cannot be kept. {remedy}, or set a "
        "budget in tokens"
    )


@dataclass(frozen=True)
class Dollars:
    """What calls will come to, in US dollars.

    Attributes:
        low: with the fewest calls and the shortest answers that are likely.
        likely: the best guess.
        high: with the most calls and the longest answers that are likely.
        most: with the most calls, each answered with ``max_tokens``.
    """

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0
    most: float = 0.0

    def __add__(self, other: Dollars) -> Dollars:
        """Return both together."""
        return Dollars(self.low + other.low, self.likely + other.likely, self.high + other.high, self.most + other.most)


def all_prices(recipe: Recipe) -> dict[str, Price]:
    """Return the price of each backend instance where one is known; the recipe's own wins."""
    return {**known_prices(recipe), **given_prices(recipe)}


def check_budget(recipe: Recipe) -> None:
    """See that a budget in dollars can be kept.

    Raises:
        RecipeError: no price is known of a backend.
    """
    priced, problems = all_prices(recipe), []
    for key, use in recipe.backends.items():
        remedy = f"Write it for a million tokens, such as `prices: {{{key}: {{input: 0.4, output: 1.6}}}}`"
        if problem := unkept(recipe.budget, priced.get(key), f"'{key}' ({use.written})", remedy):
            problems.append(f"budget: {problem}")
    if problems:
        raise RecipeError(*problems)
