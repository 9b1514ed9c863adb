"""Bounds on the length of a text, in words, characters, or the tokens of a named tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, PrivateAttr, model_validator

import evolteacher as et
from evolteacher.errors import MissingExtra, UsageError

_TIKTOKEN = "tiktoken:"
_UNITS = ("words", "characters", "tokens")


class Length(et.TextFilter, name="length"):
    """Reject a text that is too short or too long: in words, in characters, or in tokens.

    A rule of our own; the bounds are inclusive, and each is used only where it is given. A word is what stands between
    white space, a character is a Unicode code point. Tokens are those of the model to be tuned: a folder with a
    ``tokenizer.json`` (or that file), a name on the Hugging Face hub, or ``tiktoken:`` and the name of an encoding,
    such as ``tiktoken:o200k_base``. Special tokens and the chat template are not counted. A tokenizer is loaded once,
    when the first text needs it, and needs the extra ``filters``.
    """

    min_words: int | None = Field(None, ge=0, description="A text of fewer words is rejected.")
    max_words: int | None = Field(None, ge=1, description="A text of more words is rejected.")
    min_characters: int | None = Field(None, ge=0, description="A text of fewer characters is rejected.")
    max_characters: int | None = Field(None, ge=1, description="A text of more characters is rejected.")
    min_tokens: int | None = Field(None, ge=0, description="A text of fewer tokens is rejected.")
    max_tokens: int | None = Field(None, ge=1, description="A text of more tokens is rejected.")
    tokenizer: str = Field(
        "", description="What counts tokens: a folder or tokenizer.json, a name on the hub, or tiktoken:ENCODING."
    )
    _count: Callable[[str], int] | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        bounds = {unit: self._bounds(unit) for unit in _UNITS}
        if all(bound == (None, None) for bound in bounds.values()):
            raise ValueError("give a bound, such as max_words: 400")
        for unit, (least, most) in bounds.items():
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_{unit} ({least:,}) is above max_{unit} ({most:,}): nothing could pass")
        if bounds["tokens"] != (None, None) and not self.tokenizer:
            raise ValueError("tokens are counted by a tokenizer: name one, such as tokenizer: tiktoken:o200k_base")
        return self

    def _bounds(self, unit: str) -> tuple[int | None, int | None]:
        return getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")

    def require(self) -> None:
        """Look for what counts tokens, where tokens are counted."""
        if self._bounds("tokens") != (None, None):
            package = "tiktoken" if self.tokenizer.startswith(_TIKTOKEN) else "tokenizers"
            MissingExtra.unless([package], "filter 'length', counting tokens,", "filters")

    def reject(self, text: str) -> str | None:
        """Compare with each bound that is given, the cheap ones first.

        Raises:
            MissingExtra: tokens are wanted, and the tokenizer's package is not installed.
            UsageError: the tokenizer cannot be loaded.
        """
        for unit, count in (
            ("characters", len),
            ("words", lambda text: len(text.split())),
            ("tokens", self._tokens),
        ):
            least, most = self._bounds(unit)
            if least is None and most is None:
                continue
            length = count(text)
            if least is not None and length < least:
                return f"it has {_counted(length, unit)}, fewer than {least:,}"
            if most is not None and length > most:
                return f"it has {_counted(length, unit)}, more than {most:,}"
        return None

    def _tokens(self, text: str) -> int:
        if self._count is None:
            self._count = _load(self.tokenizer)
        return self._count(text)


def _load(name: str) -> Callable[[str], int]:
    """Return what counts a text's tokens."""
    try:
        if name.startswith(_TIKTOKEN):
            import tiktoken

            encoding = tiktoken.get_encoding(name.removeprefix(_TIKTOKEN))
            return lambda text: len(encoding.encode(text, disallowed_special=()))
        from tokenizers import Tokenizer

        path = Path(name).expanduser()
        file = path / "tokenizer.json" if path.is_dir() else path
        found = Tokenizer.from_file(str(file)) if file.is_file() else Tokenizer.from_pretrained(name)
        found.no_truncation()
    except ImportError:
        raise MissingExtra("filter 'length', counting tokens,", "filters") from None
    except Exception as error:  # each library raises its own, down to a bare Exception
        raise UsageError(
            f"filter 'length': the tokenizer '{name}' cannot be loaded ({' '.join(str(error).split())[:200]}). Name a "
            "folder that holds a tokenizer.json, a model of the Hugging Face hub, or tiktoken:ENCODING"
        ) from None
    return lambda text: len(found.encode(text, add_special_tokens=False).ids)


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit if count != 1 else unit[:-1]}"


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [Length]
