"""The human language that a text is written in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import Field, field_validator

import evolteacher as et
from evolteacher.errors import MissingExtra
from evolteacher_plugins.fenced import prose_of, quoted

CODES = frozenset(
    """
    ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr fuv fy
    ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko ku ky la lb lg
    lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk sl
    sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu
    """.split()
)
"""The languages of the model, by ISO 639 code."""

_VARIETIES = {"ary": "ar", "arz": "ar", "wuu": "zh", "yue": "zh", "pcm": "en", "nn": "no", "sdh": "ku", "uzs": "uz"}
"""What the model tells apart from a larger language, which stands for it where a recipe wants that."""

_NO_LANGUAGE = "zxx"
"""What the model says of numbers, code and the like."""

_LOOKED_AT = 1_000
"""Characters of prose that are judged. More would change nothing and take time."""

_CODE_LINE = re.compile(
    r"^(?:\s{4,}|\t|\s*(?:>>>|\$|#include|//|@))|[{}();=<>\[\]|\\]|^\s*[\w.]+\(|https?://|--\w"
    r"|^\s*(?:def|class|for|if|elif|else|while|with|return|import|from|try|except|let|const|var|func|fn)\b"
)
_LETTERS = re.compile(r"[^\W\d_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts that put no space between words, or much into one: there a letter counts for half a word."""


class Language(et.TextFilter, name="language"):
    """Reject a text that is certainly in another human language than the wanted ones.

    Source: Lui and Baldwin, "langid.py: an off-the-shelf language identification tool" (ACL 2012), as the package
    py3langid, whose model of some 140 languages comes inside its wheel. Only prose is judged: fenced blocks, code spans
    and lines that look like code are left out first. What then has too few words passes, and so does what the model is
    not sure of. Needs the extra ``filters``.
    """

    wanted: tuple[str, ...] = Field(
        ("en",), min_length=1, description="The languages that pass, by ISO 639 code, such as en or de."
    )
    confidence: float = Field(
        0.9, gt=0, le=1, description="Rejected where the model is at least this sure that it is none of them."
    )
    words: int = Field(8, ge=1, description="A text with fewer words of prose than this passes.")

    @field_validator("wanted")
    @classmethod
    def _known(cls, wanted: tuple[str, ...]) -> tuple[str, ...]:
        for code in wanted:
            if code not in CODES:
                raise ValueError(f"'{code}' is no ISO 639 code that the model knows; they look like en, de, pt and zh")
        return wanted

    def require(self) -> None:
        """Look for py3langid."""
        MissingExtra.unless(["py3langid"], "filter 'language'", "filters")

    def reject(self, text: str) -> str | None:
        """Ask the model about the prose.

        Raises:
            MissingExtra: py3langid is not installed.
        """
        prose = "\n".join(line for line in prose_of(text).split("\n") if not _CODE_LINE.search(line))[:_LOOKED_AT]
        words = _LETTERS.findall(prose)
        if len(words) + len(_UNSPACED.findall(prose)) // 2 < self.words:
            return None
        ranked = _model().rank(" ".join(words))
        language = ranked[0][0]
        sure = 1.0 - sum(share for code, share in ranked if {code, _VARIETIES.get(code, "")} & {*self.wanted})
        if language in (*self.wanted, _NO_LANGUAGE) or sure < self.confidence:
            return None
        wanted = ", ".join(self.wanted)
        return f"its language is '{language}' and not {wanted} ({sure:.2f} sure): {quoted(prose)}"


@cache
def _model() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise MissingExtra("filter 'language'", "filters") from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [Language]
