"""The parts of a recipe that are plain data: where seeds come from, and how replies are drawn."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, field_validator

from evolteacher.licensing import LICENCES, TERMS, licence_id, refuse_terms
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
    licence: str = Field("", description="Of the rows that name none, such as `cc-by-4.0`; filled in where known.")
    terms: str = Field(
        "", description="Whose terms hold for rows that a model wrote and that name none; filled in where known."
    )
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

    @field_validator("licence")
    @classmethod
    def _check_licence(cls, licence: str) -> str:
        refuse_terms(licence, "`seeds.terms`")
        return licence


class Licence(Section):
    """What the dataset is to be published under."""

    id: str = Field(description="An SPDX identifier, or another that dataset hubs know.")
    unknown: Literal["refuse", "allow"] = Field(
        "refuse", description="Whether rows may go along of whose licence or terms nothing is known."
    )

    @field_validator("id")
    @classmethod
    def _check_id(cls, text: str) -> str:
        """Take any identifier but one that is nearly a known one; one spelling for each that is known."""
        name = licence_id(text)
        refuse_terms(name, f"`terms: {{BACKEND: {name}}}`, or into `seeds.terms`")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,63}", name):
            raise ValueError("one licence's identifier is needed, such as cc-by-4.0; `other` is one of your own")
        near = difflib.get_close_matches(name, LICENCES, n=1, cutoff=0.85)
        if name not in LICENCES and name not in TERMS and near:
            raise ValueError(f"no licence is known as '{name}'. Did you mean '{near[0]}'?")
        return name


def read_licence(value: Any) -> Any:
    """Return what ``licence`` means where a text stands for its identifier."""
    return {"id": value} if isinstance(value, str) else value


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
