"""What an evaluation may spend and how hard it may push: as a recipe's ``budget:``, ``limits:`` and ``prices:``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evolteacher.backend import Backend
from evolteacher.errors import UsageError
from evolteacher.limits import Limits
from evolteacher.money import Budget, Price
from evolteacher.prices import price_of, unkept

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Spending:
    """Bounds on the calls of one evaluation; all of them may change from one process to the next in one folder.

    Attributes:
        budget: of the folder, over every process that worked on it; None for none.
        limits: what the provider is held to.
        price: of the model; it wins over the backend's own. None leaves it to that.
    """

    budget: Budget | None = None
    limits: Limits = field(default_factory=Limits)
    price: Price | None = None

    @classmethod
    def of(
        cls,
        budget: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        price: Mapping[str, Any] | Price | None = None,
    ) -> Spending:
        """Read bounds that are given by the names that a recipe has for them.

        Raises:
            UsageError: a name is unknown or a value is out of range.
        """
        if limits and "backends" in limits:
            raise UsageError("limits.backends: one model is evaluated, so give its limits without 'backends'")
        given = price.model_dump() if isinstance(price, Price) else price
        return cls(
            _read(Budget, "budget", budget) if budget else None,
            _read(Limits, "limits", limits or {}),
            _read(Price, "price", given) if given is not None else None,
        )

    def known(self, backend: Backend) -> Price | None:
        """Return the price that counts; None where nobody knows one.

        Raises:
            UsageError: there is a budget in dollars, and no price by which to keep it.
            PluginError: the backend cannot say.
        """
        price = self.price or price_of(backend, backend.name)
        remedy = (
            "Give it in dollars for a million tokens of prompts and of answers, such as --price 0.4,1.6 (in Python "
            "price={'input': 0.4, 'output': 1.6})"
        )
        if problem := unkept(self.budget, price, f"'{backend.name}'", remedy):
            raise UsageError(problem)
        return price


def _read(cls: type[T], name: str, given: Mapping[str, Any]) -> T:
    try:
        return cls.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *map(str, first["loc"])])
        raise UsageError(f"{where}: {first['msg']} (there are: {', '.join(cls.model_fields)})") from None
