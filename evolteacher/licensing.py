"""Licences and terms: what each is understood to ask of what is made from it, and which licence allows which.

A summary for a guard against mistakes, and no legal advice. Only what is certain is in the tables: what is not there is
unknown, and a licence to publish under allows nothing unknown unless the recipe says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "public domain", "permissive", "share-alike", "non-commercial", "non-commercial share-alike", "no derivatives",
    "restricted", "unknown",
]  # fmt: skip
"""What a licence, or a provider's terms, ask of what is made from it. ``restricted``: terms that name purposes which
output may not serve, such as models that compete with the provider's."""

UNKNOWN = "unknown"
"""Stands for the terms of a model of which none are known."""

NO_TERMS = "none"
"""What a recipe writes where nobody's terms hold: made-up answers, a model of one's own, text by people."""

_VERSION = re.compile(r"(?P<name>[a-z-]+?)-(?P<number>\d+(?:\.\d+)*)(?P<tail>-only|-or-later)?")
_CC_VERSIONS = ("1.0", "2.0", "2.5", "3.0", "4.0")

_CC: dict[str, Kind] = {
    "cc-by": "permissive",
    "cc-by-sa": "share-alike",
    "cc-by-nc": "non-commercial",
    "cc-by-nc-sa": "non-commercial share-alike",
    "cc-by-nd": "no derivatives",
    "cc-by-nc-nd": "no derivatives",
}
_KINDS: dict[Kind, tuple[str, ...]] = {
    "public domain": ("cc0-1.0", "unlicense", "pddl-1.0", "0bsd", "mit-0"),
    "permissive": (
        "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "odc-by-1.0", "cdla-permissive-1.0",
        "cdla-permissive-2.0",
    ),
    "share-alike": (
        "odbl-1.0", "cdla-sharing-1.0", "mpl-2.0", "gpl-2.0-only", "gpl-2.0-or-later", "gpl-3.0-only",
        "gpl-3.0-or-later", "lgpl-2.1-only", "lgpl-2.1-or-later", "lgpl-3.0-only", "lgpl-3.0-or-later",
        "agpl-3.0-only", "agpl-3.0-or-later",
    ),
}  # fmt: skip

LICENCES: dict[str, Kind] = {
    **{licence: kind for kind, names in _KINDS.items() for licence in names},
    **{f"{name}-{version}": kind for name, kind in _CC.items() for version in _CC_VERSIONS},
}
"""SPDX identifier in lower case -> what it asks."""

_ALIASES = {
    "apache-2": "apache-2.0", "apache2": "apache-2.0", "apache-license-2.0": "apache-2.0",
    "apache-license-version-2.0": "apache-2.0", "mit-license": "mit", "the-mit-license": "mit", "cc0": "cc0-1.0",
    "bsd-2": "bsd-2-clause", "bsd-3": "bsd-3-clause", "odc-by": "odc-by-1.0", "odbl": "odbl-1.0", "pddl": "pddl-1.0",
    "gpl-2.0": "gpl-2.0-only", "gpl-3.0": "gpl-3.0-only", "lgpl-2.1": "lgpl-2.1-only", "lgpl-3.0": "lgpl-3.0-only",
    "agpl-3.0": "agpl-3.0-only", "gpl-2.0+": "gpl-2.0-or-later", "gpl-3.0+": "gpl-3.0-or-later",
}  # fmt: skip
"""Other ways of writing one; hubs name the GPL without ``-only``."""

OTHER = "other"
"""What hubs call terms of one's own, which the card then states."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a provider's terms, or a model's own licence, are understood to ask of what the model wrote.

    Attributes:
        title: of the document.
        link: to it; empty where there is none.
        summary: a sentence; no legal advice.
        kind: what follows for publishing.
    """

    title: str
    link: str
    summary: str
    kind: Kind


_COMPETE = "Understood to forbid using output to develop models that compete with "
_LLAMA = "Understood to forbid using output to improve any other large language model."
_LLAMA_NAMED = (
    "Understood to allow training on output where the new model's name begins with 'Llama' and the licence goes along."
)
_UNSETTLED = "Whether other models may be trained on output depends on the agreement and its version: read yours."

TERMS: dict[str, Terms] = {
    NO_TERMS: Terms("no terms", "", "Nobody's terms hold: made-up answers, a model of one's own.", "public domain"),
    "openai": Terms("OpenAI's terms", "https://openai.com/policies/", f"{_COMPETE}OpenAI's.", "restricted"),
    "azure-openai": Terms(
        "Microsoft's product terms", "https://www.microsoft.com/licensing/terms/", f"{_COMPETE}the service's.",
        "restricted",
    ),
    "anthropic": Terms(
        "Anthropic's commercial terms", "https://www.anthropic.com/legal/commercial-terms",
        "Understood to forbid building a competing product with the service, training competing models among it.",
        "restricted",
    ),
    "google": Terms(
        "Gemini API additional terms", "https://ai.google.dev/gemini-api/terms",
        "Understood to forbid using the service to develop models that compete with it.", "restricted",
    ),
    "xai": Terms("xAI's terms", "https://x.ai/legal/terms-of-service", f"{_COMPETE}xAI's.", "restricted"),
    "mistral": Terms("Mistral's terms", "https://mistral.ai/terms", _UNSETTLED, "unknown"),
    "cohere": Terms("Cohere's terms", "https://cohere.com/terms-of-use", _UNSETTLED, "unknown"),
    "deepseek": Terms("DeepSeek's terms", "https://www.deepseek.com/", _UNSETTLED, "unknown"),
    "bedrock": Terms(
        "AWS service terms", "https://aws.amazon.com/service-terms/",
        "The terms of the model that Bedrock serves hold besides: name them.", "unknown",
    ),
    "llama2": Terms("Llama 2 licence", "https://ai.meta.com/llama/license/", _LLAMA, "restricted"),
    "llama3": Terms("Llama 3 licence", "https://www.llama.com/llama3/license/", _LLAMA, "restricted"),
    **{
        f"llama{version}": Terms(
            f"Llama {version} licence", f"https://www.llama.com/llama{version.replace('.', '_')}/license/",
            _LLAMA_NAMED, "restricted",
        )
        for version in ("3.1", "3.2", "3.3")
    },
    "gemma": Terms(
        "Gemma terms", "https://ai.google.dev/gemma/terms",
        "Understood to take a model trained on output for a derivative, to which the same terms pass on.", "restricted",
    ),
}  # fmt: skip
"""Named terms, as understood when this version was written. A licence's identifier names a model's own licence."""


MODEL_LICENCES = frozenset(name for name in TERMS if name.startswith(("llama", "gemma")))
"""The named terms that are licences, under which hubs have models and datasets."""


def refuse_terms(licence: str, field: str) -> None:
    """Find terms where a licence is due: a provider's terms are what its answers stand under, and license nothing.

    Args:
        licence: as it was written.
        field: where terms belong, for the message.

    Raises:
        ValueError: it names a provider's terms, or nobody's.
    """
    name = licence_id(licence)
    if name in TERMS and name not in MODEL_LICENCES:
        raise ValueError(
            f"'{name}' names {TERMS[name].title}, which are no licence: terms belong into {field}; here goes a "
            "licence's identifier, such as cc-by-4.0"
        )


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A well-known seed dataset: its licence, and the terms of the model that wrote its rows."""

    licence: str
    terms: str = ""


_SOURCES = {
    "sahil2801/codealpaca-20k": KnownSource("cc-by-nc-4.0", "openai"),
    "tatsu-lab/alpaca": KnownSource("cc-by-nc-4.0", "openai"),
    "nickrosh/evol-instruct-code-80k-v1": KnownSource("cc-by-nc-sa-4.0", "openai"),
    "theblackcat102/evol-codealpaca-v1": KnownSource("apache-2.0", "openai"),
    "ise-uiuc/magicoder-oss-instruct-75k": KnownSource("mit", "openai"),
    "ise-uiuc/magicoder-evol-instruct-110k": KnownSource("apache-2.0", "openai"),
    "databricks/databricks-dolly-15k": KnownSource("cc-by-sa-3.0", NO_TERMS),
    "openassistant/oasst1": KnownSource("apache-2.0", NO_TERMS),
    "openai/gsm8k": KnownSource("mit", NO_TERMS),
}

_HUB_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)")


def known_source(path: str) -> KnownSource | None:
    """Return what is known of a seed source such as ``hf:owner/name:split``; None where nothing is."""
    found = _HUB_NAME.match(path)
    return _SOURCES.get(found[1].casefold()) if found is not None else None


def licence_id(text: str) -> str:
    """Return a licence's identifier as the tables have it: lower case, hyphens, one spelling."""
    name = re.sub(r"[\s_]+", "-", text.strip()).casefold()
    return _ALIASES.get(name, name)


def spelt(licence: str) -> str:
    """Return a licence as rows are counted by it: known ones in one spelling, any other as a source wrote it."""
    name = licence_id(licence)
    return name if name in LICENCES or name in TERMS else licence


def kind_of(licence: str) -> Kind:
    """Return what a licence, or named terms, ask."""
    name = licence_id(licence)
    return TERMS[name].kind if name in TERMS else LICENCES.get(name, "unknown")


def why_not(licence: str, target: str, *, unknown: bool = False) -> str:
    """Say why what is under a licence may not be published under another; nothing where it may.

    Args:
        licence: of the material: an identifier, or an SPDX expression with AND and OR; empty where none is known.
        target: what it is to be published under.
        unknown: whether a licence that is not known may be.
    """
    return _Expression(licence).why_not(licence_id(target), unknown)


def _kind_of_licence(licence: str) -> Kind:
    """Return what a licence asks; a row without one, whose column says "none", is in nobody's public domain."""
    return "unknown" if licence == NO_TERMS else kind_of(licence)


def why_terms_not(terms: str, target: str, *, unknown: bool = False) -> str:
    """Say why what a model wrote may not be published under a licence; nothing where it may.

    A permissive licence of a model asks nothing of what the model writes.

    Args:
        terms: names or licences, joined by commas; empty where no model took part.
        target: what it is to be published under.
        unknown: whether terms that are not known may be.
    """
    for name in split_terms(terms):
        if kind_of(name) in ("public domain", "permissive"):
            continue
        reason = _why_not(licence_id(name), licence_id(target), unknown)
        if reason:
            return reason
    return ""


def split_terms(terms: str) -> list[str]:
    """Return the names that a row's terms are joined of."""
    return [name for name in (part.strip() for part in terms.split(",")) if name]


def join_terms(names: Iterable[str]) -> str:
    """Return terms as a row carries them: each name once, in order, joined by commas."""
    return ", ".join(sorted({name for name in names if name}))


def _why_not(licence: str, target: str, unknown: bool) -> str:
    """Say why one licence (or name of terms) does not allow another; both as :func:`licence_id` gives them."""
    kind = _kind_of_licence(licence)
    own = licence == target and licence not in ("", NO_TERMS, UNKNOWN)
    if kind == "public domain" or (own and kind != "no derivatives"):
        return ""
    if kind == "permissive":
        return _why_not_permissive(licence, target)
    if kind == "unknown":
        return "" if unknown else "nothing is known of what it allows"
    if kind == "no derivatives":
        return "it allows no derivatives to be passed on, and evolved rows are derivatives"
    if kind == "restricted":
        free = target == OTHER or target.startswith("licenseref-")
        return "" if free else "it names purposes that output may not serve, which this licence does not pass on"
    if kind == "non-commercial":
        wanted = LICENCES.get(target) in ("non-commercial", "non-commercial share-alike")
        return "" if wanted else "it allows no commercial use, which this licence would"
    return "" if _later(licence, target) else "it is to be shared under the same licence"


def _why_not_permissive(licence: str, target: str) -> str:
    if LICENCES.get(target) == "public domain":
        return "it asks for its notice, or its author's name, to be kept, which this licence does not"
    if licence == "apache-2.0" and target == "gpl-2.0-only":
        return "its conditions on patents do not fit version 2 of the GPL"
    return ""


def _later(licence: str, target: str) -> bool:
    """Whether the target is a version that a share-alike licence lets its material pass to."""
    own, other = _VERSION.fullmatch(licence), _VERSION.fullmatch(target)
    if own is None or other is None or own["name"] != other["name"] or target not in LICENCES:
        return False
    newer = float(other["number"]) >= float(own["number"])
    if own["name"] in _CC:
        return newer and own["number"] != "1.0"  # the first version knows no later ones
    return newer and own["tail"] == "-or-later"


class _Expression:
    """An SPDX expression: identifiers joined by AND and OR, with parentheses; AND binds more closely.

    One that is no such expression, or has a WITH in it, is one unknown licence.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = re.findall(r"[()]|[^\s()]+", text)

    def why_not(self, target: str, unknown: bool) -> str:
        if not {"AND", "OR", "WITH"} & set(self._words):
            return _why_not(licence_id(self._text), target, unknown)
        words = list(self._words)
        try:
            reason = self._either(words, target, unknown)
        except (IndexError, RecursionError):
            words = ["?"]
        if words:
            return _why_not("", target, unknown)
        return reason

    def _either(self, words: list[str], target: str, unknown: bool) -> str:
        reasons = [self._all(words, target, unknown)]
        while words and words[0] == "OR":
            words.pop(0)
            reasons.append(self._all(words, target, unknown))
        return "" if "" in reasons else reasons[0]

    def _all(self, words: list[str], target: str, unknown: bool) -> str:
        reasons = [self._one(words, target, unknown)]
        while words and words[0] == "AND":
            words.pop(0)
            reasons.append(self._one(words, target, unknown))
        return next((reason for reason in reasons if reason), "")

    def _one(self, words: list[str], target: str, unknown: bool) -> str:
        word = words.pop(0)
        if word == "(":
            reason = self._either(words, target, unknown)
            if words.pop(0) != ")":
                raise IndexError
            return reason
        if word in (")", "AND", "OR", "WITH"):
            raise IndexError
        return _why_not(licence_id(word), target, unknown)
