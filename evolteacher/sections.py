"""The parts of a recipe that are plain data: where seeds come from, and how replies are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, field_validator

from evolteacher.messages import Role, Sampling
from evolteacher.record import Material
from evolteacher.seeds import SeedReader
from evolteacher.shapes import Format
from evolteacher.use import Use


class Section(BaseModel):
    """Base of a recipe's parts: frozen, unknown keys refused, and no value taken for one of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Seeds(Section):
    """Where the seed instructions come from."""

    path: str = Field(min_length=1, description="A file, relative to the recipe, or `hf:owner/name`.")
    reader: Annotated[Use[SeedReader] | None, SkipValidation] = None
    format: Format = Field("auto", description="The shape of a row; auto recognises each by itself.")
    instruction: str | None = Field(None, description="Name of the column that holds the instruction.")
    response: str | None = Field(None, description="Name of the column that holds the response.")
    licence: str = Field("", description="Of the rows that name none, such as `cc-by-4.0`.")
    material: Material | None = Field(
        None,
        description="What a row is: task, or snippet, code that a task is made of; what the reader gives by default.",
    )
    on_bad_row: Literal["skip", "fail"] = Field("skip", description="What a row that cannot be read costs.")
    answer: Literal["source", "missing"] = Field(
        "source", description="missing: seeds without a response are answered too; source: they only evolve."
    )
    limit: int | None = Field(None, ge=1, description="Take the first N unique seeds. May grow on resume.")

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if "\0" in path:
            raise ValueError("no file's name holds a NUL character")
        try:
            Path(path).expanduser()
        except RuntimeError:
            raise ValueError(f"there is no home folder '{Path(path).parts[0]}'") from None
        return path


class SamplingChange(Section):
    """What one role's sampling has different."""

    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    stop: tuple[str, ...] | None = Field(None, strict=False)
    seed: int | None = None


class SamplingSection(Section):
    """How replies are drawn. The defaults are WizardCoder's."""

    temperature: float = Field(1.0, ge=0, le=10, description="0 is greedy.")
    top_p: float = Field(0.9, gt=0, le=1, description="Nucleus mass.")
    max_tokens: int = Field(2048, ge=1, description="Most new tokens a reply.")
    stop: tuple[str, ...] = Field((), strict=False, description="Texts that end a reply.")
    seed: int | None = Field(None, description="Handed to backends that take one.")
    evolve: SamplingChange | None = Field(None, description="What differs for evolving.")
    respond: SamplingChange | None = Field(None, description="What differs for answering.")
    judge: SamplingChange | None = Field(None, description="What differs for judging.")

    def of(self, role: Role) -> Sampling:
        """Return the sampling of one role."""
        base = self.model_dump(exclude={"evolve", "respond", "judge"})
        change: SamplingChange | None = getattr(self, role)
        if change is not None:
            base.update(change.model_dump(exclude_none=True))
        return Sampling(**base)
