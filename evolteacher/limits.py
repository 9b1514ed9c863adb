"""How hard providers are pushed: the ``limits`` of a recipe, all of which may change on resume."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Rates(BaseModel):
    """What one provider allows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    requests_per_minute: float | None = Field(
        None, gt=0, description="Held with a token bucket, in every window of a minute; read from headers by default."
    )
    requests_per_second: float | None = Field(None, gt=0, description="Held likewise.")
    tokens_per_minute: float | None = Field(
        None, gt=0, description="Prompt and answer together; read from headers by default."
    )
    tokens_per_second: float | None = Field(None, gt=0, description="Held likewise.")

    def within(self, other: Rates) -> Rates:
        """Return the stricter of both, limit by limit."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in Rates.model_fields}
        given = {name: [rate for rate in pair if rate is not None] for name, pair in pairs.items()}
        return Rates.model_construct(**{name: min(rates, default=None) for name, rates in given.items()})


class Limits(Rates):
    """What every provider is held to, each by itself. Backends that share a key share one provider's limit."""

    retries: int = Field(8, ge=0, description="How often a call that met a passing fault is asked again.")
    first_wait: float = Field(0.5, gt=0, description="Seconds before the first retry; doubled each time, with jitter.")
    longest_wait: float = Field(
        60.0, gt=0, description="Most seconds between two tries, unless the provider asks for more."
    )
    least_concurrency: int = Field(
        1, ge=1, description="Rate-limit answers cut the calls in flight to one provider down to this, at the least."
    )
    give_up: float = Field(
        600.0, gt=0, description="Seconds after which a provider that answers nothing at all stops the run."
    )
    batch_poll: float = Field(30.0, gt=0, description="Seconds between two looks at a provider batch.")
    backends: dict[str, Rates] = Field(
        default_factory=dict,
        description="By key of `backends`: what that one's provider allows, in place of the above.",
    )

    def rates_of(self, key: str) -> Rates:
        """Return what the provider of one of the recipe's backends allows."""
        if key in self.backends:
            return self.backends[key]
        return Rates.model_construct(**{name: getattr(self, name) for name in Rates.model_fields})
