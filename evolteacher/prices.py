"""What a recipe's backends cost: its own prices, and those that the backends know."""

from __future__ import annotations

from dataclasses import dataclass

from evolteacher.errors import EvolteacherError, PluginError, RecipeError, plugin_fault
from evolteacher.money import Price
from evolteacher.recipe import Recipe


def given_prices(recipe: Recipe) -> dict[str, Price]:
    """Return the recipe's prices, by the key of the backend instance."""
    return {recipe.backend_keys[name]: price for name, price in recipe.prices.items()}


def known_prices(recipe: Recipe) -> dict[str, Price]:
    """Return what the backends know of their prices, by key.

    Raises:
        PluginError: a backend cannot say.
    """
    found = {}
    for key, use in recipe.backends.items():
        try:
            price = use.component.price()
        except EvolteacherError:
            raise
        except Exception as error:
            raise plugin_fault(f"backend '{key}', saying its price,", error) from error
        if price is not None:
            if not isinstance(price, Price):
                raise PluginError(f"backend '{key}' gives {price!r} for its price, and an evolteacher.Price is needed")
            found[key] = price
    return found


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
    if recipe.budget is None or recipe.budget.usd is None:
        return
    priced = all_prices(recipe)
    problems = [
        f"budget: no price is known for the backend '{key}' ({use.written}), so a budget in dollars cannot be kept. "
        f"Write it for a million tokens, such as `prices: {{{key}: {{input: 0.4, output: 1.6}}}}`, or set a budget in "
        "tokens"
        for key, use in recipe.backends.items()
        if key not in priced
    ]
    if problems:
        raise RecipeError(*problems)
