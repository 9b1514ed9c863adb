"""What an evaluation may spend and how hard it may push: as a recipe's ``budget:``, ``limits:`` and ``prices:``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evolteacher.backend import Backend
from evolteacher.errors import EvolteacherError, PluginError, UsageError, plugin_fault
from evolteacher.limits import Limits
from evolteacher.money import Budget, Price

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
        try:
            own = self.price or backend.price()
        except EvolteacherError:
            raise
        except Exception as error:
            raise plugin_fault(f"backend '{backend.name}', saying its price,", error) from error
        if own is not None and not isinstance(own, Price):
            raise PluginError(f"backend '{backend.name}' gives {own!r} for its price: an evolteacher.Price is needed")
        if own is None and self.budget is not None and self.budget.usd is not None:
            raise UsageError(
                f"no price is known for the backend '{backend.name}', so a budget in dollars cannot be kept. Give it "
                "in dollars for a million tokens of prompts and of answers, such as --price 0.4,1.6 (in Python "
                "price={'input': 0.4, 'output': 1.6}), or set a budget in tokens"
            )
        return own


def _read(cls: type[T], name: str, given: Mapping[str, Any]) -> T:
    try:
        return cls.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *map(str, first["loc"])])
        raise UsageError(f"{where}: {first['msg']} (there are: {', '.join(cls.model_fields)})") from None
